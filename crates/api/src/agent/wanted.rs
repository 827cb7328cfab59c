//! Turns the manifest and what was asked since into what agents are told.
//!
//! Never adds a wish of its own.

use super::Specification;
use crate::cluster::Checked;
use crate::cluster::annotations::{Care, Fenced, Hibernation};
use pgherd_core::intent::Intent;
use pgherd_core::names::InstanceName;
use pgherd_core::timers::Timers;
use pgherd_core::wishes::{Shall, Wish, Wishes};

impl Specification {
    /// The specification after `last`, if what is wanted differs from it.
    pub fn next(
        last: Option<&Self>,
        checked: &Checked,
        wishes: &Wishes,
        shall: Shall,
    ) -> Option<Self> {
        let number = last.map_or(0, |last| last.number) + 1;
        let next = Self::numbered(number, checked, wishes, shall);
        let is_same = |last: &Self| Self { number, ..last.clone() } == next;
        if last.is_some_and(is_same) { None } else { Some(next) }
    }

    /// What is wanted, under this number. Agents listen to higher numbers only.
    pub fn numbered(number: u64, checked: &Checked, wishes: &Wishes, shall: Shall) -> Self {
        let (postgres, metrics) = (checked.postgres.clone(), checked.metrics);
        Self { number, intent: intent(checked, wishes, shall), postgres, metrics }
    }
}

fn intent(checked: &Checked, wishes: &Wishes, shall: Shall) -> Intent {
    let annotations = &checked.annotations;
    let mut fenced = wishes.fenced.clone();
    match &annotations.fenced {
        Fenced::All => fenced.extend(wishes.belonging()),
        Fenced::Instances(names) => fenced.extend(names.iter().cloned()),
    }
    let are = |wanted: Wish| {
        let such = wishes.instances.iter().filter(move |(_, wish)| **wish == wanted);
        such.map(|(name, _)| name.clone())
    };
    Intent {
        cluster: checked.name.clone(),
        instances: wishes.belonging(),
        first: (!wishes.exists).then(|| InstanceName::new(&checked.name, 1)),
        durability: checked.durability,
        timers: Timers::STANDARD,
        failover_delay: checked.failover_delay,
        stop_delay: checked.stop_delay,
        paused: wishes.paused || annotations.care == Care::Paused,
        fenced,
        leaving: are(Wish::Stopped).collect(),
        stopped: shall == Shall::Rest || annotations.hibernation == Hibernation::Asleep,
        switchover: wishes.switchover.clone(),
        restart: wishes.restart.clone(),
        configuration: wishes.configuration,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{ACTED_UPON, Cluster};
    use crate::field::FieldPath;
    use std::collections::BTreeSet;

    /// Fields that are acted upon: what a manifest says without the field, and with it.
    const ACTED: &[(&str, &str, &str)] = &[
        (
            "spec.backup.barmanObjectStore.azureCredentials",
            ARCHIVE,
            "backup: {barmanObjectStore: {destinationPath: s3://a, azureCredentials: \
             {connectionString: {name: a, key: b}}}}",
        ),
        (
            "spec.backup.barmanObjectStore.data.compression",
            FOLDER,
            "backup: {barmanObjectStore: {destinationPath: /a, data: {compression: lz4}}}",
        ),
        (
            "spec.backup.barmanObjectStore.data.encryption",
            FOLDER,
            "backup: {barmanObjectStore: {destinationPath: /a, data: {encryption: AES256}}}",
        ),
        (
            "spec.backup.barmanObjectStore.data.immediateCheckpoint",
            FOLDER,
            "backup: {barmanObjectStore: {destinationPath: /a, data: {immediateCheckpoint: true}}}",
        ),
        (
            "spec.backup.barmanObjectStore.data.jobs",
            FOLDER,
            "backup: {barmanObjectStore: {destinationPath: /a, data: {jobs: 4}}}",
        ),
        ("spec.backup.barmanObjectStore.destinationPath", "", ARCHIVE),
        (
            "spec.backup.barmanObjectStore.endpointCA",
            ARCHIVE,
            "backup: {barmanObjectStore: {destinationPath: s3://a, endpointCA: {name: a, key: b}, \
             s3Credentials: {inheritFromIAMRole: true}}}",
        ),
        (
            "spec.backup.barmanObjectStore.endpointURL",
            ARCHIVE,
            "backup: {barmanObjectStore: {destinationPath: s3://a, endpointURL: 'http://b', \
             s3Credentials: {inheritFromIAMRole: true}}}",
        ),
        (
            "spec.backup.barmanObjectStore.googleCredentials",
            ARCHIVE,
            "backup: {barmanObjectStore: {destinationPath: s3://a, googleCredentials: \
             {gkeEnvironment: true}}}",
        ),
        ("spec.backup.barmanObjectStore.s3Credentials", FOLDER, ARCHIVE),
        (
            "spec.backup.barmanObjectStore.serverName",
            FOLDER,
            "backup: {barmanObjectStore: {destinationPath: /a, serverName: b}}",
        ),
        (
            "spec.backup.barmanObjectStore.wal.compression",
            FOLDER,
            "backup: {barmanObjectStore: {destinationPath: /a, wal: {compression: gzip}}}",
        ),
        (
            "spec.backup.barmanObjectStore.wal.encryption",
            FOLDER,
            "backup: {barmanObjectStore: {destinationPath: /a, wal: {encryption: AES256}}}",
        ),
        (
            "spec.backup.barmanObjectStore.wal.maxParallel",
            FOLDER,
            "backup: {barmanObjectStore: {destinationPath: /a, wal: {maxParallel: 8}}}",
        ),
        (
            "spec.backup.retentionPolicy",
            FOLDER,
            "backup: {retentionPolicy: 30d, barmanObjectStore: {destinationPath: /a}}",
        ),
        (
            "spec.bootstrap.initdb.builtinLocale",
            ICU_BUILTIN,
            "bootstrap: {initdb: {localeProvider: builtin, builtinLocale: C}}",
        ),
        ("spec.bootstrap.initdb.database", "", "bootstrap: {initdb: {database: shop, owner: app}}"),
        ("spec.bootstrap.initdb.encoding", "", "bootstrap: {initdb: {encoding: LATIN1}}"),
        (
            "spec.bootstrap.initdb.icuLocale",
            ICU,
            "bootstrap: {initdb: {localeProvider: icu, icuLocale: de}}",
        ),
        (
            "spec.bootstrap.initdb.icuRules",
            ICU,
            "bootstrap: {initdb: {localeProvider: icu, icuLocale: en, icuRules: '&a<g'}}",
        ),
        (
            "spec.bootstrap.initdb.import",
            "",
            "bootstrap: {initdb: {import: {type: monolith, databases: ['*'], \
             source: {externalCluster: a}}}}, \
             externalClusters: [{name: a, connectionParameters: {host: b}}]",
        ),
        ("spec.bootstrap.initdb.locale", "", "bootstrap: {initdb: {locale: C}}"),
        ("spec.bootstrap.initdb.localeCType", "", "bootstrap: {initdb: {localeCType: C}}"),
        ("spec.bootstrap.initdb.localeCollate", "", "bootstrap: {initdb: {localeCollate: C}}"),
        ("spec.bootstrap.initdb.localeProvider", "", ICU),
        (
            "spec.bootstrap.initdb.options",
            "",
            "bootstrap: {initdb: {options: [--allow-group-access]}}",
        ),
        ("spec.bootstrap.initdb.owner", "", "bootstrap: {initdb: {owner: eve}}"),
        (
            "spec.bootstrap.initdb.postInitApplicationSQL",
            "",
            "bootstrap: {initdb: {postInitApplicationSQL: [select 1]}}",
        ),
        ("spec.bootstrap.initdb.postInitSQL", "", "bootstrap: {initdb: {postInitSQL: [select 1]}}"),
        (
            "spec.bootstrap.initdb.postInitTemplateSQL",
            "",
            "bootstrap: {initdb: {postInitTemplateSQL: [select 1]}}",
        ),
        ("spec.bootstrap.initdb.walSegmentSize", "", "bootstrap: {initdb: {walSegmentSize: 64}}"),
        (
            "spec.bootstrap.pg_basebackup.database",
            COPY,
            "bootstrap: {pg_basebackup: {source: a, database: b, owner: app}}, \
             externalClusters: [{name: a, connectionParameters: {host: b}}]",
        ),
        (
            "spec.bootstrap.pg_basebackup.owner",
            COPY,
            "bootstrap: {pg_basebackup: {source: a, owner: b}}, \
             externalClusters: [{name: a, connectionParameters: {host: b}}]",
        ),
        ("spec.bootstrap.pg_basebackup.source", "", COPY),
        (
            "spec.bootstrap.recovery.database",
            RECOVERY,
            "bootstrap: {recovery: {source: a, database: b, owner: app}}, \
             externalClusters: [{name: a, barmanObjectStore: {destinationPath: /b}}]",
        ),
        (
            "spec.bootstrap.recovery.owner",
            RECOVERY,
            "bootstrap: {recovery: {source: a, owner: b}}, \
             externalClusters: [{name: a, barmanObjectStore: {destinationPath: /b}}]",
        ),
        (
            "spec.bootstrap.recovery.recoveryTarget",
            RECOVERY,
            "bootstrap: {recovery: {source: a, recoveryTarget: {targetImmediate: true}}}, \
             externalClusters: [{name: a, barmanObjectStore: {destinationPath: /b}}]",
        ),
        ("spec.bootstrap.recovery.source", "", RECOVERY),
        ("spec.enableSuperuserAccess", "", "enableSuperuserAccess: true"),
        ("spec.failoverDelay", "", "failoverDelay: 5"),
        ("spec.maxSyncReplicas", "", "minSyncReplicas: 1, maxSyncReplicas: 2"),
        ("spec.monitoring.tls.enabled", "", "monitoring: {tls: {enabled: true}}"),
        ("spec.postgresql.parameters", "", "postgresql: {parameters: {work_mem: 8MB}}"),
        ("spec.postgresql.pg_hba", "", "postgresql: {pg_hba: [local all all peer]}"),
        ("spec.postgresql.pg_ident", "", "postgresql: {pg_ident: [a b c]}"),
        (
            "spec.postgresql.shared_preload_libraries",
            "",
            "postgresql: {shared_preload_libraries: [pgaudit]}",
        ),
        (
            "spec.postgresql.synchronous.dataDurability",
            SYNC,
            "postgresql: {synchronous: {method: any, number: 1, dataDurability: preferred}}",
        ),
        (
            "spec.postgresql.synchronous.number",
            SYNC,
            "postgresql: {synchronous: {method: any, number: 2}}",
        ),
        ("spec.stopDelay", "", "stopDelay: 5"),
    ];
    const ARCHIVE: &str = "backup: {barmanObjectStore: {destinationPath: s3://a, \
        s3Credentials: {inheritFromIAMRole: true}}}";
    const FOLDER: &str = "backup: {barmanObjectStore: {destinationPath: /a}}";
    const COPY: &str = "bootstrap: {pg_basebackup: {source: a}}, \
        externalClusters: [{name: a, connectionParameters: {host: b}}]";
    const RECOVERY: &str = "bootstrap: {recovery: {source: a}}, \
        externalClusters: [{name: a, barmanObjectStore: {destinationPath: /b}}]";
    const ICU: &str = "bootstrap: {initdb: {localeProvider: icu, icuLocale: en}}";
    const ICU_BUILTIN: &str =
        "bootstrap: {initdb: {localeProvider: builtin, builtinLocale: C.UTF-8}}";
    const SYNC: &str = "postgresql: {synchronous: {method: any, number: 1}}";

    /// Acted upon elsewhere, or true of every cluster whatever is written; a warning says so where
    /// something else was written.
    const ELSEWHERE: [&str; 9] = [
        "apiVersion",
        "kind",
        "metadata.name",
        "spec.backup.target",
        "spec.bootstrap.initdb.dataChecksums",
        "spec.instances",
        "spec.minSyncReplicas",
        "spec.postgresql.synchronous.failoverQuorum",
        "spec.postgresql.synchronous.method",
    ];

    /// Fields that look as if they did something, and do not.
    const IGNORED: &[(&str, &str)] = &[
        ("spec.storage", "storage: {size: 1Gi}"),
        ("spec.walStorage", "walStorage: {size: 1Gi}"),
        ("spec.startDelay", "startDelay: 5"),
        ("spec.smartShutdownTimeout", "smartShutdownTimeout: 5"),
        ("spec.switchoverDelay", "switchoverDelay: 5"),
        ("spec.livenessProbeTimeout", "livenessProbeTimeout: 5"),
        ("spec.primaryUpdateMethod", "primaryUpdateMethod: switchover"),
        ("spec.replicationSlots", "replicationSlots: {highAvailability: {slotPrefix: a_}}"),
        ("spec.postgresql.enableAlterSystem", "postgresql: {enableAlterSystem: true}"),
        ("spec.postgresql.promotionTimeout", "postgresql: {promotionTimeout: 5}"),
        ("spec.logLevel", "logLevel: debug"),
        ("spec.imageName", "imageName: a"),
    ];

    fn read(spec: &str) -> Checked {
        let text = format!(
            "{{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, metadata: {{name: db}}, \
             spec: {{instances: 3, {spec}}}}}"
        );
        Cluster::from_yaml(&text).unwrap().0.checked().unwrap().0
    }

    /// What agents are told.
    fn told(checked: &Checked) -> Specification {
        let mut wishes = Wishes::default();
        wishes.scale(&checked.name, checked.instances, None);
        Specification::next(None, checked, &wishes, Shall::Run).unwrap()
    }

    #[test]
    fn what_is_said_to_be_acted_upon_reaches_the_agents() {
        for (field, without, with) in ACTED {
            let (without, with) = (read(without), read(with));
            assert_ne!(told(&without), told(&with), "{field} changes nothing");
            assert_eq!(with.ignored, [], "{field}");
        }
        let tried = ACTED.iter().map(|(field, ..)| *field).chain(ELSEWHERE);
        let tried: BTreeSet<_> = tried.collect();
        assert_eq!(tried, ACTED_UPON.iter().copied().collect());
    }

    #[test]
    fn what_is_said_to_be_ignored_changes_nothing() {
        for (field, spec) in IGNORED {
            let checked = read(spec);
            assert_eq!(told(&read("")), told(&checked), "{field} changes something");
            assert_eq!(checked.ignored, [FieldPath::of(field)]);
        }
    }

    #[test]
    fn what_is_wanted_already_is_not_told_anew() {
        let (checked, mut wishes) = (read(""), Wishes::default());
        wishes.scale(&checked.name, checked.instances, None);
        let first = Specification::next(None, &checked, &wishes, Shall::Run).unwrap();
        let next = |wishes: &Wishes, shall| {
            Specification::next(Some(&first), &checked, wishes, shall).map(|next| next.number)
        };
        assert_eq!(next(&wishes, Shall::Run), None);
        assert_eq!(next(&wishes, Shall::Rest), Some(2));
        wishes.reload();
        assert_eq!(next(&wishes, Shall::Run), Some(2));
    }
}
