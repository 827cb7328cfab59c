//! placeholder
use super::place::Place;
use pgherd_local::failure::Failure;
/// Tour
#[derive(clap::Args)]
pub(crate) struct Demo {
    #[command(flatten)]
    place: Place,
}
impl Demo {
    pub(super) fn run(self) -> Result<(), Failure> {
        let _unused = self.place;
        Ok(())
    }
}
