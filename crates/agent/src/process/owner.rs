//! The operating system's user that PostgreSQL runs as, and users by name.
//!
//! Never asks a directory service: only the local user file, as a container has it.

use crate::durable::Access;
use std::path::{Path, PathBuf};

/// A user and group other than the agent's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub user: u32,
    pub group: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    #[error("reading {path:?}")]
    ReadUsers { path: PathBuf, source: std::io::Error },
    #[error("no user is named {name:?} in {path:?}: create it, for example with adduser --system")]
    FindUser { path: PathBuf, name: String },
    #[error(
        "the user id {user} has no name in {path:?}, and peer authentication needs one: add it to that file"
    )]
    FindName { path: PathBuf, user: u32 },
}

const USERS: &str = "/etc/passwd";

/// The user of that name.
pub fn named(name: &str) -> Result<Owner, OwnerError> {
    let path = Path::new(USERS);
    find(&users(path)?, |fields| fields.first() == Some(&name))
        .map(|(_, owner)| owner)
        .ok_or_else(|| OwnerError::FindUser { path: path.to_owned(), name: name.to_owned() })
}

/// The name of the user this process runs as.
pub fn own_name() -> Result<String, OwnerError> {
    let path = Path::new(USERS);
    let user = rustix::process::geteuid().as_raw();
    find(&users(path)?, |fields| fields.get(2).and_then(|id| id.parse().ok()) == Some(user))
        .map(|(name, _)| name)
        .ok_or_else(|| OwnerError::FindName { path: path.to_owned(), user })
}

impl Owner {
    /// `access` for a file of this owner, if there is one.
    pub fn grant(owner: Option<Self>, access: Access) -> Access {
        match owner {
            Some(owner) => access.owned_by(owner.user, owner.group),
            None => access,
        }
    }
}

fn users(path: &Path) -> Result<String, OwnerError> {
    std::fs::read_to_string(path)
        .map_err(|source| OwnerError::ReadUsers { path: path.to_owned(), source })
}

fn find(users: &str, fits: impl Fn(&[&str]) -> bool) -> Option<(String, Owner)> {
    users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse().ok());
        let name = fields.first().filter(|_| fits(&fields))?;
        Some(((*name).to_owned(), Owner { user: number(2)?, group: number(3)? }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name() {
        let users = "root:x:0:0:root:/root:/bin/bash\npostgres:x:101:104:PG:/var/lib/postgresql:\n";
        let (name, owner) = find(users, |fields| fields[0] == "postgres").unwrap();
        assert_eq!((name.as_str(), owner), ("postgres", Owner { user: 101, group: 104 }));
        assert!(find(users, |fields| fields[0] == "nobody").is_none());
    }
}
