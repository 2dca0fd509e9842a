//! Who leads: one daemon a spool, the others stand by and say so.

use std::io::Result;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::timeout;

use super::log;
use super::take::Desk;
use super::watching;
use super::{Daemon, Input, Options, Standing};
use crate::error::Exit;
use crate::logic::rescan::{self, WITHOUT_EVENTS};
use crate::os::lock::FileLock;
use crate::os::process;
use crate::report;

/// How long what a killed leader was starting may have its lock.
const HEIRS: Duration = Duration::from_secs(1);

/// Waits to be the one active daemon, then is it.
pub(super) async fn lead(
    desk: Desk,
    options: Options,
    inputs: UnboundedSender<Input>,
    mut heard: UnboundedReceiver<Input>,
) -> Result<Exit> {
    desk.spool.create()?;
    let mut watch = watching::open(&inputs);
    let path = desk.spool.daemon_lock();
    let mut stands_by = false;
    let say = |standing, leader| options.tell_standing.map(|tell| tell(standing, leader));
    let lock = loop {
        // Watched before it is tried: it may be let go of in between.
        let is_watched = watch.as_mut().is_some_and(|w| w.add(&path).is_ok());
        if let Some(lock) = desk.spool.try_lead()? {
            break lock;
        }
        if options.once {
            if let Some(lock) = inherited(&desk)? {
                break lock;
            }
            say(Standing::Back, log::leader(&desk.root));
            return Ok(Exit::Blocked);
        }
        if !std::mem::replace(&mut stands_by, true) {
            say(Standing::By, log::leader(&desk.root));
        }
        let patience = if is_watched { rescan::soon(desk.settings.rescan) } else { WITHOUT_EVENTS };
        if let Ok(Some(Input::Signal(_))) = timeout(patience, heard.recv()).await {
            return Ok(Exit::Done);
        }
    };
    if let Some(watch) = &mut watch {
        watch.remove(&path);
    }
    if stands_by {
        say(Standing::In, None);
    }
    let root = desk.root.clone();
    let daemon = Daemon::new(desk, options, watch, inputs)?;
    let exit = daemon.work(heard, &lock).await;
    drop(lock);
    // Who ended up to now left that to the one who led.
    let _for_people = report::see_to_overview(&root);
    Ok(exit)
}

/// The lock of a leader that is gone: a program that it was just starting holds it until it is that program.
fn inherited(desk: &Desk) -> Result<Option<FileLock>> {
    let is_gone = log::leader(&desk.root).is_some_and(|pid| process::start_time(pid).is_none());
    if is_gone { FileLock::acquire(&desk.spool.daemon_lock(), HEIRS) } else { Ok(None) }
}
