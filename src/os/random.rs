//! The one door to chance: tails of ids and names of temporary files.

/// The base32 alphabet of job ids.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Random base32 characters from the kernel.
///
/// # Errors
/// When the kernel gives no randomness.
pub fn base32(chars: usize) -> std::io::Result<String> {
    let mut bytes = vec![0u8; chars];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(bytes.iter().map(|b| char::from(ALPHABET[usize::from(b & 31)])).collect())
}

/// A random fraction from 0 to 1, for jitter; 0.5 when the kernel gives none.
pub fn fraction() -> f64 {
    let mut bytes = [0u8; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}
