//! Where things lie under a root: names only, nothing is opened here.

use std::path::{Path, PathBuf};

use super::id::JobId;

/// A root: the folder that holds `spool/`, `runs/` and `store/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// Names a root; the path should be absolute.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `spool/`.
    pub fn spool(&self) -> PathBuf {
        self.0.join("spool")
    }

    /// `runs/`.
    pub fn runs(&self) -> PathBuf {
        self.0.join("runs")
    }

    /// `store/`.
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// What is kept of jobs that were removed.
    pub fn pruned(&self) -> PathBuf {
        self.store().join("pruned")
    }

    /// `numerus.toml`.
    pub fn settings_file(&self) -> PathBuf {
        self.0.join("numerus.toml")
    }

    /// `prompts/`, where a template of the operator's overrides a built-in one.
    pub fn prompts(&self) -> PathBuf {
        self.0.join("prompts")
    }

    /// The run folder of a job.
    pub fn run(&self, job: &JobId) -> PathBuf {
        self.runs().join(job.as_str())
    }
}

/// The job whose copy has this name in `store/pruned/`: `JOB`, or where an id was used again `JOB.2`, `JOB.3`, …
pub fn job_of_copy(name: &str) -> Option<JobId> {
    let (id, number) = name.split_once('.').unwrap_or((name, "1"));
    number.parse::<u32>().ok().and_then(|_| JobId::parse(id).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_called_like_its_job_or_with_a_number_behind_that() {
        for (name, job) in [
            ("a-abc234", Some("a-abc234")),
            ("a-abc234.2", Some("a-abc234")),
            ("a-abc234.x", None),
            ("a-abc234.2.3", None),
            (".lock", None),
            ("My notes", None),
        ] {
            assert_eq!(job_of_copy(name).as_ref().map(JobId::as_str), job, "{name}");
        }
    }
}
