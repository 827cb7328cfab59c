//! Deletes one dump.
//!
//! Never without being told twice.

use super::super::{Answer, Opened};
use pgherd_local::failure::{Failure, Kind};
use serde::{Deserialize, Serialize};

/// Delete one dump
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub(crate) struct Delete {
    /// Its id or name
    #[arg(value_name = "DUMP")]
    pub(crate) dump: String,
    /// Really
    #[arg(long)]
    yes: bool,
}

/// What is gone.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Deleted {
    dump: String,
}

impl Delete {
    pub(crate) async fn answer(&self, opened: &Opened) -> Result<Deleted, Failure> {
        opened.refuse_other().await?;
        let id = opened.find_dump(&self.dump).await?.id;
        if !self.yes {
            let what = format!("dump {id} would be deleted, and nothing brings it back");
            return Err(Failure::new(Kind::Refused, what)
                .fix(format!("pgherd local dump delete {id} --yes")));
        }
        let removed = opened.dumps().remove(&id).await;
        removed.map_err(|error| opened.dump_failed(&error))?;
        Ok(Deleted { dump: id.to_string() })
    }
}

impl Answer for Deleted {
    type Document = Self;

    fn document(&self) -> &Self {
        self
    }

    fn names(&self) -> Vec<String> {
        vec![format!("dump/{}", self.dump)]
    }

    fn lines(&self) -> Vec<String> {
        vec![format!("dump/{} deleted", self.dump)]
    }
}
