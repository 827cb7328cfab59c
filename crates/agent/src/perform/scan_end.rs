//! Finds the end of the log of a server that died.
//!
//! Never looks at a server that runs.

use super::{Bench, Hands};
use crate::postgres::control::{self, ControlError};
use crate::postgres::wal::end::{self, EndError};
use crate::postgres::wal::unbegun::{self, UnbegunError};
use std::time::Duration;

/// The scan reads the log since the last checkpoint.
const WITHIN: Duration = Duration::from_mins(1);

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("reading the control file")]
    ReadControl(#[source] ControlError),
    #[error("removing what an interrupted promotion left")]
    RemoveUnbegun(#[source] UnbegunError),
    #[error("finding the end of the log")]
    Scan(#[source] EndError),
}

pub(super) async fn perform(bench: &Bench, hands: &mut Hands) -> Result<(), Error> {
    let site = &bench.site;
    let control =
        control::read(&site.installation, &site.data).await.map_err(Error::ReadControl)?;
    unbegun::remove(&site.data).map_err(Error::RemoveUnbegun)?;
    let found = end::find(site, &control, WITHIN).await.map_err(Error::Scan)?;
    hands.manner.end = Some(found);
    Ok(())
}
