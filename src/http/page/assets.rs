//! Holds the assets of the page. Invariant: the path contains a digest of the content, so that a browser may cache it
//! forever.

use std::sync::LazyLock;

use crate::types::Sha256;

/// Number of hex digits of the digest in the path: enough to distinguish versions.
const DIGITS: usize = 12;

/// A file that the page loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// Its bytes.
    pub body: &'static str,
}

const FILES: [(&str, Asset); 3] = [
    (
        "patina.css",
        Asset {
            content_type: "text/css; charset=utf-8",
            body: include_str!("patina.css"),
        },
    ),
    (
        "patina.js",
        Asset {
            content_type: "text/javascript; charset=utf-8",
            body: include_str!("patina.js"),
        },
    ),
    (
        "patina.svg",
        Asset {
            content_type: "image/svg+xml",
            body: include_str!("patina.svg"),
        },
    ),
];

static PATHS: LazyLock<[String; 3]> = LazyLock::new(|| {
    FILES.map(|(name, asset)| {
        let digest = Sha256::of(asset.body.as_bytes()).to_string();
        format!("/assets/{}/{name}", &digest[..DIGITS])
    })
});

/// Returns the asset at this path, which begins with `/assets/`; `None` if the path is unknown or its content has
/// changed.
pub fn asset(path: &str) -> Option<Asset> {
    let index = PATHS.iter().position(|known| known == path)?;
    Some(FILES[index].1)
}

/// Returns the path of the asset with this name.
pub(super) fn path_of(name: &str) -> &'static str {
    let index = FILES.iter().position(|(known, _)| *known == name);
    &PATHS[index.expect("the page names only files that are here")]
}
