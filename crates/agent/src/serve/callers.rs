//! Decides who may ask this agent for what: the table is that of the module above.
//!
//! Never by what a question says of its sender, and never more than somebody needs.

use crate::http::refusal::{Kind, Refusal};
use crate::tls::holder::Holder;
use crate::tls::peer::Peer;
use pgherd_api::agent::names;
use pgherd_core::names::InstanceName;

/// Who asks, as an agent tells callers apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    /// What starts and stops instances: the operator, or the supervisor.
    Platform,
    /// Whoever holds this agent's own certificate: a command in its pod.
    Itself,
    /// Another instance of this cluster.
    Another,
    /// All others that hold a certificate, or none.
    Nobody,
}

/// Refuses whoever has no business with that route.
pub(super) fn admit(me: &InstanceName, peer: &Peer, route: &str) -> Result<(), Refusal> {
    let allowed = allowed(route);
    if allowed.contains(&caller(me, peer)) {
        return Ok(());
    }
    let who: Vec<&str> = allowed.iter().map(|it| it.words()).collect();
    let why = format!("{peer} may not ask the agent of {me} for {route}: {} may", who.join(" or "));
    Err(Refusal::new(Kind::Forbidden, why))
}

/// Whom a route is for; nobody asks for one that is not here.
fn allowed(route: &str) -> &'static [Caller] {
    match route {
        names::MESSAGE | names::WAL => &[Caller::Another],
        names::STATUS | names::RESTORE_POINT | names::DUMP_RESTORE | names::DUMP_CANCEL => {
            &[Caller::Platform, Caller::Itself]
        }
        names::BACKUP_LOG => &[Caller::Platform, Caller::Itself, Caller::Another],
        names::BACKUP_BEGIN
        | names::BACKUP_READ
        | names::BACKUP_CANCEL
        | names::DUMP_BEGIN
        | names::DUMP_READ
        | names::PROGRAM => &[Caller::Platform],
        _ => &[],
    }
}

fn caller(me: &InstanceName, peer: &Peer) -> Caller {
    match peer {
        Peer::Certified(Holder::Supervisor) => Caller::Platform,
        Peer::Certified(Holder::Instance(name)) if name == me => Caller::Itself,
        Peer::Certified(Holder::Instance(name)) if name.cluster() == me.cluster() => {
            Caller::Another
        }
        Peer::Certified(Holder::Instance(_) | Holder::Replication | Holder::Record)
        | Peer::Local { .. }
        | Peer::Unnamed => Caller::Nobody,
    }
}

impl Caller {
    fn words(self) -> &'static str {
        match self {
            Self::Platform => "its platform",
            Self::Itself => "a command beside it",
            Self::Another => "another instance of its cluster",
            Self::Nobody => "somebody else",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    const ALL: [&str; 12] = [
        names::MESSAGE,
        names::WAL,
        names::STATUS,
        names::BACKUP_LOG,
        names::RESTORE_POINT,
        names::BACKUP_BEGIN,
        names::BACKUP_READ,
        names::BACKUP_CANCEL,
        names::DUMP_BEGIN,
        names::DUMP_READ,
        names::DUMP_CANCEL,
        names::DUMP_RESTORE,
    ];

    fn name(text: &str) -> InstanceName {
        InstanceName::parse(text).unwrap()
    }

    #[test]
    fn each_route_is_for_those_who_need_it() {
        let me = name("db-1");
        let of = |text: &str| Peer::Certified(Holder::Instance(name(text)));
        let callers = [
            ("platform", Peer::Certified(Holder::Supervisor)),
            ("itself", of("db-1")),
            ("another", of("db-2")),
            ("stranger", of("other-1")),
            ("record", Peer::Certified(Holder::Record)),
            ("replication", Peer::Certified(Holder::Replication)),
            ("local", Peer::Local { user: 0 }),
            ("unnamed", Peer::Unnamed),
        ];
        let line = |route: &str| {
            let may = callers.iter().filter(|(_, peer)| admit(&me, peer, route).is_ok());
            let may: Vec<&str> = may.map(|(who, _)| *who).collect();
            format!("{route}: {}\n", may.join(" "))
        };
        let all = ALL.into_iter().chain([names::PROGRAM, names::RECORD_WRITE, "unknown"]);
        expect![[r"
            message: another
            wal: another
            status: platform itself
            backup/log: platform itself another
            restore-point: platform itself
            backup/begin: platform
            backup/read: platform
            backup/cancel: platform
            dump/begin: platform
            dump/read: platform
            dump/cancel: platform itself
            dump/restore: platform itself
            program: platform
            record/write: 
            unknown: 
        "]]
        .assert_eq(&all.map(line).collect::<String>());
    }

    #[test]
    fn a_refusal_says_who_may() {
        let own = Peer::Certified(Holder::Instance(name("db-1")));
        let told = |route| admit(&name("db-1"), &own, route).unwrap_err().why;
        expect![[r"
            db-1 may not ask the agent of db-1 for dump/begin: its platform may
            db-1 may not ask the agent of db-1 for message: another instance of its cluster may
        "]]
        .assert_eq(&format!("{}\n{}\n", told(names::DUMP_BEGIN), told(names::MESSAGE)));
    }
}
