//! Recognizes an image by its first bytes, and finds its manifest by its digest.

use std::io::{self, Read};
use std::path::Path;

use crate::cli::exit::Refusal;
use crate::config::open_regular;
use crate::dump::decoder;
use crate::types::{Compression, Hasher, Manifest, Sha256};

/// First bytes of every SQLite file, <https://www.sqlite.org/fileformat.html#the_database_header>.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Finds the manifest of a file that is an image; `None` if the file is something else.
///
/// # Errors
/// If it is an image without a manifest in `known`: it cannot be proven, and needs no restore.
pub(super) fn manifest_of(
    file: &Path,
    compression: Compression,
    known: &[Manifest],
) -> anyhow::Result<Option<Manifest>> {
    let Some(sha256) = digest_of_image(file, compression)? else {
        return Ok(None);
    };
    let is_its = |manifest: &&Manifest| manifest.is_image() && manifest.plain.sha256 == sha256;
    if let Some(manifest) = known.iter().find(is_its) {
        return Ok(Some(manifest.clone()));
    }
    let path = file.display();
    let copy = match compression {
        Compression::None => format!("cp {path} TARGET"),
        Compression::Gzip => format!("gzip -dc {path} > TARGET"),
        Compression::Zstd => format!("zstd -dc {path} > TARGET"),
    };
    Err(Refusal::failed(format!(
        "`{path}` is a SQLite database file, not SQL text, and no known copy has its SHA-256 {sha256}\nhint: it is the \
         database itself: compare the digest with `plain.sha256` in its manifest (`--manifest FILE` does), then \
         `{copy}`"
    ))
    .into())
}

/// Computes the digest of an image's pages. `None` if the file is not an image, or cannot be read, which the restore
/// reports.
fn digest_of_image(file: &Path, compression: Compression) -> io::Result<Option<Sha256>> {
    let Ok(input) = open_regular(file) else {
        return Ok(None);
    };
    let Ok(mut plain) = decoder(compression, input) else {
        return Ok(None);
    };
    let mut first = [0; MAGIC.len()];
    if plain.read_exact(&mut first).is_err() || first != *MAGIC {
        return Ok(None);
    }
    let mut hasher = Hasher::default();
    hasher.update(&first);
    let mut block = vec![0; 256 * 1024];
    loop {
        match plain.read(&mut block)? {
            0 => return Ok(Some(hasher.finish())),
            count => hasher.update(&block[..count]),
        }
    }
}
