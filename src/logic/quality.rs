//! How well claims named what was written, as numbers: of one attempt, over many, and in words for those who claim next.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::audit::Change;
use super::claims::{covers, from_top, names};
use super::paths;
use crate::model::claim::{Claim, ClaimPath, ClaimQuality};

/// Most paths that are kept by name.
const MOST_PATHS: usize = 20;
/// Most paths that are said to be forgotten often.
const SHOWN_PATHS: usize = 5;
/// Longest piece of a path that is said, in characters.
const SHOWN_CHARS: usize = 80;

/// Measures a claim, as it was made, against what was written. The claim's paths are relative to the directory `prefix` of the
/// repository, those of the changes and of the answer to its top.
pub fn measure(claim: &Claim, prefix: &str, changes: &[Change]) -> ClaimQuality {
    let writes = from_top(claim, prefix).writes;
    let is_used = |claimed: &&ClaimPath| changes.iter().any(|c| names(claimed, &c.path));
    let (used, unused): (Vec<&ClaimPath>, Vec<&ClaimPath>) = writes.iter().partition(is_used);
    let (hit, missed): (Vec<&Change>, Vec<&Change>) =
        changes.iter().partition(|change| covers(&writes, &change.path));
    ClaimQuality {
        precision: share(used.len(), writes.len()),
        recall: share(hit.len(), changes.len()),
        missed: missed.iter().take(MOST_PATHS).map(|c| c.path.clone()).collect(),
        unused: unused.iter().take(MOST_PATHS).map(|p| p.text()).collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of paths are far below 2^52")]
fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The means of many measurements, each path named by those that name it most often; `None` of none.
pub fn mean(all: &[ClaimQuality]) -> Option<ClaimQuality> {
    if all.is_empty() {
        return None;
    }
    Some(ClaimQuality {
        precision: mean_share(all.iter().filter_map(|q| q.precision)),
        recall: mean_share(all.iter().filter_map(|q| q.recall)),
        missed: most_often(all.iter().flat_map(|q| &q.missed)),
        unused: most_often(all.iter().flat_map(|q| &q.unused)),
    })
}

fn mean_share(shares: impl Iterator<Item = f64>) -> Option<f64> {
    // What was read from a file may be no share at all.
    let shares = shares.filter(|share| (0.0..=1.0).contains(share));
    let (sum, count) = shares.fold((0.0, 0.0), |(sum, count), share| (sum + share, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

fn most_often<'a>(paths: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for path in paths {
        *counts.entry(path).or_default() += 1;
    }
    let mut counted: Vec<(&str, usize)> = counts.into_iter().collect();
    counted.sort_by_key(|(_, count)| Reverse(*count));
    counted.into_iter().take(MOST_PATHS).map(|(path, _)| path.to_owned()).collect()
}

/// What earlier claims teach somebody who works in the directory `prefix`: one sentence, paths quoted and cut; `None` when
/// nothing was measured.
pub fn words(quality: &ClaimQuality, prefix: &str) -> Option<String> {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let claimed =
        quality.precision.map(|p| format!("{} of what was claimed was written", percent(p)));
    let written =
        quality.recall.map(|r| format!("{} of what was written had been claimed", percent(r)));
    let shares: Vec<String> = claimed.into_iter().chain(written).collect();
    if shares.is_empty() {
        return None;
    }
    let forgotten: Vec<String> =
        quality.missed.iter().filter_map(|p| quoted(p, prefix)).take(SHOWN_PATHS).collect();
    let often = if forgotten.is_empty() {
        String::new()
    } else {
        format!("; often forgotten: {}", forgotten.join(", "))
    };
    Some(format!("In earlier work here, {}{often}.", shares.join(" and ")))
}

/// A path as somebody in the directory `prefix` names it, as a JSON string; `None` for one that lies elsewhere.
fn quoted(path: &str, prefix: &str) -> Option<String> {
    let cut: String = paths::below(prefix, path)?.chars().take(SHOWN_CHARS).collect();
    serde_json::to_string(&cut).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(paths: &[&str]) -> Vec<Change> {
        let change = |p: &&str| Change { path: (*p).to_owned(), old: None, new: None };
        paths.iter().map(change).collect()
    }

    fn writes(writes: Vec<ClaimPath>) -> Claim {
        Claim { reads: vec![ClaimPath::dir("docs")], writes }
    }

    #[test]
    fn a_claim_is_measured_by_what_was_written() {
        let (a, src, rs) =
            (ClaimPath::file("a"), ClaimPath::dir("src"), ClaimPath::matching("src", "*.rs"));
        for (claimed, prefix, written, precision, recall) in [
            (vec![a.clone()], "", vec!["a"], Some(1.0), Some(1.0)),
            (vec![a.clone(), src], "", vec!["src/x", "src/y"], Some(0.5), Some(1.0)),
            (vec![a.clone()], "", vec!["a", "b", "c", "docs/d"], Some(1.0), Some(0.25)),
            (vec![rs], "", vec!["src/x.rs", "src/x.md"], Some(1.0), Some(0.5)),
            (vec![a.clone()], "sub", vec!["sub/a", "a"], Some(1.0), Some(0.5)),
            (vec![a], "", vec![], Some(0.0), None),
            (vec![], "", vec!["a"], None, Some(0.0)),
            (vec![], "", vec![], None, None),
        ] {
            let quality = measure(&writes(claimed.clone()), prefix, &changes(&written));
            let found = (quality.precision, quality.recall);
            assert_eq!(found, (precision, recall), "{claimed:?} {written:?}");
        }
        let many: Vec<String> = (0..50).map(|n| format!("{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let quality = measure(&writes(vec![ClaimPath::dir("x/y")]), "sub", &changes(&many));
        assert_eq!(quality.missed.len(), MOST_PATHS);
        assert_eq!(quality.unused, ["sub/x/y"]);
    }

    fn quality(precision: Option<f64>, recall: Option<f64>, missed: &[&str]) -> ClaimQuality {
        let missed = missed.iter().map(|m| (*m).to_owned()).collect();
        ClaimQuality { precision, recall, missed, unused: Vec::new() }
    }

    #[test]
    fn means_pass_over_what_was_not_measured_and_rank_what_is_forgotten() {
        assert_eq!(mean(&[]), None);
        let all = [
            quality(Some(1.0), None, &["b", "c"]),
            quality(Some(0.5), Some(0.5), &["c"]),
            quality(None, Some(f64::NAN), &["a"]),
        ];
        let expected = quality(Some(0.75), Some(0.5), &["c", "a", "b"]);
        assert_eq!(mean(&all), Some(expected));
    }

    #[test]
    fn what_is_said_is_one_bounded_sentence_with_paths_as_data() {
        let long = "x".repeat(500);
        let said = quality(Some(0.834), Some(2.0 / 3.0), &["a\nb", "sub/\"c\"", &long]);
        assert_eq!(
            words(&said, "").expect("words"),
            format!(
                "In earlier work here, 83 % of what was claimed was written and 67 % of what was written had been \
                 claimed; often forgotten: \"a\\nb\", \"sub/\\\"c\\\"\", \"{}\".",
                "x".repeat(80)
            )
        );
        let below = words(&said, "sub").expect("words");
        assert!(below.ends_with("often forgotten: \"\\\"c\\\"\"."), "{below}");
        assert_eq!(words(&quality(None, None, &["a"]), ""), None);
        let alone = words(&quality(None, Some(1.0), &[]), "").expect("words");
        assert_eq!(alone, "In earlier work here, 100 % of what was written had been claimed.");
    }
}
