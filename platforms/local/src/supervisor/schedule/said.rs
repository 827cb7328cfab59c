//! Asks an agent for what is due, or how it goes, and understands what it says.
//!
//! Never asks twice: who was not heard is asked again when it is looked at next.

use crate::schedule::Told;
use pgherd_agent::http::client::{CallError, Client, Endpoint};
use pgherd_api::agent::{
    BackupNamed, BackupPhase, BackupReport, DumpNamed, DumpPhase, DumpReport, names,
};
use pgherd_api::schedule::planned::Order;
use pgherd_core::backup::course::Heard;
use std::time::Duration;

/// An agent writes down what it was asked for, and answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came of a question.
pub(super) enum Said {
    Answered(Option<Report>),
    Refused(String),
    Silent,
}

pub(super) enum Report {
    Backup(Box<BackupReport>),
    Dump(Box<DumpReport>),
}

impl Report {
    pub(super) fn heard(&self) -> Heard<'_> {
        match self {
            Self::Backup(report) => report.heard(),
            Self::Dump(report) => report.heard(),
        }
    }

    pub(super) fn told(&self) -> Told {
        let (begun, id, warnings) = match self {
            Self::Backup(it) => (it.phase != BackupPhase::Starting, &it.id, &it.warnings),
            Self::Dump(it) => (it.phase != DumpPhase::Starting, &it.id, &it.warnings),
        };
        Told { begun, id: id.clone(), warnings: warnings.clone() }
    }
}

pub(super) async fn begin(client: &Client, agent: &Endpoint, order: &Order) -> Said {
    match order {
        Order::Backup(order) => {
            backup(client.call(agent, names::BACKUP_BEGIN, order, PATIENCE).await)
        }
        Order::Dump(order) => dump(client.call(agent, names::DUMP_BEGIN, order, PATIENCE).await),
    }
}

/// How the one of this name goes.
pub(super) async fn read(
    client: &Client,
    agent: &Endpoint,
    (order, name): (&Order, String),
) -> Said {
    let name = Some(name);
    match order {
        Order::Backup(_) => {
            let asked = BackupNamed { name };
            backup(client.call(agent, names::BACKUP_READ, &asked, PATIENCE).await)
        }
        Order::Dump(_) => {
            let asked = DumpNamed { name };
            dump(client.call(agent, names::DUMP_READ, &asked, PATIENCE).await)
        }
    }
}

fn backup(asked: Result<Option<BackupReport>, CallError>) -> Said {
    said(asked.map(|report| report.map(|report| Report::Backup(Box::new(report)))))
}

fn dump(asked: Result<Option<DumpReport>, CallError>) -> Said {
    said(asked.map(|report| report.map(|report| Report::Dump(Box::new(report)))))
}

fn said(asked: Result<Option<Report>, CallError>) -> Said {
    match asked {
        Ok(report) => Said::Answered(report),
        Err(CallError::Refused { source, .. }) => Said::Refused(source.why),
        Err(_unheard) => Said::Silent,
    }
}
