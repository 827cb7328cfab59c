//! What this agent answers: peers' requests, its status, files of its log, another program.
//!
//! Never decides: a request wakes the loop, which answers it from what it has seen.
//!
//! Who may ask for what, by the certificate that a caller shows. The platform is the operator, or the
//! supervisor of local mode; "itself" is a command in the agent's own pod (`pgherd inside`, which takes
//! the right to create `pods/exec`).
//!
//! | Route | Platform | Itself | Another instance | What for |
//! |---|---|---|---|---|
//! | `message` | | | yes | the protocol between instances |
//! | `wal` | | | yes | the tail of a log that its owner lost |
//! | `status` | yes | yes | | reports, and commands that ask through the pod |
//! | `backup/log` | yes | yes | yes | a backup's last segment: a standby asks the primary |
//! | `restore-point` | yes | yes | | `pgherd restore-point` |
//! | `backup/begin`, `read`, `cancel` | yes | | | Backup objects, and local commands |
//! | `dump/begin`, `read` | yes | | | Dump objects, and local commands |
//! | `dump/restore`, `cancel` | yes | yes | | `pgherd dump restore` is a command in the primary's pod |
//! | `program` | yes | | | the operator's program; not in local mode |
//!
//! Everybody else, such as other clusters, the keeper of the record and the role for replication, may ask for
//! nothing. What kubelets ask is no secret and answered elsewhere.

mod callers;

use crate::backup::Asked;
use crate::config::Folder;
use crate::dump;
use crate::http::file::{Opened, Received};
use crate::http::refusal::{Kind, Refusal};
use crate::http::routes::Routes;
use crate::program::Program;
use crate::tls::peer::Peer;
use crate::wake::{Wake, Waker};
use callers::admit;
use pgherd_api::agent::{BackupReport, DumpReport, RestorePointOrder, names};
use pgherd_core::message::Request;
use pgherd_core::names::InstanceName;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

/// The length of the name of a segment: timeline, log and segment in hexadecimal.
const SEGMENT_NAME: usize = 24;

/// The routes of `me`, whose data folder is `pgdata`.
pub fn routes(me: &InstanceName, waker: &Waker, pgdata: &Path) -> Routes {
    let (own, to_loop) = (me.clone(), waker.clone());
    let message = move |peer: Peer, request: Request| {
        let admitted = admit(&own, &peer, names::MESSAGE);
        let (from, to_loop) = (peer.instance().cloned(), to_loop.clone());
        async move {
            admitted?;
            let nobody = || Refusal::new(Kind::Forbidden, "only an instance may ask this");
            let from = from.ok_or_else(nobody)?;
            to_loop.ask(|answer| Wake::Asked { from, request, answer }).await
        }
    };
    let (own, to_loop) = (me.clone(), waker.clone());
    let status = move |peer: Peer, (): ()| {
        let (admitted, to_loop) = (admit(&own, &peer, names::STATUS), to_loop.clone());
        async move {
            admitted?;
            to_loop.ask(|answer| Wake::StatusAsked { answer }).await
        }
    };
    let (own, to_loop) = (me.clone(), waker.clone());
    let log = move |peer: Peer, (): ()| {
        let (admitted, to_loop) = (admit(&own, &peer, names::BACKUP_LOG), to_loop.clone());
        async move {
            admitted?;
            to_loop.ask(|answer| Wake::LogAsked { answer }).await?
        }
    };
    let (own, to_loop) = (me.clone(), waker.clone());
    let restore_point = move |peer: Peer, order: RestorePointOrder| {
        let (admitted, to_loop) = (admit(&own, &peer, names::RESTORE_POINT), to_loop.clone());
        async move {
            admitted?;
            to_loop.ask(|answer| Wake::RestorePointAsked { order, answer }).await?
        }
    };
    let (own, wal) = (me.clone(), pgdata.join("pg_wal"));
    let file = move |peer: Peer, name: String| {
        let (admitted, path) = (admit(&own, &peer, names::WAL), wal.join(&name));
        async move {
            admitted?;
            open(&name, path)
        }
    };
    let of = (me, waker);
    Routes::default()
        .call(names::MESSAGE, message)
        .call(names::STATUS, status)
        .call(names::BACKUP_BEGIN, backup(of, names::BACKUP_BEGIN, Asked::Begin))
        .call(names::BACKUP_READ, backup(of, names::BACKUP_READ, Asked::Read))
        .call(names::BACKUP_CANCEL, backup(of, names::BACKUP_CANCEL, Asked::Cancel))
        .call(names::BACKUP_LOG, log)
        .call(names::DUMP_BEGIN, dump(of, names::DUMP_BEGIN, dump::Asked::Begin))
        .call(names::DUMP_RESTORE, dump(of, names::DUMP_RESTORE, dump::Asked::Restore))
        .call(names::DUMP_READ, dump(of, names::DUMP_READ, dump::Asked::Read))
        .call(names::DUMP_CANCEL, dump(of, names::DUMP_CANCEL, dump::Asked::Cancel))
        .call(names::RESTORE_POINT, restore_point)
        .file(names::WAL, file)
}

type Answering<T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send>>;

/// Questions about backups.
fn backup<Question: Send + 'static>(
    (me, waker): (&InstanceName, &Waker),
    route: &'static str,
    asked: fn(Question) -> Asked,
) -> impl Fn(Peer, Question) -> Answering<Option<BackupReport>> + use<Question> {
    let (own, to_loop) = (me.clone(), waker.clone());
    move |peer: Peer, question| {
        let (admitted, to_loop) = (admit(&own, &peer, route), to_loop.clone());
        Box::pin(async move {
            admitted?;
            let asked = asked(question);
            to_loop.ask(|answer| Wake::BackupAsked { asked, answer }).await?
        })
    }
}

/// The same about dumps.
fn dump<Question: Send + 'static>(
    (me, waker): (&InstanceName, &Waker),
    route: &'static str,
    asked: fn(Question) -> dump::Asked,
) -> impl Fn(Peer, Question) -> Answering<Option<DumpReport>> + use<Question> {
    let (own, to_loop) = (me.clone(), waker.clone());
    move |peer: Peer, question| {
        let (admitted, to_loop) = (admit(&own, &peer, route), to_loop.clone());
        Box::pin(async move {
            admitted?;
            let asked = asked(question);
            to_loop.ask(|answer| Wake::DumpAsked { asked, answer }).await?
        })
    }
}

/// The same, with a way for the platform to give `me` another program.
pub fn with_program(
    routes: Routes,
    me: &InstanceName,
    program: &Arc<Program>,
    folder: &Folder,
    waker: &Waker,
) -> Routes {
    let (own, program) = (me.clone(), Arc::clone(program));
    let (folder, waker) = (folder.clone(), waker.clone());
    routes.take(names::PROGRAM, move |peer: Peer, digest: String, sent: Received| {
        let admitted = admit(&own, &peer, names::PROGRAM);
        let (program, folder, waker) = (Arc::clone(&program), folder.clone(), waker.clone());
        async move {
            admitted?;
            program.take((&digest, sent), &folder, &waker).await
        }
    })
}

fn open(name: &str, path: PathBuf) -> Result<Opened, Refusal> {
    if !is_of_the_log(name) {
        return Err(Refusal::new(Kind::Malformed, format!("{name:?} is no file of the log")));
    }
    File::open(path).and_then(Opened::whole).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Refusal::new(Kind::Absent, format!("{name} is not here")),
        _ => Refusal::new(Kind::Failed, format!("opening {name}: {error}")),
    })
}

fn is_of_the_log(name: &str) -> bool {
    let is_hex = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte))
    };
    match name.strip_suffix(".history") {
        Some(timeline) => timeline.len() == 8 && is_hex(timeline),
        None => name.len() == SEGMENT_NAME && is_hex(name),
    }
}

#[cfg(test)]
mod tests {
    use super::is_of_the_log;

    #[test]
    fn only_segments_and_histories_are_served() {
        for good in ["000000010000000000000001", "0000000A.history"] {
            assert!(is_of_the_log(good), "{good}");
        }
        for bad in ["archive_status", "00000001000000000000000g", "0000000a.history", "x.history"] {
            assert!(!is_of_the_log(bad), "{bad}");
        }
    }
}
