//! The agent's one loop.
//!
//! Never decides: it asks `plan` what to do and does it.

use crate::config::{AgentConfig, ConfigError};
use std::path::Path;

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("configuring the agent")]
    Configure(#[source] ConfigError),
}

/// Runs one instance until SIGTERM.
pub fn run(config: &Path) -> Result<(), RunError> {
    let _config = AgentConfig::load(config).map_err(RunError::Configure)?;
    Ok(())
}
