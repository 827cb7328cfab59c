//! `pgherd bootstrap`: brings this program into a pod whose image does not have it.
//!
//! Never leaves half of it there: the file gets its name when it is whole.
#![expect(clippy::print_stderr, reason = "a program says on stderr why it failed")]

use anyhow::{Context, Result};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

/// Copy this program into a folder (used by the first container of a pod)
#[derive(clap::Args)]
#[command(hide = true)]
pub(crate) struct Bootstrap {
    /// The folder
    folder: PathBuf,
}

impl Bootstrap {
    pub(crate) fn run(self) -> ExitCode {
        match self.attempt() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    fn attempt(self) -> Result<()> {
        let (place, unfinished) = (self.folder.join("pgherd"), self.folder.join("pgherd.new"));
        let attempt = || format!("copying this program to {}", place.display());
        std::fs::copy("/proc/self/exe", &unfinished).with_context(attempt)?;
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&unfinished, executable).with_context(attempt)?;
        std::fs::rename(&unfinished, &place).with_context(attempt)?;
        // What the agent and whoever enters the pod expect beside it.
        for name in ["run", "tmp"] {
            std::fs::create_dir_all(self.folder.join(name))
                .with_context(|| format!("making {}", self.folder.join(name).display()))?;
        }
        Ok(())
    }
}
