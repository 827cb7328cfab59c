//! Checks schedules that stand beside a Cluster, and turns each into what an agent is asked for.
//!
//! Never reads the clock, and never lets one pass that could not be carried out as it is written.

use super::{Begins, FIVE_FIELDS, Schedule, Scheduled};
use crate::agent::{BackupOrder, DumpOrder};
use crate::cluster::backup::BackupTarget;
use crate::errand::Errand;
use crate::manifest::schedules::{What, Written};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pgherd_core::backup::retention::Policy;
use pgherd_core::names::InstanceName;

/// The longest that the name of a schedule may be: that of a moment is added to it.
const LONGEST: usize = 200;

/// A schedule that can be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Its own name.
    pub name: String,
    /// When, as its author wrote it.
    pub written: String,
    /// When.
    pub schedule: Schedule,
    /// Whether the first one is taken at once, and whether any is.
    pub begins: Begins,
    /// What an agent is asked for.
    pub order: Order,
    /// Which instance it is taken from; as the cluster says when absent.
    pub target: Option<BackupTarget>,
    /// Who alone takes it; whoever suits the target when absent.
    pub instance: Option<InstanceName>,
}

/// What an agent is asked for. It has no name before one is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// A base backup.
    Backup(BackupOrder),
    /// A logical dump.
    Dump(DumpOrder),
}

impl Order {
    /// What people call it.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Backup(_) => "backup",
            Self::Dump(_) => "dump",
        }
    }

    /// The same under this name.
    #[must_use]
    pub fn named(&self, name: String) -> Self {
        match self {
            Self::Backup(order) => Self::Backup(BackupOrder { name, ..order.clone() }),
            Self::Dump(order) => Self::Dump(DumpOrder { name, ..order.clone() }),
        }
    }
}

impl Planned {
    /// The first base backup of a cluster whose archive has none.
    pub fn first() -> Self {
        Self {
            // No declared schedule may be called so.
            name: "first_backup".to_owned(),
            written: "once".to_owned(),
            schedule: Schedule::hourly(),
            begins: Begins::Once,
            order: Order::Backup(BackupOrder {
                name: String::new(),
                immediate_checkpoint: None,
                wait_for_archive: true,
                incremental: None,
                asked_by: None,
                rate: None,
            }),
            target: None,
            instance: None,
        }
    }

    /// Whether it takes a base backup as soon as it is there.
    pub fn is_backup_at_once(&self) -> bool {
        matches!((&self.order, self.begins), (Order::Backup(_), Begins::AtOnce | Begins::Once))
    }

    /// What it is known by among all of its cluster, such as `backup/nightly`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.order.noun(), self.name)
    }

    /// What its author should know.
    pub fn warning(&self) -> Option<String> {
        let text = self.written.trim();
        let fields = text.strip_prefix("TZ=").and_then(|rest| rest.split_once(char::is_whitespace));
        let fields = fields.map_or(text, |(_, fields)| fields);
        let is_crontabs = !fields.starts_with('@') && fields.split_whitespace().count() == 5;
        is_crontabs
            .then(|| format!("spec.schedule of {} is {text:?}, which {FIVE_FIELDS}", self.key()))
    }
}

/// Why a schedule is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {kind} at line {line} {why}")]
pub struct PlanRefusal {
    kind: &'static str,
    line: usize,
    why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Why {
    #[error("has no name: add metadata.name, for example name: nightly")]
    Nameless,
    #[error(
        "has the name {given:?}: use at most {LONGEST} lower-case letters, digits, '-' and '.', beginning and \
         ending with a letter or digit"
    )]
    Name { given: String },
    #[error("has the name of the one at line {first}: give each its own")]
    Twice { first: usize },
    #[error(
        "is of cluster {given:?}, but the cluster here is {cluster}: write name: {cluster} below spec.cluster"
    )]
    Cluster { given: String, cluster: String },
    #[error("cannot be carried out: {reason}")]
    Refused { reason: String },
}

/// All that stand beside this cluster, or why one of them cannot be carried out.
pub fn planned(all: &[Written], cluster: &str) -> Result<Vec<Planned>, PlanRefusal> {
    let mut planned: Vec<(usize, Planned)> = Vec::new();
    for Written { line, what } in all {
        let refused = |why| PlanRefusal { kind: what.kind(), line: *line, why };
        let one = match what {
            What::Backup(scheduled) => {
                plan(&**scheduled, (&scheduled.metadata, cluster), |backup| {
                    backup
                        .refusal()
                        .map_or_else(|| Ok(Order::Backup(backup.ordered(String::new()))), Err)
                })
            }
            What::Dump(scheduled) => plan(&**scheduled, (&scheduled.metadata, cluster), |dump| {
                let order = dump.spec.content.order(String::new());
                let policy = order.retention.as_deref().map(Policy::parse).transpose();
                policy.map(|_| Order::Dump(order)).map_err(|error| error.to_string())
            }),
        };
        let one = one.map_err(refused)?;
        let first = planned.iter().find(|(_, other)| other.key() == one.key());
        if let Some((first, _)) = first {
            return Err(refused(Why::Twice { first: *first }));
        }
        planned.push((*line, one));
    }
    Ok(planned.into_iter().map(|(_, one)| one).collect())
}

fn plan<S: Scheduled>(
    scheduled: &S,
    (metadata, cluster): (&ObjectMeta, &str),
    order: impl FnOnce(&S::Made) -> Result<Order, String>,
) -> Result<Planned, Why> {
    let name = metadata.name.clone().filter(|name| !name.is_empty());
    let name = name.ok_or(Why::Nameless)?;
    let timing = scheduled.timing();
    let is_end =
        |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let is_plain = name.bytes().all(|b| is_end(Some(b)) || matches!(b, b'-' | b'.'));
    let ends = is_end(name.bytes().next()) && is_end(name.bytes().next_back());
    if !is_plain || !ends || name.len() > LONGEST {
        return Err(Why::Name { given: name });
    }
    if timing.cluster != cluster {
        let (given, cluster) = (timing.cluster.to_owned(), cluster.to_owned());
        return Err(Why::Cluster { given, cluster });
    }
    let schedule = Schedule::parse(timing.schedule);
    let schedule = schedule.map_err(|error| Why::Refused { reason: error.to_string() })?;
    let (written, begins) = (timing.schedule.to_owned(), timing.begins);
    let made = scheduled.made(ObjectMeta::default());
    let order = order(&made).map_err(|reason| Why::Refused { reason })?;
    let (target, instance) = (made.target(), made.instance());
    Ok(Planned { name, written, schedule, begins, order, target, instance })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::schedules::schedules;
    use expect_test::expect;

    fn backup(name: &str, annotations: &str, spec: &str) -> String {
        format!(
            "---\napiVersion: postgresql.cnpg.io/v1\nkind: ScheduledBackup\nmetadata: {{name: {name}, \
             annotations: {{{annotations}}}}}\nspec: {{cluster: {{name: db}}, {spec}}}\n"
        )
    }

    fn dump(name: &str, spec: &str) -> String {
        format!(
            "---\napiVersion: pgherd.dev/v1alpha1\nkind: ScheduledDump\nmetadata: {{name: {name}}}\n\
             spec: {{cluster: {{name: db}}, {spec}}}\n"
        )
    }

    fn all(text: &str) -> Result<Vec<Planned>, PlanRefusal> {
        planned(&schedules(text).unwrap(), "db")
    }

    #[test]
    fn a_schedule_says_what_an_agent_is_asked_for() {
        let how = "pgherd.dev/backupMode: incremental, pgherd.dev/backupInstance: db-2";
        let text = backup("nightly", how, "schedule: 0 0 3 * * *, immediate: true")
            + &dump(
                "nightly",
                "schedule: '@weekly', databases: [app], retentionPolicy: 8w, target: primary, suspend: true",
            );
        let all = all(&text).unwrap();
        let told: Vec<_> = all.iter().map(|it| (it.key(), it.begins, it.target)).collect();
        let backup = ("backup/nightly".to_owned(), Begins::AtOnce, None);
        let dump = ("dump/nightly".to_owned(), Begins::Suspended, Some(BackupTarget::Primary));
        assert_eq!(told, [backup, dump]);
        assert_eq!(all[0].instance.as_ref().map(ToString::to_string).as_deref(), Some("db-2"));
        let Order::Backup(order) = all[0].order.named("nightly-1".to_owned()) else { panic!() };
        assert_eq!((order.name.as_str(), order.incremental.is_some()), ("nightly-1", true));
        let Order::Dump(order) = &all[1].order else { panic!() };
        assert_eq!(
            (&order.databases[..], order.retention.as_deref()),
            (&["app".to_owned()][..], Some("8w"))
        );
    }

    #[test]
    fn what_could_not_be_carried_out_is_refused_in_a_sentence() {
        let refused = |text: &str| format!("{}\n", all(text).unwrap_err());
        let daily = "schedule: '@daily'";
        expect![[r#"
            the ScheduledBackup at line 2 has no name: add metadata.name, for example name: nightly
            the ScheduledBackup at line 2 has the name "Nightly_": use at most 200 lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit
            the ScheduledDump at line 12 has the name of the one at line 7: give each its own
            the ScheduledBackup at line 2 is of cluster "shop", but the cluster here is db: write name: db below spec.cluster
            the ScheduledBackup at line 2 cannot be carried out: "0 0 3" is no schedule: write six fields beginning with seconds, for example 0 0 3 * * *, or a word such as @daily or @every 12h
            the ScheduledDump at line 2 cannot be carried out: "0 0 0 30 2 *" never comes: no day is like that, so correct day, month or day of the week
            the ScheduledBackup at line 2 cannot be carried out: method volumeSnapshot is not acted upon yet: write method: barmanObjectStore
            the ScheduledBackup at line 2 cannot be carried out: annotation pgherd.dev/backupMode is "half": write full or incremental
        "#]]
        .assert_eq(
            &[
                refused(&backup("''", "", daily)),
                refused(&backup("Nightly_", "", daily)),
                refused(&[backup("a", "", daily), dump("a", daily), dump("a", daily)].concat()),
                refused(&backup("a", "", daily).replace("name: db", "name: shop")),
                refused(&backup("a", "", "schedule: 0 0 3")),
                refused(&dump("a", "schedule: 0 0 0 30 2 *")),
                refused(&backup("a", "", "schedule: '@daily', method: volumeSnapshot")),
                refused(&backup("a", "pgherd.dev/backupMode: half", daily)),
            ]
            .concat(),
        );
        assert!(refused(&dump("a", "schedule: '@daily', retentionPolicy: long")).contains("long"));
    }

    #[test]
    fn fields_of_crontab_are_told() {
        let told = |schedule: &str| {
            let text = backup("a", "", &format!("schedule: {schedule:?}"));
            all(&text).unwrap()[0].warning().is_some()
        };
        let given = [
            "0 0 3 * *",
            "TZ=Europe/Rome 0 0 3 * *",
            "0 0 3 * * *",
            "@daily",
            "TZ=UTC 0 0 3 * * *",
        ];
        assert_eq!(given.map(told), [true, true, false, false, false]);
    }
}
