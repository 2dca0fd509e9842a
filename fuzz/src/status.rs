//! `status.json`: read whole or not at all, and what was read is written back as it was.

use std::fs;

use numerus::model::id::JobId;
use numerus::model::root::Root;
use numerus::runs::Runs;

use super::scratch;

/// Whatever lies there is a status or nothing; a status survives its own writer, and a reader never sees half of one.
pub fn holds(bytes: &[u8]) {
    scratch::folder(|dir| {
        let folder = Runs::of(&Root::new(dir)).folder(&JobId::parse("a-abc234").expect("an id"));
        let path = folder.dir().join("status.json");
        fs::create_dir_all(folder.dir()).expect("the folder");
        fs::write(&path, bytes).expect("the file");
        let Some(status) = folder.read_status() else { return };
        assert!(!bytes.trim_ascii().is_empty() && !bytes.contains(&0), "nothing is no status");
        folder.write_status(&status).expect("it can be written");
        assert_eq!(folder.read_status().as_ref(), Some(&status));
        let whole = fs::read(&path).expect("the file");
        for end in [0, 1, whole.len() / 2, whole.len().saturating_sub(2)] {
            fs::write(&path, &whole[..end]).expect("the file");
            assert_eq!(folder.read_status(), None, "the first {end} bytes of {}", whole.len());
        }
    });
}
