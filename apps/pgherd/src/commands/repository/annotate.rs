//! Holds a backup so that retention leaves it alone, or releases it.
//!
//! Never changes a backup itself.

use super::{Answer, Opened};
use pgherd_core::backup::Hold;
use pgherd_local::failure::Failure;
use serde::{Deserialize, Serialize};

/// Hold a backup whatever retention says, or release it
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(crate) struct Annotate {
    /// Its id or name, or first or latest
    #[arg(value_name = "BACKUP")]
    pub(crate) backup: String,
    /// full keeps all log after it, too; standalone only what makes it consistent
    #[arg(long, value_enum, group = "what")]
    keep: Option<Keep>,
    /// Retention may remove it again
    #[arg(long, group = "what")]
    release: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Keep {
    Full,
    Standalone,
}

/// What holds it now.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Annotated {
    backup: String,
    hold: Option<Hold>,
}

impl Annotate {
    pub(super) async fn answer(&self, opened: &Opened) -> Result<Annotated, Failure> {
        opened.refuse_other().await?;
        let (_, id) = opened.find(&self.backup).await?;
        let hold = self.keep.map(|keep| match keep {
            Keep::Full => Hold::Full,
            Keep::Standalone => Hold::Standalone,
        });
        let held = opened.repository.set_hold(&id, hold).await;
        held.map_err(|error| opened.failed(&error))?;
        Ok(Annotated { backup: id.to_string(), hold })
    }
}

impl Answer for Annotated {
    type Document = Self;

    fn document(&self) -> &Self {
        self
    }

    fn names(&self) -> Vec<String> {
        vec![format!("backup/{}", self.backup)]
    }

    fn lines(&self) -> Vec<String> {
        let words = match self.hold {
            Some(Hold::Full) => "is on hold, with all log after it",
            Some(Hold::Standalone) => "is on hold by itself",
            None => "is released",
        };
        vec![format!("backup/{} {words}", self.backup)]
    }
}
