//! What is asked of the logical dumps in a repository.
//!
//! Never asks an agent or believes an object: what the repository holds is what counts.

pub(crate) mod delete;
pub(crate) mod details;
pub(crate) mod expire;
pub(crate) mod list;

use super::Opened;
use pgherd_agent::chain::chain;
use pgherd_backup::dump::{DumpError, Dumps, Found};
use pgherd_local::failure::{Failure, Kind};

impl Opened {
    fn dumps(&self) -> Dumps {
        Dumps::new(self.store.clone(), self.layout.clone())
    }

    fn dump_failed(&self, error: &DumpError) -> Failure {
        let what = format!("the dumps in {} cannot be used", self.place());
        Failure::new(Kind::Failed, what).because(chain(error).to_string())
    }

    /// By its id, its name, or as the first or the latest.
    pub(crate) async fn find_dump(&self, wanted: &str) -> Result<Found, Failure> {
        let found = self.dumps().find(wanted).await.map_err(|error| self.dump_failed(&error))?;
        found.ok_or_else(|| {
            let what = format!("there is no dump {wanted:?} in {}", self.place());
            Failure::new(Kind::NotFound, what).fix("pgherd local dump list")
        })
    }
}
