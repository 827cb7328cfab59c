//! Keeps what a server needs besides its plan: slots for its standbys, passwords as they are given.
//!
//! Never touches a slot that is not ours or that is in use.

use crate::postgres::config::{REPLICATION_ROLE, SLOT_PREFIX, quote};
use crate::postgres::roles::{self, RolesError};
use crate::postgres::scram::Verifier;
use crate::postgres::session::{SUPERUSER, Session, SessionError};
use crate::settings::{self, SettingsError};
use pgherd_api::agent::Superuser;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;
use tokio_postgres::SimpleQueryRow;
use tracing::info;

use super::Bench;

const WITHIN: Duration = Duration::from_secs(5);
/// The files with the passwords of roles.
const APPLICATION: &str = "app";
const REPLICATION: &str = "replication";
const OF_SUPERUSER: &str = "superuser";

#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    #[error("connecting to the server")]
    Connect(#[source] SessionError),
    #[error("letting standbys in")]
    AdmitStandbys(#[source] RolesError),
    #[error("looking at the slots of standbys")]
    ListSlots(#[source] SessionError),
    #[error("changing slot {slot}")]
    ChangeSlot { slot: String, source: SessionError },
    #[error("looking for settings that wait for a restart")]
    ListPending(#[source] SessionError),
    #[error("reading the superuser's password")]
    ReadPassword(#[source] SettingsError),
    #[error("setting the superuser's password")]
    SetPassword(#[source] SessionError),
    #[error("reading the password of role {role:?}")]
    ReadRolePassword { role: String, source: SettingsError },
    #[error("setting a role's password")]
    SetRolePassword(#[source] RolesError),
}

/// What there shall be in one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Duty {
    /// A slot for each standby, and nobody else's, that keeps the log from now on.
    Primary {
        server: Configured,
        slots: BTreeSet<String>,
        superuser: Superuser,
        /// The application's role.
        owner: String,
        given: Given,
    },
    /// The same slots, empty: they are there when it becomes a primary, and keep no log till then.
    Standby { server: Configured, slots: BTreeSet<String> },
}

impl Duty {
    /// The configuration of the server that it is about.
    pub fn configuration(&self) -> u64 {
        match self {
            Self::Primary { server, .. } | Self::Standby { server, .. } => server.configuration,
        }
    }
}

/// A server with one configuration: what it still waits for is looked at anew with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Configured {
    pub postmaster: i32,
    pub configuration: u64,
}

/// Which files of passwords there were, so that others are taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    pub application: Option<Mark>,
    pub replication: Option<Mark>,
    pub superuser: Option<Mark>,
}

/// Tells a file from the one that takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    inode: u64,
    changed: (i64, i64),
}

impl Given {
    /// As they are now.
    pub fn look(secrets: &Path) -> Self {
        let mark = |name| {
            let found = std::fs::metadata(secrets.join(name)).ok()?;
            Some(Mark { inode: found.ino(), changed: (found.mtime(), found.mtime_nsec()) })
        };
        Self {
            application: mark(APPLICATION),
            replication: mark(REPLICATION),
            superuser: mark(OF_SUPERUSER),
        }
    }
}

/// Whether the same duty was done before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// The standbys are connecting at this moment: a slot that is there is left to them.
    First,
    Later,
}

/// Makes it so; returns which settings wait for a restart.
pub async fn keep(bench: &Bench, duty: &Duty, round: Round) -> Result<Vec<String>, UpkeepError> {
    let mut session =
        Session::open(&bench.site, SUPERUSER, WITHIN).await.map_err(UpkeepError::Connect)?;
    match duty {
        Duty::Primary { slots, superuser, owner, .. } => {
            let holding = match round {
                Round::First => Holding::FromNowIfNew,
                Round::Later => Holding::FromNow,
            };
            let admitted = roles::admit_standbys(&mut session).await;
            admitted.map_err(UpkeepError::AdmitStandbys)?;
            keep_slots(&mut session, slots, holding).await?;
            keep_superuser(bench, &mut session, (*superuser, round)).await?;
            if round == Round::First {
                keep_password(bench, &mut session, (REPLICATION_ROLE, REPLICATION)).await?;
                keep_password(bench, &mut session, (owner, APPLICATION)).await?;
            }
        }
        Duty::Standby { slots, .. } => keep_slots(&mut session, slots, Holding::Nothing).await?,
    }
    pending_restart(&mut session).await
}

async fn pending_restart(session: &mut Session) -> Result<Vec<String>, UpkeepError> {
    let sql = "select name from pg_settings where pending_restart order by name";
    let sets = session.ask(sql, WITHIN).await.map_err(UpkeepError::ListPending)?;
    let rows = sets.into_iter().next().unwrap_or_default();
    let name = |row: &SimpleQueryRow| row.try_get(0).ok().flatten().map(str::to_owned);
    Ok(rows.iter().filter_map(name).collect())
}

/// What a slot that nobody uses keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holding {
    FromNow,
    /// An empty one is good enough for the moment.
    FromNowIfNew,
    Nothing,
}

/// One of our slots, as the server has it.
struct Slot {
    name: String,
    active: bool,
    lost: bool,
    holding: Holding,
}

async fn keep_slots(
    session: &mut Session,
    wanted: &BTreeSet<String>,
    holding: Holding,
) -> Result<(), UpkeepError> {
    let present = slots(session).await?;
    let holds = |slot: &Slot| slot.holding == holding || holding == Holding::FromNowIfNew;
    let stays =
        |slot: &Slot| slot.active || (wanted.contains(&slot.name) && !slot.lost && holds(slot));
    for slot in present.iter().filter(|slot| !stays(slot)) {
        info!(slot = slot.name, lost = slot.lost, "removing a slot");
        change(session, "pg_drop_replication_slot", (&slot.name, "")).await?;
    }
    let further = match holding {
        Holding::FromNow | Holding::FromNowIfNew => ", true",
        Holding::Nothing => "",
    };
    for name in wanted {
        if !present.iter().any(|slot| slot.name == *name && stays(slot)) {
            info!(slot = name, ?holding, "creating a slot");
            change(session, "pg_create_physical_replication_slot", (name, further)).await?;
        }
    }
    Ok(())
}

async fn slots(session: &mut Session) -> Result<Vec<Slot>, UpkeepError> {
    let sql = "select slot_name, active, coalesce(wal_status, '') = 'lost', restart_lsn \
        from pg_replication_slots where slot_type = 'physical'";
    let sets = session.ask(sql, WITHIN).await.map_err(UpkeepError::ListSlots)?;
    let rows = sets.into_iter().next().unwrap_or_default();
    let slots = rows.iter().filter_map(|row| {
        let text = |column| row.try_get(column).ok().flatten();
        let name = text(0).filter(|name| name.starts_with(SLOT_PREFIX))?;
        Some(Slot {
            name: name.to_owned(),
            active: text(1) == Some("t"),
            lost: text(2) == Some("t"),
            holding: if text(3).is_some() { Holding::FromNow } else { Holding::Nothing },
        })
    });
    Ok(slots.collect())
}

async fn change(
    session: &mut Session,
    function: &str,
    (slot, further): (&str, &str),
) -> Result<(), UpkeepError> {
    let sql = format!("select {function}({}{further})", quote::literal(slot));
    let changed = session.run(&sql, WITHIN).await;
    changed.map_err(|source| UpkeepError::ChangeSlot { slot: slot.to_owned(), source })
}

/// Its password is there if it may log in with one, and absent if it may not.
async fn keep_superuser(
    bench: &Bench,
    session: &mut Session,
    (superuser, round): (Superuser, Round),
) -> Result<(), UpkeepError> {
    let sql = "select rolpassword is not null from pg_authid where rolname = current_user";
    let has = session.value(sql, WITHIN).await.map_err(UpkeepError::SetPassword)? == "t";
    let password = match (superuser, has, round) {
        (Superuser::Allowed, true, Round::Later) | (Superuser::Refused, false, _) => return Ok(()),
        (Superuser::Refused, true, _) => "null".to_owned(),
        (Superuser::Allowed, false, _) | (Superuser::Allowed, true, Round::First) => {
            let password =
                settings::password(bench, OF_SUPERUSER).map_err(UpkeepError::ReadPassword)?;
            quote::literal(Verifier::of(&password).reveal())
        }
    };
    let sql = format!(
        "{}; set synchronous_commit = local; alter role current_user password {password}",
        roles::QUIET
    );
    session.run(&sql, WITHIN).await.map_err(UpkeepError::SetPassword)
}

/// The role has the password that is given for it, as long as there is that role.
async fn keep_password(
    bench: &Bench,
    session: &mut Session,
    (role, file): (&str, &str),
) -> Result<(), UpkeepError> {
    let password = settings::password(bench, file)
        .map_err(|source| UpkeepError::ReadRolePassword { role: role.to_owned(), source })?;
    let set = roles::set_password(session, role, &Verifier::of(&password)).await;
    set.map_err(UpkeepError::SetRolePassword)
}
