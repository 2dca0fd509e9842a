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
