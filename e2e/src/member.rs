//! One program that a proof started, in a folder of its own, with all that it started in turn.
//!
//! Never leaves a process of that folder alive once it is dropped. Needs `orphans::adopt`.

use anyhow::{Context, Result, bail};
use pgherd_local::account::Account;
use pgherd_local::processes::{self, Act, Part, Process};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const DEAD_WITHIN: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(2);

/// A program and the folder in which it and its children work.
pub struct Member {
    folder: PathBuf,
    account: Account,
    child: Option<Child>,
}

impl Member {
    pub fn new(folder: &Path, account: &Account) -> Self {
        Self { folder: folder.to_owned(), account: account.clone(), child: None }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts the program as the member's user; what it says is added to `log` in its folder.
    pub fn start(&mut self, program: &Path, arguments: &[&str]) -> Result<()> {
        if self.child.is_some() {
            bail!("{} runs already", self.folder.display());
        }
        let log = File::options().create(true).append(true).open(self.folder.join("log"))?;
        let mut command = as_account(program, &self.account);
        command.args(arguments).current_dir(&self.folder).process_group(0);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn();
        self.child = Some(child.with_context(|| format!("starting {}", program.display()))?);
        Ok(())
    }

    /// Whether the program itself still runs; whoever noted its death, we or `orphans`.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Kills all of it at once, as a loss of power would, and waits until it is gone.
    pub fn lose(&mut self) -> Result<()> {
        let mut killed: Vec<u32> = Vec::new();
        let until = Instant::now() + DEAD_WITHIN;
        loop {
            let alive = self.processes()?;
            // Frozen first: what is frozen starts nothing new and notices nobody's death.
            for act in [Act::Freeze, Act::Kill] {
                for process in &alive {
                    processes::act_on(process, act)?;
                }
            }
            killed.extend(alive.iter().map(|process| process.id));
            self.forget_reaped(&mut killed);
            if alive.is_empty() && killed.is_empty() {
                self.child = None;
                return Ok(());
            }
            if Instant::now() >= until {
                bail!("processes of {} do not die: {killed:?}", self.folder.display());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Kills the first process of its PostgreSQL and nothing else.
    pub fn crash_postmaster(&self) -> Result<()> {
        let all = self.processes()?;
        let postmaster = all.iter().find(|process| process.part == Part::Postmaster);
        let postmaster =
            postmaster.with_context(|| format!("no postmaster in {}", self.folder.display()))?;
        processes::act_on(postmaster, Act::Kill)?;
        Ok(())
    }

    fn processes(&self) -> Result<Vec<Process>> {
        Ok(processes::anybodys(&self.folder)?)
    }

    /// Forgets those that are gone without a trace.
    fn forget_reaped(&mut self, killed: &mut Vec<u32>) {
        let _is_running = self.is_running();
        killed.retain(|id| Path::new("/proc").join(id.to_string()).exists());
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Nothing can be done about what does not die to a signal that cannot be refused.
        let _lost = self.lose();
    }
}

/// A command that runs as this user.
pub fn as_account(program: &Path, account: &Account) -> Command {
    let mut command = Command::new(program);
    if rustix::process::geteuid().is_root() {
        command.uid(account.user).gid(account.group);
    }
    // Nothing of root's home: neither settings nor certificates.
    command.env("HOME", "/nonexistent").env("LC_ALL", "C.UTF-8");
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait;

    #[test]
    fn a_lost_member_leaves_nothing_alive_whatever_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        let account = pgherd_local::account::of(rustix::process::geteuid().as_raw()).unwrap();
        let mut member = Member::new(folder.path(), &account);
        let two = "sleep 600 & echo $! > child; sleep 600";
        member.start(Path::new("/bin/sh"), &["-c", two]).unwrap();
        wait::until("two programs", DEAD_WITHIN, || Ok(member.processes()?.len() == 3)).unwrap();
        assert!(member.is_running());
        // What the shell leaves behind has nobody but us to note its death.
        crate::orphans::adopt().unwrap();
        member.lose().unwrap();
        assert_eq!(member.processes().unwrap(), []);
        assert!(!member.is_running());
    }
}
