//! Opens files that an operator names. Invariant: only regular files are read, and never without a bound: opening a
//! pipe would block, and a device never ends.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::deadline::looks_at;
use crate::types::ByteCount;

/// Upper bound for a configuration, secret or script; longer files are rejected.
pub const MOST_READ_BYTES: u64 = 8 << 20;

/// Opens a regular file, or a link to one, for reading.
///
/// # Errors
/// If it cannot be opened, or is anything else.
pub fn open_regular(path: &Path) -> io::Result<File> {
    looks_at(path);
    // Without NONBLOCK, opening a pipe waits for a writer.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    match kind_of(&file.metadata()?) {
        None => Ok(file),
        Some(kind) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("it is {kind}, not a regular file"),
        )),
    }
}

/// Kind of a file, for messages; `None`: a regular file.
fn kind_of(facts: &Metadata) -> Option<&'static str> {
    let kind = facts.file_type();
    match () {
        () if kind.is_file() => None,
        () if kind.is_dir() => Some("a folder"),
        () if kind.is_fifo() => Some("a pipe"),
        () if kind.is_socket() => Some("a socket"),
        () => Some("a device"),
    }
}

/// Returns the bytes of a regular file that is not longer than `most_bytes`.
///
/// # Errors
/// If it cannot be read, is no regular file or is longer.
pub fn read_regular(path: &Path, most_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = open_regular(path)?;
    file.take(most_bytes.saturating_add(1))
        .read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most_bytes {
        false => Ok(bytes),
        true => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is longer than {}", ByteCount(most_bytes)),
        )),
    }
}

/// Returns the text of a regular file of at most [`MOST_READ_BYTES`].
///
/// # Errors
/// Same as [`read_regular`]; also if it is no UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    let bytes = read_regular(path, MOST_READ_BYTES)?;
    String::from_utf8(bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_not_waited_for_and_a_device_not_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let (zero, link) = (folder.path().join("zero"), folder.path().join("link"));
        std::os::unix::fs::symlink("/dev/zero", &zero).unwrap();
        std::fs::write(folder.path().join("real"), "text").unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        for (path, what) in [(&pipe, "a pipe"), (&zero, "a device")] {
            let error = read_text(path).unwrap_err().to_string();
            assert_eq!(error, format!("it is {what}, not a regular file"));
        }
        assert_eq!(read_text(&link).unwrap(), "text");
        let long = folder.path().join("long");
        File::create(&long)
            .unwrap()
            .set_len(MOST_READ_BYTES + 1)
            .unwrap();
        let error = read_text(&long).unwrap_err().to_string();
        assert_eq!(error, "it is longer than 8.0 MB");
    }
}
