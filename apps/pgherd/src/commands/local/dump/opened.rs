//! Opens the dumps of a cluster, whether the cluster is up or not.
//!
//! Never asks an agent: what the repository holds is what counts.

use super::super::super::repository::Opened;
use super::super::repository;
use pgherd_agent::chain::chain;
use pgherd_backup::dump::{DumpError, Dumps, Found};
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::folder::ClusterFolder;

pub(super) struct Catalogue {
    pub(super) opened: Opened,
    pub(super) dumps: Dumps,
}

pub(super) fn open(folder: &ClusterFolder) -> Result<Catalogue, Failure> {
    let opened = repository::open(folder)?;
    let dumps = Dumps::new(opened.store.clone(), opened.layout.clone());
    Ok(Catalogue { opened, dumps })
}

impl Catalogue {
    pub(super) fn failed(&self, error: &DumpError) -> Failure {
        let what = format!("the dumps in {} cannot be used", self.opened.place());
        Failure::new(Kind::Failed, what).because(chain(error).to_string())
    }

    pub(super) async fn find(&self, wanted: &str) -> Result<Found, Failure> {
        let found = self.dumps.find(wanted).await.map_err(|error| self.failed(&error))?;
        found.ok_or_else(|| {
            let what = format!("there is no dump {wanted:?} in {}", self.opened.place());
            Failure::new(Kind::NotFound, what).fix("pgherd local dump list")
        })
    }
}
