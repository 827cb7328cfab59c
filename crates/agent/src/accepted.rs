//! What this server accepts of the user's parameters and lines of pg_hba.conf.
//!
//! Never asks twice about the same ones, and never lets a refusal stop a failover: what is refused
//! is left out and told.

use crate::chain::chain;
use crate::postgres::config::hba::Lines;
use crate::postgres::config::{Parameters, trial};
use crate::postgres::site::Site;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tracing::warn;

/// What was found out last.
#[derive(Debug, Default)]
pub struct Accepted(Mutex<Option<Known>>);

#[derive(Debug, Clone)]
struct Known {
    given: BTreeMap<String, String>,
    parameters: Parameters,
}

impl Accepted {
    /// The parameters that the server takes. If that cannot be found out, those of last time.
    pub async fn parameters(&self, site: &Site, given: &BTreeMap<String, String>) -> Parameters {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known.as_ref().filter(|known| known.given == *given) {
            return known.parameters.clone();
        }
        match trial::accept(site, given).await {
            Ok((parameters, refused)) => {
                for refused in refused {
                    warn!(%refused, "left out");
                }
                let known = Known { given: given.clone(), parameters: parameters.clone() };
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
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
