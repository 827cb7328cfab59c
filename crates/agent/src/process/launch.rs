//! Becomes another program that dies when its parent dies: the last step before PostgreSQL runs.
//!
//! Never returns when it succeeds. The parent must call it from its main thread's child, because
//! the kernel counts the death of the *thread* that started the child.

use rustix::process::{Pid, Signal};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error("asking to die with the parent process")]
    BindToParent { source: io::Error },
    #[error("the parent process died before it could be bound to")]
    FindParent,
    #[error("becoming {program:?}")]
    Become { program: OsString, source: io::Error },
}

/// A program of ours that calls [`become_bound`] with what follows its own arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    pub program: OsString,
    pub arguments: Vec<OsString>,
}

/// Replaces this process by `program`, which is killed when `parent` dies.
pub fn become_bound(parent: u32, program: OsString, arguments: Vec<OsString>) -> LaunchError {
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return LaunchError::BindToParent { source: error.into() };
    }
    // A parent that died before the line above will never be reported.
    let now = rustix::process::getppid().map(Pid::as_raw_pid);
    if now.and_then(|id| u32::try_from(id).ok()) != Some(parent) {
        return LaunchError::FindParent;
    }
    let source = Command::new(&program).args(arguments).exec();
    LaunchError::Become { program, source }
}
