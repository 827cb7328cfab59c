//! `pgherd local restore-point`: gives the present moment a name in the log.
//!
//! Never on a standby: its log is the primary's.

use super::super::restore_point::{name, tell};
use super::output::warn;
use super::place::Place;
use pgherd_local::control::Request;
use pgherd_local::failure::{Failure, Kind};

/// Give the present moment a name that a restore can go back to
#[derive(clap::Args)]
#[command(after_help = "\
A restore goes there with --to-name NAME, and --backup with one that ended before it: only a cluster
with an archive has a use for it.

Example:
  pgherd local restore-point before-the-release")]
pub(crate) struct RestorePoint {
    #[command(flatten)]
    pub(super) place: Place,
    /// What the moment is called
    #[arg(value_name = "POINT", value_parser = name)]
    point: String,
}

impl RestorePoint {
    pub(super) fn run(self) -> Result<(), Failure> {
        let form = self.place.output().form();
        self.place.with(|supervisor| async move {
            let cluster = supervisor.folder().name().to_string();
            let done = supervisor.ask(&Request::RestorePoint { name: self.point }).await?;
            let made = done.instances.first().zip(done.restore_point.as_ref());
            let Some((primary, point)) = made else {
                return Err(Failure::new(Kind::Failed, "no restore point was made")
                    .fix("pgherd local restart lets the supervisor be of this version"));
            };
            warn(&done.warnings);
            tell(form, (&cluster, primary), point)
        })
    }
}
