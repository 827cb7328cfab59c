//! What this server accepts of the user's parameters and lines of pg_hba.conf.
//!
//! Never asks twice about the same ones, and never lets a refusal stop a failover: what is refused
//! is told, and stays as it was accepted last or is left out.

use crate::chain::chain;
use crate::postgres::config::hba::Lines;
use crate::postgres::config::parameters::kept;
use crate::postgres::config::{Parameters, trial};
use crate::postgres::control;
use crate::postgres::site::Site;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tracing::warn;

/// What was found out last.
#[derive(Debug, Default)]
pub struct Accepted {
    known: Mutex<Option<Known>>,
    /// What stays as it was although it is accepted, in words.
    kept: Mutex<Vec<String>>,
}

#[derive(Debug, Clone)]
struct Known {
    given: BTreeMap<String, String>,
    parameters: Parameters,
    refused: Vec<String>,
}

impl Accepted {
    /// Which parameters the server did not take, and why.
    pub fn refused(&self) -> Vec<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut refused = known.as_ref().map(|known| known.refused.clone()).unwrap_or_default();
        refused.extend(self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        refused
    }

    /// Notes which of them the server cannot go below.
    fn note_kept(&self, site: &Site, parameters: &Parameters) {
        let floors = control::read_file(&site.data).ok().map(|control| control.floors);
        let kept = floors.map(|floors| kept(&floors, parameters)).unwrap_or_default();
        let mut before = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for kept in kept.iter().filter(|kept| !before.contains(kept)) {
            warn!(%kept, "not taken up");
        }
        *before = kept;
    }

    /// The parameters that the server takes. If that cannot be found out, those of last time.
    pub async fn parameters(&self, site: &Site, given: &BTreeMap<String, String>) -> Parameters {
        let parameters = self.accepted(site, given).await;
        self.note_kept(site, &parameters);
        parameters
    }

    async fn accepted(&self, site: &Site, given: &BTreeMap<String, String>) -> Parameters {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known.as_ref().filter(|known| known.given == *given) {
            return known.parameters.clone();
        }
        match trial::accept(site, given).await {
            Ok((parameters, refused)) => {
                let before = known.map(|known| known.parameters).unwrap_or_default();
                let parameters = parameters.with_earlier(&before, given);
                let refused: Vec<String> = refused.iter().map(ToString::to_string).collect();
                for refused in &refused {
                    warn!(%refused, "not taken up");
                }
                let known = Known { given: given.clone(), parameters: parameters.clone(), refused };
                *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
                parameters
            }
            Err(error) => {
                warn!(error = %chain(&error), "the parameters stay as they were");
                known.map(|known| known.parameters).unwrap_or_default()
            }
        }
    }
}

/// The lines that PostgreSQL takes.
pub fn lines(given: &[String]) -> Lines {
    let (lines, refused) = Lines::accept(given);
    for refused in refused {
        warn!(%refused, "left out");
    }
    lines
}
