//! Stub.
pub mod starts;
