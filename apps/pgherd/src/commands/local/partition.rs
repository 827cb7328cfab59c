//! `pgherd local partition`: cuts an instance off from the others, really: no byte passes.
//!
//! Never closes a connection: as when a switch fails, nobody is told.

use super::action;
use super::place::Place;
use pgherd_local::control::{Reach, Request, Ways};
use pgherd_local::failure::Failure;

/// Cut an instance off from the other instances and from the record
#[derive(clap::Args)]
#[command(after_help = "\
Clients on this machine still reach it. Partitions add up until `pgherd local heal`.

Examples:
  pgherd local partition 1
  pgherd local partition 1 --from 2
  pgherd local partition 1 --one-way
  pgherd local partition 1 --record-only")]
pub(crate) struct Partition {
    #[command(flatten)]
    pub(super) place: Place,
    /// The instance, by name or number
    #[arg(value_name = "INSTANCE")]
    instance: String,
    /// Only from this instance
    #[arg(long, value_name = "INSTANCE", conflicts_with = "record_only")]
    from: Option<String>,
    /// Only what it sends is lost; what is sent to it arrives
    #[arg(long, conflicts_with = "record_only")]
    one_way: bool,
    /// Only from the record
    #[arg(long)]
    record_only: bool,
}

impl Partition {
    pub(super) fn run(self) -> Result<(), Failure> {
        let output = self.place.output();
        let request = Request::Partition {
            instance: self.instance,
            from: self.from,
            ways: if self.one_way { Ways::Outgoing } else { Ways::Both },
            reach: if self.record_only { Reach::RecordOnly } else { Reach::Everything },
        };
        self.place.with(|supervisor| async move {
            let words = ("cut off (pgherd local heal)", "is cut off already");
            action::simply(&supervisor, request, output, words).await
        })
    }
}
