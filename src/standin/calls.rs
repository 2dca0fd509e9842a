//! Counts how often a scene would have been played, across processes.
//!
//! A count is a folder of empty numbered files below `CODEX_HOME`; creating the next one is atomic,
//! so two runs that meet never get the same number.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::door;

/// Takes the next number (from 1) of the scene at `index`.
///
/// # Errors
/// When the folder below `home` cannot be made or written.
#[expect(
    clippy::disallowed_methods,
    reason = "a number is taken by making a file, which holds nothing"
)]
pub(super) fn take_number(home: &Path, index: usize) -> io::Result<u32> {
    let folder = home.join("standin").join(format!("scene-{index}"));
    door::make_dirs(&folder)?;
    let taken = std::fs::read_dir(&folder)?.count();
    let mut number = u32::try_from(taken).unwrap_or(u32::MAX).saturating_add(1);
    loop {
        let file =
            OpenOptions::new().write(true).create_new(true).open(folder.join(number.to_string()));
        match file {
            Ok(_) => return Ok(number),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                number = number.saturating_add(1);
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_never_given_twice() {
        let home = tempfile::tempdir().unwrap();
        let mut numbers: Vec<u32> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..10).map(|_| take_number(home.path(), 3).unwrap()).collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
        });
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
        assert_eq!(take_number(home.path(), 4).unwrap(), 1);
    }
}
