//! What commands ask a cluster's supervisor, and what it answers: JSON over a private unix socket.
//!
//! Never waits for an effect: an answer says what was accepted, and a later view what came of it.

use crate::failure::Failure;
use crate::schedule::ScheduleView;
use pgherd_agent::postgres::install::Tls;
use pgherd_api::agent::{
    BackupOrder, BackupReport, DumpOrder, DumpRestoreOrder, RestorePoint, Status,
};
use pgherd_api::cluster::backup::BackupTarget;
use pgherd_core::intent::Durability;
use pgherd_core::names::{ClusterName, InstanceName};
use pgherd_core::record::Record;
use pgherd_core::wishes::{Shall, Wish};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The one route of the socket.
pub const ROUTE: &str = "control";

/// What a command asks. Instances go by their whole name or their number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Request {
    View,
    /// Bring the cluster up as this manifest, or the last one, says.
    Apply {
        manifest: Option<String>,
        instances: Option<u32>,
    },
    /// Stop everything cleanly and end.
    Down,
    Start {
        instances: Vec<String>,
    },
    Stop {
        instances: Vec<String>,
    },
    /// The machine of an instance is lost, or one of its processes.
    Kill {
        instance: String,
        part: Part,
    },
    Freeze {
        instance: String,
        part: Part,
    },
    /// All that are frozen, if none is named.
    Thaw {
        instance: Option<String>,
    },
    Partition {
        instance: String,
        from: Option<String>,
        ways: Ways,
        reach: Reach,
    },
    /// All partitions, if no instance is named.
    Heal {
        instance: Option<String>,
    },
    Switchover {
        target: Option<String>,
    },
    /// All instances that run, if none is named.
    Restart {
        instances: Vec<String>,
    },
    Reload,
    Fence {
        instance: String,
        care: Care,
    },
    Unfence {
        instance: String,
    },
    Pause,
    Resume,
    /// Take a base backup, from this instance or from whoever suits.
    Backup {
        order: BackupOrder,
        target: Option<BackupTarget>,
        instance: Option<String>,
    },
    /// Let the primary finish the segment of the log that it writes to, so that it is archived.
    FinishLog,
    /// Make a restore point of this name on the primary.
    RestorePoint {
        name: String,
    },
    /// What is known of the base backup of this name, also after others.
    ReadBackup {
        instance: String,
        name: String,
    },
    /// Break off the base backup that is taken under this name.
    CancelBackup {
        instance: String,
        name: String,
    },
    /// Dump databases, on this instance or on whoever suits.
    Dump {
        order: DumpOrder,
        target: Option<BackupTarget>,
        instance: Option<String>,
    },
    /// Restore a database from a dump, on the primary.
    RestoreDump {
        order: DumpRestoreOrder,
    },
    /// Break off the dump or the restore that goes on under this name.
    CancelDump {
        instance: String,
        name: String,
    },
}

/// Which processes of an instance are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    Everything,
    Postgres,
    Agent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ways {
    Both,
    /// Nothing that the instance sends arrives; what is sent to it does.
    Outgoing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reach {
    Everything,
    RecordOnly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Care {
    /// Refuse what would leave nobody to serve.
    Usual,
    /// The user knows.
    None,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    View(Box<View>),
    Done(Done),
    Refused(Failure),
}

/// What was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Done {
    /// The instances it is about.
    pub instances: BTreeSet<InstanceName>,
    /// The number of the request, where its end is recognised by one.
    pub number: Option<u64>,
    /// Whether anything is different now.
    pub effect: Effect,
    /// What people should know of it besides.
    pub warnings: Vec<String>,
    /// The restore point that was made, if one was asked for.
    pub restore_point: Option<RestorePoint>,
    /// The base backup that was asked about, if the agent knows of it.
    pub backup: Option<Box<BackupReport>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    #[default]
    Changed,
    Unchanged,
}

/// A cluster as its supervisor sees it at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    pub cluster: ClusterName,
    pub folder: PathBuf,
    pub supervisor: u32,
    /// The PostgreSQL that is wanted.
    pub bindir: PathBuf,
    pub major: u32,
    #[serde(default)]
    pub tls: Tls,
    pub shall: Shall,
    pub paused: bool,
    pub durability: Durability,
    /// The database and its owner that were made with the cluster.
    pub database: String,
    pub owner: String,
    /// The newest specification's number.
    pub specification: u64,
    pub configuration: u64,
    pub record: Option<Record>,
    pub instances: Vec<InstanceView>,
    pub cuts: Vec<Cut>,
    /// When backups and dumps are taken, and how it goes.
    #[serde(default)]
    pub schedules: Vec<ScheduleView>,
    /// What the manifest asks for and nobody acts upon.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceView {
    pub name: InstanceName,
    pub port: u16,
    /// Where its metrics are asked for.
    #[serde(default)]
    pub metrics: Option<String>,
    pub wish: Wish,
    pub fenced: bool,
    pub agent: AgentView,
    /// How many processes of it are frozen.
    pub frozen: usize,
    /// None: its agent does not run, or does not answer.
    pub status: Option<Status>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum AgentView {
    Running {
        pid: u32,
    },
    Frozen {
        pid: u32,
    },
    Ending {
        pid: u32,
    },
    /// It ended so many times in a row, and is started again in so long.
    Restarting {
        failures: u32,
        wait_milliseconds: u64,
        last: String,
    },
    Absent,
}

/// A way that is cut.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cut {
    pub from: InstanceName,
    /// None: the record.
    pub to: Option<InstanceName>,
}

impl View {
    pub fn instance(&self, name: &InstanceName) -> Option<&InstanceView> {
        self.instances.iter().find(|instance| instance.name == *name)
    }

    /// Who holds office and has a server that is open for writing.
    pub fn primary(&self) -> Option<&InstanceView> {
        let record = self.record.as_ref()?;
        let holder = self.instance(&record.holder.instance)?;
        let status = holder.status.as_ref()?;
        let opened = status.role == pgherd_api::agent::Role::Primary;
        (opened && status.holds == Some(record.epoch)).then_some(holder)
    }
}
