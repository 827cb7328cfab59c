//! `pgherd explain`: why a cluster does not do what one would expect.
//!
//! Never repeats what is well: only what waits is told.

use super::form::tell;
use super::place::Place;
use pgherd_kubernetes::console::explain::{Explanation, explain};
use pgherd_local::failure::Failure;

/// Tell why nobody is primary, or what something waits for
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd explain app-db -n shop")]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(super) place: Place,
}

impl Explain {
    pub(super) fn run(self) -> Result<(), Failure> {
        let form = self.place.form();
        self.place.with(|reached| async move {
            let view = reached.view().await?;
            let explanation = explain(&view);
            tell(form, (view.name.as_str(), &text(&explanation)), &explanation)
        })
    }
}

fn text(explanation: &Explanation) -> Vec<String> {
    let mut lines = vec![explanation.sentence.clone()];
    for (number, fact) in (1..).zip(&explanation.facts) {
        lines.push(format!("  {number}. {}: {}", fact.about, fact.what));
        lines.extend(fact.fix.iter().map(|fix| format!("     fix: {fix}")));
    }
    lines
}
