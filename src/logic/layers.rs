//! A drawing of what depends on what: each node in a column after all that it depends on, with few crossings. Pure, small,
//! and total: a circle, which no plan has, is drawn somehow.

use std::collections::BTreeSet;

/// How often the columns are put in order by their neighbours.
const SWEEPS: usize = 6;
/// Most places that edges may pass through; with more they are drawn across what lies between.
const MOST_BENDS: usize = 1500;

/// Where a node stands: its column, and its place in it, which may lie between two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spot {
    /// From the left, from 0.
    pub column: usize,
    /// From the top, from 0.
    pub row: f64,
}

/// The drawing.
#[derive(Debug, Clone, PartialEq)]
pub struct Layers {
    /// Where each node stands.
    pub spots: Vec<Spot>,
    /// The edges that say something new, each as the spots that it goes through.
    pub edges: Vec<Vec<Spot>>,
    /// How many columns there are.
    pub columns: usize,
    /// How many rows the tallest has.
    pub rows: usize,
}

/// Lays out `count` nodes; an edge leads from what comes first to what depends on it.
pub fn lay_out(count: usize, edges: &[(usize, usize)]) -> Layers {
    let edges = essential(count, edges);
    let mut columns = columns(count, &edges);
    let chains = bend(&mut columns, count, &edges);
    let mut order = in_columns(&columns);
    let links: Vec<(usize, usize)> =
        chains.iter().flat_map(|chain| chain.windows(2).map(|pair| (pair[0], pair[1]))).collect();
    for sweep in 0..SWEEPS {
        settle(&mut order, &links, sweep % 2 == 0);
    }
    let tallest = order.iter().map(Vec::len).max().unwrap_or(0);
    let mut spots = vec![Spot { column: 0, row: 0.0 }; columns.len()];
    for (column, nodes) in order.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a few hundred at most")]
        for (row, node) in nodes.iter().enumerate() {
            let above = (tallest - nodes.len()) as f64 / 2.0;
            spots[*node] = Spot { column, row: above + row as f64 };
        }
    }
    let edges =
        chains.iter().map(|chain| chain.iter().map(|node| spots[*node]).collect()).collect();
    spots.truncate(count);
    Layers { spots, edges, columns: order.len(), rows: tallest }
}

/// The edges without those that follow from others, each once.
fn essential(count: usize, edges: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let edges: BTreeSet<(usize, usize)> =
        edges.iter().copied().filter(|(a, b)| a != b && *a < count && *b < count).collect();
    let mut next = vec![Vec::new(); count];
    for (from, to) in &edges {
        next[*from].push(*to);
    }
    let is_detour = |(from, to): &(usize, usize)| {
        next[*from].iter().any(|first| first != to && reaches(&next, *first, *to, *from))
    };
    edges.iter().copied().filter(|edge| !is_detour(edge)).collect()
}

/// Whether one node leads to another without passing a third.
fn reaches(next: &[Vec<usize>], from: usize, to: usize, without: usize) -> bool {
    let (mut seen, mut ahead) = (vec![false; next.len()], vec![from]);
    seen[without] = true;
    while let Some(node) = ahead.pop() {
        if node == to {
            return true;
        }
        if !std::mem::replace(&mut seen[node], true) {
            ahead.extend(&next[node]);
        }
    }
    false
}

/// The column of each node: one more than that of the last one before it. In a circle the rounds run out.
fn columns(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut columns = vec![0; count];
    for _round in 0..count {
        let mut is_still = true;
        for (from, to) in edges {
            if columns[*to] <= columns[*from] && columns[*from] + 1 < count {
                columns[*to] = columns[*from] + 1;
                is_still = false;
            }
        }
        if is_still {
            break;
        }
    }
    columns
}

/// Each edge as the nodes that it goes through: one in each column between its ends, made for it.
fn bend(columns: &mut Vec<usize>, count: usize, edges: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let between =
        |(from, to): &(usize, usize)| columns[*from] + 1..columns[*to].max(columns[*from] + 1);
    let bends: usize = edges.iter().map(|edge| between(edge).len()).sum();
    if bends > MOST_BENDS {
        return edges.iter().map(|(from, to)| vec![*from, *to]).collect();
    }
    let passed: Vec<_> = edges.iter().map(|edge| (*edge, between(edge))).collect();
    debug_assert_eq!(columns.len(), count, "no node was made before");
    let mut chains = Vec::new();
    for ((from, to), between) in passed {
        let first = columns.len();
        columns.extend(between);
        chains.push([from].into_iter().chain(first..columns.len()).chain([to]).collect());
    }
    chains
}

fn in_columns(columns: &[usize]) -> Vec<Vec<usize>> {
    let mut order = vec![Vec::new(); columns.iter().max().map_or(0, |last| last + 1)];
    for (node, column) in columns.iter().enumerate() {
        order[*column].push(node);
    }
    order
}

/// Puts every column in the order of the middles of its neighbours, from the left or from the right.
fn settle(order: &mut [Vec<usize>], links: &[(usize, usize)], from_left: bool) {
    let mut neighbours = vec![Vec::new(); order.iter().map(Vec::len).sum()];
    for (from, to) in links {
        let (node, of) = if from_left { (*to, *from) } else { (*from, *to) };
        neighbours[node].push(of);
    }
    let mut places = vec![0.0; neighbours.len()];
    let count = order.len();
    for step in 0..count {
        let column = &mut order[if from_left { step } else { count - 1 - step }];
        #[expect(clippy::cast_precision_loss, reason = "a few hundred at most")]
        let middle = |(row, node): (usize, &usize)| {
            let of = &neighbours[*node];
            let sum: f64 = of.iter().map(|n| places[*n]).sum();
            if of.is_empty() { row as f64 } else { sum / of.len() as f64 }
        };
        let mut keyed: Vec<(f64, usize)> =
            column.iter().enumerate().map(|at| (middle(at), *at.1)).collect();
        keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
        *column = keyed.iter().map(|(_, node)| *node).collect();
        #[expect(clippy::cast_precision_loss, reason = "a few hundred at most")]
        for (row, node) in column.iter().enumerate() {
            places[*node] = row as f64 - column.len() as f64 / 2.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn columns_of(layers: &Layers) -> Vec<usize> {
        layers.spots.iter().map(|s| s.column).collect()
    }

    #[test]
    fn what_depends_stands_after_what_it_depends_on() {
        let layers = lay_out(4, &[(0, 1), (0, 2), (1, 3), (2, 3), (0, 3), (0, 3)]);
        assert_eq!(columns_of(&layers), [0, 1, 1, 2]);
        assert_eq!(layers.edges.len(), 4, "the edge from 0 to 3 says nothing new");
        assert_eq!((layers.columns, layers.rows), (3, 2));
        assert!((layers.spots[0].row - 0.5).abs() < 1e-9, "in the middle");
    }

    #[test]
    fn an_edge_goes_through_the_columns_between() {
        let layers = lay_out(5, &[(0, 1), (1, 2), (3, 2), (2, 4), (3, 4), (0, 4)]);
        let longest = layers.edges.iter().map(Vec::len).max();
        assert_eq!(longest, Some(3), "from 3, past the column of 1, to 2");
        assert_eq!(columns_of(&layers), [0, 1, 2, 0, 3]);
    }

    #[test]
    fn neighbours_that_cross_are_turned() {
        let layers = lay_out(4, &[(0, 3), (1, 2)]);
        let row = |n: usize| layers.spots[n].row;
        assert_eq!(row(0) < row(1), row(3) < row(2));
    }

    #[test]
    fn nothing_is_an_empty_drawing_and_a_circle_is_drawn_somehow() {
        assert_eq!(lay_out(0, &[(0, 1)]).columns, 0);
        let circle = lay_out(3, &[(0, 1), (1, 2), (2, 0), (1, 1), (7, 9)]);
        assert_eq!((circle.spots.len(), circle.edges.len()), (3, 3));
    }

    proptest! {
        #[test]
        fn any_plan_is_laid_out_with_every_node_at_a_spot_of_its_own(
            count in 0usize..40,
            edges in prop::collection::vec((0usize..40, 0usize..40), 0..200),
        ) {
            let edges: Vec<_> = edges.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
            let layers = lay_out(count, &edges);
            prop_assert_eq!(layers.spots.len(), count);
            for (from, to) in edges.iter().filter(|(a, b)| a < b && *b < count) {
                prop_assert!(layers.spots[*from].column < layers.spots[*to].column);
            }
            let mut seen: Vec<String> = layers.spots.iter().map(|s| format!("{s:?}")).collect();
            seen.sort();
            seen.dedup();
            prop_assert_eq!(seen.len(), count);
            for spot in layers.edges.iter().flatten().chain(&layers.spots) {
                #[expect(clippy::cast_precision_loss, reason = "small")]
                let rows = layers.rows as f64;
                prop_assert!(spot.column < layers.columns && spot.row >= 0.0 && spot.row < rows);
            }
        }
    }
}
