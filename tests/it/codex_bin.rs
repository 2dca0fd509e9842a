//! The codex binary that the tests drive: `CODEX_BIN` if set, else the pinned npm package, fetched once and checked.
//!
//! Promise: whatever path comes back answered `--version`; a fetched one also matched the sha512 written here. The package
//! lies in `<target>/codex/<version>/` and appears there by one rename under a lock, so that any number of test processes
//! may ask at the same time.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use sha2::{Digest, Sha512};

/// The version whose behaviour the tests hold.
pub(crate) const VERSION: &str = "0.169.0";

/// What differs between the two platforms that the package exists for.
struct Platform {
    suffix: &'static str,
    triple: &'static str,
    integrity: &'static str,
}

const X64: Platform = Platform {
    suffix: "linux-x64",
    triple: "x86_64-unknown-linux-musl",
    integrity: "sha512-o05NyAOCDygSPRo1yinzxvkRSdmsZyBD9E7mbpmjRanSfM8lypqWtQgEo4XfNkwhuCR2aFu8mlGOsQGFXVbVww==",
};

const ARM64: Platform = Platform {
    suffix: "linux-arm64",
    triple: "aarch64-unknown-linux-musl",
    integrity: "sha512-NZ/DaQUpcQmxmqee7Z9uC1rzw3GhSbooawcaTe1LN5Yk+WlinUKGdTXJgClRT/9ogQEEM9TWxYzvxPfj5G/xFg==",
};

/// The codex binary to test with. Panics with one sentence that says what to do when there is none.
pub(crate) fn codex_bin() -> &'static Path {
    static BIN: OnceLock<PathBuf> = OnceLock::new();
    BIN.get_or_init(|| find().unwrap_or_else(|sentence| panic!("{sentence}")))
}

/// The folder that cargo builds into, wherever it was told to.
pub(crate) fn target_dir() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("cargo's tmp folder lies in the target folder")
}

fn find() -> Result<PathBuf, String> {
    let set = std::env::var_os("CODEX_BIN").filter(|path| !path.is_empty());
    let bin = match &set {
        Some(path) => PathBuf::from(path),
        None => fetched(&platform()?)?,
    };
    let said = version_of(&bin)?;
    let wanted =
        if set.is_some() { "codex-cli ".to_owned() } else { format!("codex-cli {VERSION}") };
    if said.starts_with(&wanted) {
        Ok(bin)
    } else {
        Err(format!("{} is not codex: it says {said:?}", bin.display()))
    }
}

fn platform() -> Result<Platform, String> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Ok(X64),
        ("linux", "aarch64") => Ok(ARM64),
        (os, arch) => Err(format!(
            "no codex package is pinned for {os} on {arch}: set CODEX_BIN to a codex binary"
        )),
    }
}

fn version_of(bin: &Path) -> Result<String, String> {
    let output =
        Command::new(bin).arg("--version").stdin(Stdio::null()).output().map_err(|error| {
            format!("cannot start {}: {error}; set CODEX_BIN to a codex binary", bin.display())
        })?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}

/// The fetched package's binary; fetches it when this is the first test to ask.
fn fetched(platform: &Platform) -> Result<PathBuf, String> {
    let shelf = target_dir().join("codex");
    let home = shelf.join(VERSION);
    let bin = home.join("package/vendor").join(platform.triple).join("bin/codex");
    let sentence = |why: String| {
        format!(
            "cannot get codex {VERSION} ({why}): install npm with access to a registry, \
             or set CODEX_BIN to the codex {VERSION} binary"
        )
    };
    fs::create_dir_all(&shelf)
        .map_err(|error| sentence(format!("making {}: {error}", shelf.display())))?;
    let lock = File::create(shelf.join(".lock"))
        .map_err(|error| sentence(format!("opening the lock: {error}")))?;
    lock.lock().map_err(|error| sentence(format!("locking: {error}")))?;
    if !bin.exists() {
        fetch(platform, &shelf, &home).map_err(sentence)?;
    }
    Ok(bin)
}

/// Runs under the lock, so that what an earlier, killed fetch left is nobody's.
fn fetch(platform: &Platform, shelf: &Path, home: &Path) -> Result<(), String> {
    for left in fs::read_dir(shelf).map_err(|error| error.to_string())?.filter_map(Result::ok) {
        if left.file_name().to_string_lossy().starts_with("fetch-") {
            fs::remove_dir_all(left.path()).map_err(|error| error.to_string())?;
        }
    }
    let scratch = tempfile::Builder::new()
        .prefix("fetch-")
        .tempdir_in(shelf)
        .map_err(|error| error.to_string())?;
    let package = format!("@openai/codex@{VERSION}-{}", platform.suffix);
    run(
        "npm",
        Command::new("npm")
            .args(["pack", "--loglevel=error", &package])
            .current_dir(scratch.path()),
    )?;
    let archive = scratch.path().join(format!("openai-codex-{VERSION}-{}.tgz", platform.suffix));
    let found = integrity_of(&archive)?;
    if found != platform.integrity {
        return Err(format!("{package} has the integrity {found}, not {}", platform.integrity));
    }
    let unpacked = scratch.path().join("unpacked");
    fs::create_dir(&unpacked).map_err(|error| error.to_string())?;
    run("tar", Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&unpacked))?;
    fs::rename(&unpacked, home).map_err(|error| format!("naming {}: {error}", home.display()))
}

fn run(name: &str, command: &mut Command) -> Result<(), String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{name} does not start: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{name} failed: {}", said.lines().next().unwrap_or("it said nothing")))
}

fn integrity_of(file: &Path) -> Result<String, String> {
    let mut hash = Sha512::new();
    let mut file =
        File::open(file).map_err(|error| format!("npm left no {}: {error}", file.display()))?;
    let mut block = vec![0; 1 << 20];
    loop {
        match std::io::Read::read(&mut file, &mut block).map_err(|error| error.to_string())? {
            0 => return Ok(format!("sha512-{}", base64(&hash.finalize()))),
            n => hash.update(&block[..n]),
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| (word << 8) | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = char::from(ALPHABET[(word >> (18 - 6 * place)) as usize & 63]);
            text.push(if place <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

#[test]
fn base64_pads_as_npm_does() {
    for (bytes, text) in
        [("", ""), ("M", "TQ=="), ("Ma", "TWE="), ("Man", "TWFu"), ("Many", "TWFueQ==")]
    {
        assert_eq!(base64(bytes.as_bytes()), text);
    }
}

#[test]
fn integrity_is_that_of_the_whole_file() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = dir.path().join("abc");
    fs::write(&file, "abc").unwrap();
    let known = "sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==";
    assert_eq!(integrity_of(&file).unwrap(), known);
}

#[test]
fn the_binary_is_there_and_is_codex() {
    assert!(codex_bin().is_file());
}
