//! One command for several jobs: each is done by itself, a failure of one keeps no other from its turn, and the worst code is
//! the command's.

use super::here::Here;
use crate::error::{Exit, Failure};
use crate::model::root::Root;

/// Does it to each, and says for each how it went.
pub(super) fn each(
    here: &mut Here,
    targets: &[String],
    act: impl Fn(&Root, &str) -> Result<String, Failure>,
) -> Result<Exit, Failure> {
    let mut worst = Exit::Done;
    for target in targets {
        match act(&here.root, target) {
            Ok(said) => here.out.line(&said)?,
            Err(failure) => {
                here.out.note_text(&failure.render());
                worst = worst.worst(failure.kind);
            }
        }
    }
    Ok(worst)
}
