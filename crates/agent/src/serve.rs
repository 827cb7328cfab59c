//! What this agent answers: peers' requests, its status, files of its log, another program.
//!
//! Never decides: a request wakes the loop, which answers it from what it has seen.

use crate::backup::Asked;
use crate::config::Folder;
use crate::dump;
use crate::http::file::{Opened, Received};
use crate::http::refusal::{Kind, Refusal};
use crate::http::routes::Routes;
use crate::program::Program;
use crate::tls::holder::Holder;
use crate::tls::peer::Peer;
use crate::wake::{Wake, Waker};
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
    let (cluster, own, to_loop) = (me.cluster().clone(), me.clone(), waker.clone());
    let message = move |peer: Peer, request: Request| {
        let from = peer.instance().filter(|from| **from != own && *from.cluster() == cluster);
        let (from, to_loop) = (from.cloned(), to_loop.clone());
        async move {
            let from = from.ok_or_else(not_a_peer)?;
            to_loop.ask(|answer| Wake::Asked { from, request, answer }).await
        }
    };
    let to_loop = waker.clone();
    let status = move |_: Peer, (): ()| {
        let to_loop = to_loop.clone();
        async move { to_loop.ask(|answer| Wake::StatusAsked { answer }).await }
    };
    let (cluster, to_loop) = (me.cluster().clone(), waker.clone());
    let log = move |peer: Peer, (): ()| {
        let is_peer =
            peer.instance().is_some_and(|from| *from.cluster() == cluster) || is_platform(&peer);
        let to_loop = to_loop.clone();
        async move {
            if !is_peer {
                return Err(not_a_peer());
            }
            to_loop.ask(|answer| Wake::LogAsked { answer }).await?
        }
    };
    let (cluster, to_loop) = (me.cluster().clone(), waker.clone());
    let restore_point = move |peer: Peer, order: RestorePointOrder| {
        let is_peer =
            peer.instance().is_some_and(|from| *from.cluster() == cluster) || is_platform(&peer);
        let to_loop = to_loop.clone();
        async move {
            if !is_peer {
                return Err(not_a_peer());
            }
            to_loop.ask(|answer| Wake::RestorePointAsked { order, answer }).await?
        }
    };
    let (cluster, wal) = (me.cluster().clone(), pgdata.join("pg_wal"));
    let file = move |peer: Peer, name: String| {
        let is_peer = peer.instance().is_some_and(|from| *from.cluster() == cluster);
        let path = wal.join(&name);
        async move {
            if !is_peer {
                return Err(not_a_peer());
            }
            open(&name, path)
        }
    };
    Routes::default()
        .call(names::MESSAGE, message)
        .call(names::STATUS, status)
        .call(names::BACKUP_BEGIN, backup(waker, Asked::Begin))
        .call(names::BACKUP_READ, backup(waker, Asked::Read))
        .call(names::BACKUP_CANCEL, backup(waker, Asked::Cancel))
        .call(names::BACKUP_LOG, log)
        .call(names::DUMP_BEGIN, dump(me, waker, dump::Asked::Begin))
        .call(names::DUMP_RESTORE, dump(me, waker, dump::Asked::Restore))
        .call(names::DUMP_READ, dump(me, waker, dump::Asked::Read))
        .call(names::DUMP_CANCEL, dump(me, waker, dump::Asked::Cancel))
        .call(names::RESTORE_POINT, restore_point)
        .file(names::WAL, file)
}

type Answering<T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send>>;

/// Backups are its platform's to ask for.
fn backup<Question: Send + 'static>(
    waker: &Waker,
    asked: fn(Question) -> Asked,
) -> impl Fn(Peer, Question) -> Answering<Option<BackupReport>> + use<Question> {
    let to_loop = waker.clone();
    move |peer: Peer, question| {
        let (is_platform, to_loop) = (is_platform(&peer), to_loop.clone());
        Box::pin(async move {
            if !is_platform {
                let why = format!("{peer} may not ask this agent for backups: its platform may");
                return Err(Refusal::new(Kind::Forbidden, why));
            }
            let asked = asked(question);
            to_loop.ask(|answer| Wake::BackupAsked { asked, answer }).await?
        })
    }
}

/// So are dumps; and whoever has this agent's own certificate asks beside it.
fn dump<Question: Send + 'static>(
    me: &InstanceName,
    waker: &Waker,
    asked: fn(Question) -> dump::Asked,
) -> impl Fn(Peer, Question) -> Answering<Option<DumpReport>> + use<Question> {
    let (own, to_loop) = (me.clone(), waker.clone());
    move |peer: Peer, question| {
        let may = is_platform(&peer) || peer.instance() == Some(&own);
        let to_loop = to_loop.clone();
        Box::pin(async move {
            if !may {
                let why = format!("{peer} may not ask this agent for dumps: its platform may");
                return Err(Refusal::new(Kind::Forbidden, why));
            }
            let asked = asked(question);
            to_loop.ask(|answer| Wake::DumpAsked { asked, answer }).await?
        })
    }
}

fn is_platform(peer: &Peer) -> bool {
    *peer == Peer::Certified(Holder::Supervisor)
}

/// The same, with a way for the platform to give this agent another program.
pub fn with_program(
    routes: Routes,
    program: &Arc<Program>,
    folder: &Folder,
    waker: &Waker,
) -> Routes {
    let (program, folder, waker) = (Arc::clone(program), folder.clone(), waker.clone());
    routes.take(names::PROGRAM, move |peer: Peer, digest: String, sent: Received| {
        let is_platform = is_platform(&peer);
        let (program, folder, waker) = (Arc::clone(&program), folder.clone(), waker.clone());
        async move {
            if !is_platform {
                let why = format!("{peer} may not give this agent a program: its operator may");
                return Err(Refusal::new(Kind::Forbidden, why));
            }
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

fn not_a_peer() -> Refusal {
    Refusal::new(Kind::Forbidden, "only another instance of this cluster may ask this")
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
