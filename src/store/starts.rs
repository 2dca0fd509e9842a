//! Stub.
use crate::os::lock::FileLock;
/// Stub.
#[derive(Debug, Clone)]
pub struct StartSlots;
impl StartSlots {
    /// Stub.
    /// # Errors
    /// Stub.
    pub fn try_take(&self) -> std::io::Result<Option<FileLock>> {
        Ok(None)
    }
}
