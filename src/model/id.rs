//! Names of jobs and tasks: checked once, when they enter, so that a path can be built from them without a thought.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest job or task id, in bytes.
pub const MAX_ID_BYTES: usize = 64;
/// Length of the random tail of a job id, in base32 characters.
pub const TAIL_CHARS: usize = 6;
/// Names in a run folder that no task may take.
pub const RESERVED: [&str; 6] = ["plan", "roles", "queen", "workspace", "tree", "verify"];
/// Those of them where sessions of the job itself work, in the order of their turns.
pub const OF_JOB: [&str; 3] = ["plan", "roles", "queen"];

/// Why a text is not an id.
#[derive(Debug, Error, PartialEq, Eq, Clone)]
pub enum IdError {
    /// The text has characters outside `[a-z0-9-]`, starts with `-`, is empty or too long.
    #[error(
        "{0:?} is not an id: use 1 to 64 characters of a-z, 0-9 and -, starting with a letter or digit"
    )]
    Malformed(String),
    /// The text names a folder that the run folder keeps for itself.
    #[error("{0:?} is a reserved name")]
    Reserved(String),
}

fn is_id(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty()
        && text.len() <= MAX_ID_BYTES
        && !text.starts_with('-')
        && text.bytes().all(allowed)
}

/// A job's id: `<slug>-<6 base32 characters>`, also the name of its run folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

impl JobId {
    /// Checks a text that claims to be a job id.
    ///
    /// # Errors
    /// When the text has other characters than an id may have.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if is_id(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::Malformed(text.to_owned()))
        }
    }

    /// Makes an id from a file's stem and a random tail of [`TAIL_CHARS`] base32 characters.
    pub fn compose(stem: &str, tail: &str) -> Self {
        let room = MAX_ID_BYTES - TAIL_CHARS - 1;
        let mut slug = slug(stem);
        slug.truncate(room);
        let slug = slug.trim_matches('-');
        let slug = if slug.is_empty() { "job" } else { slug };
        Self(format!("{slug}-{tail}"))
    }

    /// Whether a file's stem already has the form that `submit` gives: slug, `-`, six base32 characters.
    pub fn from_stem(stem: &str) -> Option<Self> {
        let (slug, tail) = stem.rsplit_once('-')?;
        let is_tail = tail.len() == TAIL_CHARS && tail.bytes().all(is_base32);
        (is_tail && is_id(slug) && !slug.ends_with('-')).then(|| Self::parse(stem).ok()).flatten()
    }

    /// The id without its tail, where it has the form that `submit` gives; else the whole.
    pub fn slug(&self) -> &str {
        let has_tail = Self::from_stem(&self.0).is_some();
        if has_tail { &self.0[..self.0.len() - TAIL_CHARS - 1] } else { &self.0 }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_base32(b: u8) -> bool {
    b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b)
}

/// Lower-cases, turns every run of other characters into one `-`.
fn slug(stem: &str) -> String {
    let mut out = String::new();
    for c in stem.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            out.push(c);
        } else if !out.ends_with('-') && !out.is_empty() {
            out.push('-');
        }
    }
    out
}

/// A task's id, unique over all plans of its job, also the name of its folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId(String);

impl TaskId {
    /// Takes an id from a model: lower-cased, `_` to `-`, then checked.
    ///
    /// # Errors
    /// When it is no id even so, or one of [`RESERVED`].
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let id = text.trim().to_lowercase().replace('_', "-");
        if RESERVED.contains(&id.as_str()) {
            return Err(IdError::Reserved(id));
        }
        if is_id(&id) { Ok(Self(id)) } else { Err(IdError::Malformed(text.to_owned())) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_like {
    ($name:ident) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}
text_like!(JobId);
text_like!(TaskId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_id_is_made_of_any_stem() {
        for (stem, expected) in [
            ("Fix the Login!", "fix-the-login-abc234"),
            ("-rf", "rf-abc234"),
            ("ÄÖ", "job-abc234"),
            ("", "job-abc234"),
            ("a__b..c", "a-b-c-abc234"),
        ] {
            assert_eq!(JobId::compose(stem, "abc234").as_str(), expected, "{stem:?}");
        }
        let long = JobId::compose(&"x".repeat(300), "abc234");
        assert_eq!(long.as_str().len(), MAX_ID_BYTES);
        assert_eq!(JobId::from_stem(long.as_str()), Some(long));
    }

    #[test]
    fn only_a_stem_of_the_form_that_submit_gives_is_kept() {
        assert!(JobId::from_stem("fix-login-abc234").is_some());
        for stem in ["fix-login", "fix-login-ABC234", "fix-abc189", "-abc234", "abc234", "a--abc23"]
        {
            assert_eq!(JobId::from_stem(stem), None, "{stem}");
        }
    }

    #[test]
    fn a_task_id_of_a_model_is_mended_or_refused() {
        assert_eq!(TaskId::parse("Task_1").map(|t| t.to_string()), Ok("task-1".into()));
        assert_eq!(TaskId::parse("PLAN"), Err(IdError::Reserved("plan".into())));
        for bad in ["", "../x", "a/b", "a b", "-a", &"x".repeat(65)] {
            assert!(TaskId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_slug_is_the_id_without_its_tail() {
        for (id, slug) in [("fix-login-abc234", "fix-login"), ("by-hand", "by-hand"), ("a", "a")] {
            assert_eq!(JobId::parse(id).expect("id").slug(), slug);
        }
    }
}
