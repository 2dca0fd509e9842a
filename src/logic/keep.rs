//! Which bytes of a log are kept: the first ones and the newest ones, up to a bound and while there is room. A function of
//! the lengths of what is written; whoever writes carries it out.
//!
//! A log is its *head*, which is written as it comes, and once that is full two *parts*: the newest one grows; when it is
//! full, the older one goes, and a new one is begun. So the newest bytes that are there are between half of the tail's bound
//! and all of it. A record is never cut; one that fits nowhere is dropped.

/// How much of a log is kept, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    head: u64,
    part: u64,
}

impl Bounds {
    /// Half of it for the beginning, half for the end.
    pub fn of(most: u64) -> Self {
        Self { head: most / 2, part: most / 4 }
    }

    /// How much of the end is kept at most.
    pub fn tail(self) -> u64 {
        self.part * 2
    }

    /// Longest piece that bytes without records should be written in.
    pub fn piece(self) -> usize {
        const LONGEST: u64 = 16 * 1024;
        usize::try_from((self.part / 4).clamp(1, LONGEST)).unwrap_or(1)
    }
}

/// What is left of the bounds that several logs share.
pub trait Room {
    /// Takes that much if it is there.
    fn take(&mut self, bytes: u64) -> bool;
    /// Gives back what was taken.
    fn give_back(&mut self, bytes: u64);
}

/// Where a record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// To the end of the head.
    Head,
    /// To the end of the newest part.
    Newest,
    /// Nowhere.
    Dropped,
}

/// What is to be done with a record, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Put {
    /// The head is full: it is left as it is from now on.
    pub is_over: bool,
    /// How often the older part is removed, the newest one becomes the older one, and a new one is begun.
    pub turns: u32,
    /// Where the record goes then.
    pub place: Place,
}

/// What of a log is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeper {
    bounds: Bounds,
    head: u64,
    newest: u64,
    older: u64,
    is_over: bool,
}

impl Keeper {
    /// A log with nothing in it.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, head: 0, newest: 0, older: 0, is_over: false }
    }

    /// Its bounds.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Finds a place for a record of that length.
    pub fn put(&mut self, bytes: u64, room: &mut impl Room) -> Put {
        let mut put = Put { is_over: false, turns: 0, place: Place::Dropped };
        if !self.is_over {
            if self.head.saturating_add(bytes) <= self.bounds.head && room.take(bytes) {
                self.head += bytes;
                return Put { place: Place::Head, ..put };
            }
            self.leave_head();
            put.is_over = true;
        }
        loop {
            if self.newest.saturating_add(bytes) <= self.bounds.part && room.take(bytes) {
                self.newest += bytes;
                return Put { place: Place::Newest, ..put };
            }
            if self.newest == 0 && self.older == 0 {
                return put;
            }
            self.turn(room);
            put.turns += 1;
        }
    }

    /// Leaves the head as it is, although it may not be full.
    pub fn leave_head(&mut self) {
        self.is_over = true;
    }

    /// The older part goes, the newest becomes it.
    pub fn turn(&mut self, room: &mut impl Room) {
        room.give_back(self.older);
        self.older = self.newest;
        self.newest = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A room for so many bytes.
    struct Cell(u64);

    impl Room for Cell {
        fn take(&mut self, bytes: u64) -> bool {
            let fits = bytes <= self.0;
            self.0 -= if fits { bytes } else { 0 };
            fits
        }
        fn give_back(&mut self, bytes: u64) {
            self.0 += bytes;
        }
    }

    /// Carries everything out on lists of records: the head, the older part and the newest.
    fn kept(records: &[u64], most: u64, room: u64) -> (Vec<usize>, Vec<usize>) {
        let (mut keeper, mut room) = (Keeper::new(Bounds::of(most)), Cell(room));
        let (mut head, mut older, mut newest) = (Vec::new(), Vec::new(), Vec::new());
        for (number, bytes) in records.iter().enumerate() {
            let put = keeper.put(*bytes, &mut room);
            for _ in 0..put.turns {
                older = std::mem::take(&mut newest);
            }
            match put.place {
                Place::Head => head.push(number),
                Place::Newest => newest.push(number),
                Place::Dropped => {}
            }
        }
        older.extend(newest);
        (head, older)
    }

    fn bytes(records: &[u64], which: &[usize]) -> u64 {
        which.iter().map(|n| records[*n]).sum()
    }

    proptest! {
        #[test]
        fn what_is_kept_is_the_beginning_and_the_newest_end_and_never_more_than_the_bound(
            records in prop::collection::vec(1u64..40, 0..200), most in 4u64..1200, room in 0u64..1500,
        ) {
            let (head, tail) = kept(&records, most, room);
            let bounds = Bounds::of(most);
            prop_assert!(bytes(&records, &head) <= bounds.head);
            prop_assert!(bytes(&records, &tail) <= bounds.tail());
            prop_assert!(bytes(&records, &head) + bytes(&records, &tail) <= room);
            // The head is the beginning: it ends at the first record that found no place there.
            prop_assert!(head.iter().copied().eq(0..head.len()));
            // The tail has no hole and comes after the head.
            prop_assert!(tail.windows(2).all(|w| w[1] == w[0] + 1), "{tail:?}");
            prop_assert!(tail.first().is_none_or(|first| *first >= head.len()));
        }

        #[test]
        fn with_room_enough_the_end_that_is_kept_reaches_the_last_record_and_has_half_its_bound(
            records in prop::collection::vec(1u64..40, 1..200), most in 400u64..1200,
        ) {
            let (head, tail) = kept(&records, most, u64::MAX);
            let bounds = Bounds::of(most);
            let over = head.len() < records.len();
            prop_assert_eq!(tail.last().copied(), over.then(|| records.len() - 1));
            let dropped = over && tail[0] > head.len();
            prop_assert!(!dropped || bytes(&records, &tail) + 40 > bounds.part, "{tail:?}");
        }
    }

    #[test]
    fn a_record_that_fits_nowhere_is_dropped_and_the_log_goes_on() {
        let (head, tail) = kept(&[50, 10, 500, 20], 200, u64::MAX);
        assert_eq!((head, tail), (vec![0, 1], vec![3]));
    }

    #[test]
    fn without_further_room_the_newest_takes_the_place_of_the_oldest_of_the_end() {
        let (head, tail) = kept(&[10; 30], 1000, 45);
        assert_eq!(head, [0, 1, 2, 3]);
        assert_eq!(tail, [0usize; 0], "the head has taken it all");
        // Room that the head could not use, because its bound came first.
        let (head, tail) = kept(&[10; 30], 40, 35);
        assert_eq!((head.len(), tail), (2, vec![29]));
    }
}
