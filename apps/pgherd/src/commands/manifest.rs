//! Reads the text of a manifest that somebody names.
//!
//! Never understands it: each platform has its own way to.

use pgherd_local::failure::{Failure, Kind};
use std::io::Read;
use std::path::Path;

/// What is in this file, or comes in if it is `-`.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Kind::Usage, format!("{} cannot be read", path.display()))
            .because(error.to_string())
            .fix("name a file with a Cluster manifest")
    };
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(failed)?;
        return Ok(text);
    }
    std::fs::read_to_string(path).map_err(failed)
}
