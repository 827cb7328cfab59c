//! Wraps the keys of all that a repository holds of a cluster anew, by the key that encrypts now.
//!
//! Never says that an older key may go while anything needs it.

use super::{Answer, Opened, Step, Teller, counted};
use pgherd_agent::chain::chain;
use pgherd_backup::rewrap::{self, Outcome, Progress};
use pgherd_core::units::Bytes;
use pgherd_local::failure::{Failure, Kind};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::watch;

const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// Wrap the keys of everything that is encrypted anew, so that older keys may go
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub(crate) struct Rewrap {}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rewrapped {
    place: String,
    /// By which everything opens.
    key: String,
    objects: u64,
    written_anew: u64,
    moved: Bytes,
    unopened: Vec<String>,
    unopened_in_all: u64,
}

impl Rewrap {
    pub(super) async fn answer(
        &self,
        opened: &Opened,
        teller: &Teller,
    ) -> Result<Rewrapped, Failure> {
        opened.refuse_other().await?;
        Ok(told(opened.place(), rewrapped(opened, teller).await?))
    }
}

async fn rewrapped(opened: &Opened, teller: &Teller) -> Result<Outcome, Failure> {
    let (progress, shown) = watch::channel(Progress::default());
    let work = rewrap::rewrap((&opened.store, &opened.layout), progress);
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done.map_err(|error| {
                let what = format!("not everything in {} was wrapped anew", opened.place());
                Failure::new(Kind::Failed, what).because(chain(&error).to_string()).fix(
                    "all keys are still needed; the same command goes on where this one stopped",
                )
            }),
            () = tokio::time::sleep(BETWEEN_LOOKS) => {
                teller.send_replace(words(*shown.borrow()));
            }
        }
    }
}

fn words(now: Progress) -> Step {
    let (looked_at, rewrapped) = (counted(now.looked_at, "object"), now.rewrapped);
    let step = if now.passes > 1 { "looking whether all is done" } else { "wrapping keys anew" };
    let detail = format!("{looked_at}, {rewrapped} written anew, {} moved", now.moved);
    Step { step: step.to_owned(), detail }
}

fn told(place: String, outcome: Outcome) -> Rewrapped {
    let Outcome { key, objects, rewrapped, moved, unopened, unopened_in_all } = outcome;
    let key = key.to_string();
    Rewrapped { place, key, objects, written_anew: rewrapped, moved, unopened, unopened_in_all }
}

impl Answer for Rewrapped {
    type Document = Self;

    fn document(&self) -> &Self {
        self
    }

    fn names(&self) -> Vec<String> {
        vec![format!("key/{}", self.key)]
    }

    fn lines(&self) -> Vec<String> {
        let Self { place, key, moved, .. } = self;
        let (objects, anew) = (counted(self.objects, "object"), self.written_anew);
        let line = format!("{place}: {objects}, {anew} written anew, {moved} moved");
        let further = match self.unopened_in_all {
            0 => vec![
                format!("  everything opens with key {key} alone"),
                "  lines of other keys may go from the file, once every instance has taken up this one"
                    .to_owned(),
            ],
            _ => self.unopened.iter().map(|why| format!("  {why}")).collect(),
        };
        std::iter::once(line).chain(further).collect()
    }

    fn failure(&self) -> Option<Failure> {
        if self.unopened_in_all == 0 {
            return None;
        }
        let objects = counted(self.unopened_in_all, "object");
        let what = format!("{objects} in {} cannot be opened with any declared key", self.place);
        Some(Failure::new(Kind::Failed, what).fix("add the keys that are named, and begin again"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_keys_may_go_only_when_nothing_is_left() {
        let mut said = Rewrapped {
            place: "/b/db".to_owned(),
            key: "3f9c0a51d2e4b768".to_owned(),
            objects: 12,
            written_anew: 7,
            moved: Bytes(3 << 20),
            unopened: Vec::new(),
            unopened_in_all: 0,
        };
        expect_test::expect![[r"
            /b/db: 12 objects, 7 written anew, 3.0 MiB moved
              everything opens with key 3f9c0a51d2e4b768 alone
              lines of other keys may go from the file, once every instance has taken up this one"]]
        .assert_eq(&said.lines().join("\n"));
        assert!(said.failure().is_none());
        said.unopened = vec!["db/pgherd/encrypted/x: its header is damaged".to_owned()];
        said.unopened_in_all = 1;
        let lines = said.lines().join("\n");
        assert!(lines.contains("damaged") && !lines.contains("may go"), "{lines}");
        assert!(said.failure().unwrap().what.starts_with("1 object in /b/db"));
    }
}
