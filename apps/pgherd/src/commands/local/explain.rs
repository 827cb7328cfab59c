//! `pgherd local explain`: why a cluster does not do what one would expect.
//!
//! Never repeats what is well: only what waits is told.

use super::output::{Output, say, say_json};
use super::place::Place;
use pgherd_local::explain;
use pgherd_local::failure::Failure;

/// Tell why nobody is primary, or what something waits for
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd local explain")]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(super) place: Place,
}

impl Explain {
    pub(super) fn run(self) -> Result<(), Failure> {
        let output = self.place.output();
        self.place.with(|supervisor| async move {
            let explanation = explain::explain(&supervisor.view().await?);
            if output == Output::Json {
                return say_json(&explanation);
            }
            say(&explanation.sentence);
            for (position, fact) in explanation.facts.iter().enumerate() {
                let fix = fact.fix.as_ref().map(|fix| format!("   fix: {fix}")).unwrap_or_default();
                say(&format!("  {}. {}  {}{fix}", position + 1, fact.about, fact.what));
            }
            Ok(())
        })
    }
}
