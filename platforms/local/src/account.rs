//! Decides which user of the operating system a cluster belongs to: its supervisor, its agents and
//! PostgreSQL all run as that one.
//!
//! Never root: PostgreSQL refuses it, and nothing of ours needs it.

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

const USERS: &str = "/etc/passwd";
const USUAL: &str = "postgres";

#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("reading {path:?}")]
    ReadUsers { path: PathBuf, source: io::Error },
    #[error(
        "PostgreSQL cannot run as root, and there is no user {USUAL:?}: install PostgreSQL's package, which makes it, or run this as an ordinary user"
    )]
    FindUsual,
    #[error(
        "user id {user} is not in {USERS}: run this as a user that is, or as root without sudo"
    )]
    FindUser { user: u32 },
    #[error("becoming user {user}")]
    StepDown { user: String, source: io::Error },
}

/// A user, and the group it starts with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub name: String,
    pub user: u32,
    pub group: u32,
}

/// The account for a new cluster: our own, or an unprivileged one for root.
pub fn choose() -> Result<Account, AccountError> {
    let own = rustix::process::geteuid().as_raw();
    let sudo = std::env::var("SUDO_UID").ok().and_then(|id| id.parse().ok());
    among(&users()?, own, sudo)
}

/// The account with that user id.
pub fn of(user: u32) -> Result<Account, AccountError> {
    let found = users()?.lines().filter_map(parse).find(|account| account.user == user);
    found.ok_or(AccountError::FindUser { user })
}

/// Runs `work` as `account`. Root does it on a thread that gives up everything else first.
pub fn run_as<T: Send>(
    account: &Account,
    work: impl FnOnce() -> T + Send,
) -> Result<T, AccountError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(work());
    }
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| step_down(account).map(|()| work()));
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn step_down(account: &Account) -> Result<(), AccountError> {
    let failed = |error: rustix::io::Errno| AccountError::StepDown {
        user: account.name.clone(),
        source: error.into(),
    };
    let (user, group) = (Uid::from_raw(account.user), Gid::from_raw(account.group));
    set_thread_groups(&[group]).map_err(failed)?;
    set_thread_res_gid(group, group, group).map_err(failed)?;
    set_thread_res_uid(user, user, user).map_err(failed)
}

fn users() -> Result<String, AccountError> {
    let path = Path::new(USERS);
    std::fs::read_to_string(path)
        .map_err(|source| AccountError::ReadUsers { path: path.to_owned(), source })
}

/// Root runs them as whoever called sudo, else as `postgres`.
fn among(users: &str, own: u32, sudo: Option<u32>) -> Result<Account, AccountError> {
    let accounts = || users.lines().filter_map(parse);
    let user = match (own, sudo) {
        (0, None | Some(0)) => {
            let usual = accounts().find(|account| account.name == USUAL && account.user != 0);
            return usual.ok_or(AccountError::FindUsual);
        }
        (0, Some(sudo)) => sudo,
        (own, _) => own,
    };
    accounts().find(|account| account.user == user).ok_or(AccountError::FindUser { user })
}

fn parse(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let user = fields.nth(1)?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    Some(Account { name, user, group })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1001:Ann:/home/ann:/bin/sh\n";

    #[test]
    fn root_works_as_another_and_stays_root() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let nobody = Account { name: "nobody".to_owned(), user: 65_534, group: 65_534 };
        let own = || (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let inside = run_as(&nobody, || {
            let child = std::process::Command::new("id").arg("-u").output().unwrap();
            (own(), String::from_utf8(child.stdout).unwrap())
        });
        assert_eq!(inside.unwrap(), ((65_534, 65_534), "65534\n".to_owned()));
        assert_eq!(own().0, 0);
    }

    #[test]
    fn root_steps_down_and_others_stay_who_they_are() {
        let all = format!("{USERS}postgres:x:101:104::/var/lib/postgresql:/bin/bash\n");
        let chosen = |own, sudo| among(&all, own, sudo).map(|account| account.name).ok();
        assert_eq!(chosen(1000, None).as_deref(), Some("ann"));
        assert_eq!(chosen(0, None).as_deref(), Some("postgres"));
        assert_eq!(chosen(0, Some(0)).as_deref(), Some("postgres"));
        assert_eq!(chosen(0, Some(1000)).as_deref(), Some("ann"));
        assert_eq!(chosen(1000, Some(101)).as_deref(), Some("ann"));
        assert_eq!(chosen(7, None), None);
        assert!(matches!(among(USERS, 0, None), Err(AccountError::FindUsual)));
    }
}
