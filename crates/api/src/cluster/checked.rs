//! Decides whether a cluster can be had, and what exactly is meant by its manifest.
//!
//! Never stops at the first problem, and never reads the outside world.

use super::annotations::{self, Annotations};
use super::backup::BackupTarget;
use super::bootstrap::Bootstrap;
use super::parameters::{self, Around};
use super::problem::{Findings, Problem, Refusal};
use super::{Cluster, access, archive, external, ignored, import, initdb, recovery, synchronous};
use crate::agent::{MetricsSpec, MetricsWay, PostgresSpec, Superuser};
use crate::field::FieldPath;
use crate::quantity::parse_bytes;
use crate::warning::{Caution, Warning};
use pgherd_core::intent::Durability;
use pgherd_core::names::ClusterName;
use pgherd_core::units::Bytes;
use std::time::Duration;

/// What a manifest means. Nothing in it has to be checked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The cluster's name.
    pub name: ClusterName,
    /// How many instances it has, from 1 to 9.
    pub instances: u32,
    /// When a commit counts.
    pub durability: Durability,
    /// How PostgreSQL is made and configured.
    pub postgres: PostgresSpec,
    /// How metrics are served.
    pub metrics: MetricsSpec,
    /// How long a lost primary is waited for beyond its detection.
    pub failover_delay: Duration,
    /// How long a clean stop may take.
    pub stop_delay: Duration,
    /// How much of `stop_delay` waits for sessions to end by themselves.
    pub smart_shutdown_timeout: Duration,
    /// How long the old primary may take to stop in a switchover.
    pub switchover_delay: Duration,
    /// How much space the data of an instance has, if it is said.
    pub storage: Option<Bytes>,
    /// The Secret with the owner's password, if there shall be one.
    pub owner_secret: Option<String>,
    /// Which instance base backups are taken from.
    pub backup_target: BackupTarget,
    /// What the annotations switch on.
    pub annotations: Annotations,
    /// What the manifest asks for and nothing acts upon yet.
    pub ignored: Vec<FieldPath>,
}

impl Checked {
    /// Whether a first base backup is taken without being asked for: what begins with another cluster's
    /// data archives to a place of its own, and nothing can be restored from that before there is one.
    pub fn is_backed_up_first(&self) -> bool {
        let PostgresSpec { archive, recovery, copy_of, .. } = &self.postgres;
        archive.is_some() && (recovery.is_some() || copy_of.is_some())
    }
}

impl Cluster {
    /// What the manifest means, or everything that stands against it.
    pub fn checked(&self) -> Result<(Checked, Vec<Warning>), Vec<Problem>> {
        let mut findings = Findings::default();
        let name = self.checked_name(&mut findings);
        let checked = name.map(|name| self.checked_as(name, &mut findings));
        match checked {
            Some(checked) if findings.problems.is_empty() => Ok((checked, findings.warnings)),
            Some(_) | None => Err(findings.problems),
        }
    }

    fn checked_name(&self, findings: &mut Findings) -> Option<ClusterName> {
        match ClusterName::parse(self.metadata.name.as_deref().unwrap_or_default()) {
            Ok(name) => Some(name),
            Err(error) => {
                findings.refuse(&FieldPath::of("metadata.name"), Refusal::Name(error));
                None
            }
        }
    }

    fn checked_as(&self, name: ClusterName, findings: &mut Findings) -> Checked {
        let spec = &self.spec;
        let instances = self.checked_instances(findings);
        let said = self.metadata.annotations.clone().unwrap_or_default();
        let annotations = annotations::checked(&said, &name, findings);
        if annotations.source_repository_key.is_some() && !self.begins_with_a_backup() {
            let place = annotations::place(annotations::SOURCE_REPOSITORY_KEY);
            findings.warn(&place, Caution::NothingToEncrypt);
        }
        // One mistake is told once: without a usable number of instances, any other will do.
        let standbys = instances.map_or(8, |instances| i64::from(instances) - 1);
        let durability = synchronous::durability(spec, standbys, annotations.max_lag, findings);
        let owner_secret = self.checked_bootstrap(findings).and_then(Bootstrap::owner_secret);
        self.check_images(findings);
        self.refuse_what_would_look_healthy(findings);
        let around = (instances.unwrap_or(1), durability, &annotations);
        let postgres = self.checked_postgres(&name, around, findings);
        Checked {
            name,
            instances: instances.unwrap_or(1),
            durability,
            postgres,
            metrics: self.checked_metrics(),
            failover_delay: seconds("failoverDelay", spec.failover_delay, findings),
            stop_delay: seconds("stopDelay", spec.stop_delay, findings),
            smart_shutdown_timeout: self.checked_smart_shutdown(findings),
            switchover_delay: seconds("switchoverDelay", spec.switchover_delay, findings),
            storage: self.checked_storage(findings),
            owner_secret: owner_secret.map(|it| it.name.clone()),
            backup_target: spec.backup.as_ref().map(|it| it.target).unwrap_or_default(),
            annotations,
            ignored: ignored::ignored(self, &[]),
        }
    }

    fn refuse_what_would_look_healthy(&self, findings: &mut Findings) {
        if let Some(replica) = &self.spec.replica {
            let own = replica.self_name.as_ref().or(self.metadata.name.as_ref());
            let is_another = replica.primary.is_some() && replica.primary.as_ref() != own;
            if replica.enabled.unwrap_or(is_another) {
                findings.refuse(&FieldPath::of("spec.replica"), Refusal::Follower);
            }
        }
        let archivers = self.spec.plugins.iter().enumerate();
        for (index, plugin) in archivers {
            if plugin.enabled && plugin.is_wal_archiver {
                let path = FieldPath::of("spec.plugins").item(index);
                findings.refuse(&path, Refusal::ForeignArchiver);
            }
        }
    }

    fn checked_metrics(&self) -> MetricsSpec {
        let tls = self.spec.monitoring.as_ref().and_then(|it| it.tls.as_ref());
        let is_encrypted = tls.is_some_and(|tls| tls.enabled);
        let way = if is_encrypted { MetricsWay::Encrypted } else { MetricsWay::Plain };
        MetricsSpec { way }
    }

    fn begins_with_a_backup(&self) -> bool {
        self.spec.bootstrap.as_ref().is_some_and(|it| it.recovery.is_some())
    }

    fn checked_instances(&self, findings: &mut Findings) -> Option<u32> {
        let path = FieldPath::of("spec.instances");
        let given = self.spec.instances;
        let instances = u32::try_from(given).ok().filter(|instances| (1..=9).contains(instances));
        if given < 1 {
            findings.refuse(&path, Refusal::NoInstance { given });
        } else if instances.is_none() {
            findings.refuse(&path, Refusal::TooManyInstances { given });
        } else if given > 5 {
            findings.warn(&path, Caution::ManyInstances { given });
        }
        instances
    }

    fn checked_postgres(
        &self,
        name: &ClusterName,
        (instances, durability, annotations): (u32, Durability, &Annotations),
        findings: &mut Findings,
    ) -> PostgresSpec {
        let postgresql = &self.spec.postgresql;
        let is_synchronous = match durability {
            Durability::Asynchronous { .. } => false,
            Durability::Required { .. } | Durability::Preferred { .. } => true,
        };
        let around = Around { instances: i64::from(instances), is_synchronous };
        let bootstrap = self.spec.bootstrap.as_ref();
        let copy = bootstrap.and_then(|it| it.pg_basebackup.as_ref());
        let restored = bootstrap.and_then(|it| it.recovery.as_ref());
        let made = bootstrap.and_then(|it| it.initdb.as_ref());
        let imported = made.and_then(|it| it.import.as_ref());
        let initdb = initdb::checked(made, findings);
        PostgresSpec {
            parameters: parameters::checked(postgresql, &around, findings),
            hba: access::rules(&postgresql.pg_hba, findings),
            ident: access::maps(&postgresql.pg_ident, findings),
            initdb: match (copy, restored) {
                (Some(copy), _) => initdb::of_copy(copy, findings),
                (None, Some(restored)) => initdb::of_recovery(restored, findings),
                (None, None) => initdb,
            },
            recovery: restored.and_then(|it| recovery::checked(self, it, findings)),
            copy_of: copy.and_then(|copy| {
                let named = FieldPath::of("spec.bootstrap.pg_basebackup.source");
                external::checked(self, (&named, &copy.source), findings)
            }),
            import: imported.and_then(|it| import::checked(self, it, findings)).map(Box::new),
            archive: archive::checked(self, name, annotations, findings),
            superuser: if self.spec.enable_superuser_access {
                Superuser::Allowed
            } else {
                Superuser::Refused
            },
        }
    }

    fn checked_smart_shutdown(&self, findings: &mut Findings) -> Duration {
        let path = FieldPath::of("spec.smartShutdownTimeout");
        let (given, stop_delay) = (self.spec.smart_shutdown_timeout, self.spec.stop_delay);
        if given >= stop_delay && stop_delay >= 0 {
            let stop_delay = i64::from(stop_delay);
            findings.warn(&path, Caution::NoTimeToStop { given: given.into(), stop_delay });
        }
        seconds("smartShutdownTimeout", given, findings)
    }

    fn checked_storage(&self, findings: &mut Findings) -> Option<Bytes> {
        let path = FieldPath::of("spec.storage.size");
        let given = self.spec.storage.size.as_ref()?;
        match parse_bytes(given) {
            Ok(Bytes(0)) => {
                findings.refuse(&path, Refusal::NoSpace { given: given.clone() });
                None
            }
            Ok(bytes) => Some(bytes),
            Err(error) => {
                findings.refuse(&path, Refusal::Quantity(error));
                None
            }
        }
    }

    fn checked_bootstrap(&self, findings: &mut Findings) -> Option<&Bootstrap> {
        let bootstrap = self.spec.bootstrap.as_ref()?;
        let place = FieldPath::of("spec.bootstrap");
        let ways = [
            ("initdb", bootstrap.initdb.is_some()),
            ("recovery", bootstrap.recovery.is_some()),
            ("pg_basebackup", bootstrap.pg_basebackup.is_some()),
        ];
        let mut first = None;
        for (name, _) in ways.iter().filter(|(_, is_set)| *is_set) {
            if let Some(other) = first.replace(*name) {
                findings.refuse(&place.name(name), Refusal::Both { other });
            }
        }
        Some(bootstrap)
    }

    fn check_images(&self, findings: &mut Findings) {
        if self.spec.image_name.is_some() && self.spec.image_catalog_ref.is_some() {
            let both = Refusal::Both { other: "spec.imageCatalogRef" };
            findings.refuse(&FieldPath::of("spec.imageName"), both);
        }
    }
}

fn seconds(field: &str, given: i32, findings: &mut Findings) -> Duration {
    let Ok(seconds) = u64::try_from(given) else {
        let path = FieldPath::of("spec").name(field);
        findings.refuse(&path, Refusal::NegativeTime { given });
        return Duration::ZERO;
    };
    Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn cluster(rest: &str) -> Cluster {
        let text = format!("apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\n{rest}");
        Cluster::from_yaml(&text).unwrap().0
    }

    fn shown(cluster: &Cluster) -> String {
        let lines = match cluster.checked() {
            Err(problems) => problems.iter().map(|it| format!("refused: {it}\n")).collect(),
            Ok((checked, warnings)) => {
                let ignored = checked.ignored.iter().map(|it| format!("ignored: {it}\n"));
                let warnings = warnings.iter().map(|it| format!("warning: {it}\n"));
                warnings.chain(ignored).collect::<Vec<_>>()
            }
        };
        lines.concat()
    }

    /// What a manifest means, one field to a line.
    fn meaning(cluster: &Cluster) -> String {
        let (it, warnings) = cluster.checked().unwrap();
        assert!(warnings.is_empty());
        let annotations = &it.annotations;
        [
            format!("{} {:?}", it.name, it.instances),
            format!("{:?}", it.durability),
            format!("{:?}", it.postgres.parameters),
            format!("{:?} {:?}", it.postgres.hba, it.postgres.ident),
            format!("{:?} {:?}", it.postgres.superuser, it.postgres.initdb),
            format!("failover {:?} stop {:?}", it.failover_delay, it.stop_delay),
            format!("smart {:?} switchover {:?}", it.smart_shutdown_timeout, it.switchover_delay),
            format!("{:?} {:?}", it.storage, it.owner_secret),
            format!("{:?} {:?}", annotations.hibernation, annotations.care),
            format!("{:?}", annotations.fenced),
            format!("{:?}", it.ignored),
        ]
        .map(|line| line + "\n")
        .concat()
    }

    /// Refusals, warnings and ignored fields of a specification in flow style.
    fn outcome(spec: &str) -> String {
        let found = shown(&cluster(&format!("metadata: {{name: db}}\nspec: {{{spec}}}\n")));
        if found.is_empty() { format!("fine: {spec}\n") } else { found }
    }

    #[test]
    fn a_small_manifest_means_the_defaults() {
        let small = cluster("metadata: {name: db}\nspec: {instances: 3}\n");
        expect![[r#"
            db 3
            Asynchronous { max_lag: Bytes(16777216) }
            {}
            [] []
            Refused InitDb { database: "app", owner: "app", encoding: "UTF8", locale: None, locale_collate: None, locale_ctype: None, locale_provider: None, icu_locale: None, icu_rules: None, builtin_locale: None, wal_segment_size_mib: None, options: [], post_init_sql: [], post_init_template_sql: [], post_init_application_sql: [], statement_files: [] }
            failover 0ns stop 1800s
            smart 180s switchover 3600s
            None None
            Awake Active
            Instances({})
            []
        "#]].assert_eq(&meaning(&small));
    }

    #[test]
    fn everything_that_is_acted_upon_reaches_the_result() {
        let text = r#"
metadata:
  name: shop
  annotations:
    cnpg.io/fencedInstances: '["shop-2"]'
    cnpg.io/reconciliationLoop: disabled
spec:
  instances: 5
  enableSuperuserAccess: true
  failoverDelay: 7
  stopDelay: 300
  smartShutdownTimeout: 5
  switchoverDelay: 60
  storage: {size: 10Gi}
  postgresql:
    parameters: {Work_Mem: 8MB, pg_stat_statements.max: "500"}
    pg_hba: [hostssl all all all scram-sha-256]
    pg_ident: [local root postgres]
    synchronous: {method: any, number: 2, dataDurability: preferred}
  bootstrap:
    initdb: {database: shop, secret: {name: owner}, postInitSQL: [select 1]}
"#;
        expect![[r#"
            shop 5
            Preferred { acks: 2 }
            {"pg_stat_statements.max": "500", "shared_preload_libraries": "pg_stat_statements", "work_mem": "8MB"}
            ["hostssl all all all scram-sha-256"] ["local root postgres"]
            Allowed InitDb { database: "shop", owner: "shop", encoding: "UTF8", locale: None, locale_collate: None, locale_ctype: None, locale_provider: None, icu_locale: None, icu_rules: None, builtin_locale: None, wal_segment_size_mib: None, options: [], post_init_sql: ["select 1"], post_init_template_sql: [], post_init_application_sql: [], statement_files: [] }
            failover 7s stop 300s
            smart 5s switchover 60s
            Some(Bytes(10737418240)) Some("owner")
            Awake Paused
            Instances({InstanceName { cluster: ClusterName("shop"), serial: 2 }})
            [spec.bootstrap.initdb.secret, spec.smartShutdownTimeout, spec.storage, spec.switchoverDelay]
        "#]].assert_eq(&meaning(&cluster(text)));
    }

    #[test]
    fn numbers_have_limits() {
        expect![[r#"
            refused: spec.instances is 0, but a cluster has at least one instance: write a number from 1 to 9, for example 3
            refused: spec.instances is -9223372036854775808, but a cluster has at least one instance: write a number from 1 to 9, for example 3
            refused: spec.instances is 9223372036854775807, but at most 9 instances can agree in time: write a number from 1 to 9
            refused: spec.instances is 10, but at most 9 instances can agree in time: write a number from 1 to 9
            warning: spec.instances is 9: beyond 5, each instance costs more than it adds to safety; 3 or 5 do
            fine: instances: 5
            refused: spec.failoverDelay is -1, but a time cannot be negative: write a number of seconds
            refused: spec.stopDelay is -1, but a time cannot be negative: write a number of seconds
            refused: spec.smartShutdownTimeout is -1, but a time cannot be negative: write a number of seconds
            refused: spec.switchoverDelay is -1, but a time cannot be negative: write a number of seconds
            warning: spec.smartShutdownTimeout is 180, not less than stopDelay (60), so PostgreSQL gets no time for a fast stop: lower it
            refused: spec.storage.size is refused: "10GB" is not a quantity: write a number and a unit, such as 10Gi
            refused: spec.storage.size is "0", but no data fits into that: write how much the cluster needs, for example 10Gi
        "#]].assert_eq(
            &[
                "instances: 0",
                "instances: -9223372036854775808",
                "instances: 9223372036854775807",
                "instances: 10",
                "instances: 9",
                "instances: 5",
                "failoverDelay: -1, stopDelay: -1, smartShutdownTimeout: -1, switchoverDelay: -1",
                "stopDelay: 60",
                "storage: {size: 10GB}",
                "storage: {size: \"0\"}",
            ]
            .map(outcome)
            .concat(),
        );
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let text = "metadata: {name: My_DB}\nspec: {instances: 0}\n";
        expect![[r#"
            refused: metadata.name is refused: cluster name "My_DB" is not a DNS label: use at most 50 lower-case letters, digits and '-', starting with a letter and not ending with '-'
        "#]].assert_eq(&shown(&cluster(text)));
        expect![[r#"
            refused: spec.instances is 0, but a cluster has at least one instance: write a number from 1 to 9, for example 3
            refused: spec.postgresql.synchronous.number is 0, but a commit waits for one standby at least: write 1 or more, or remove the whole field for asynchronous commits
            refused: spec.bootstrap.recovery and initdb are both set, but only one of them can be meant: remove one
            refused: spec.bootstrap.pg_basebackup and recovery are both set, but only one of them can be meant: remove one
            refused: spec.imageName and spec.imageCatalogRef are both set, but only one of them can be meant: remove one
            refused: spec.bootstrap.initdb.walSegmentSize is 3, which is not a power of 2 from 1 to 1024: write 16, 32 or 64
            refused: spec.postgresql.parameters.port cannot be set, because the cluster places every instance: remove it
            refused: spec.postgresql.pg_hba[0] begins with "x", which is not a kind of connection: begin with one of host, hostgssenc, hostnogssenc, hostnossl, hostssl, local
            refused: spec.postgresql.pg_ident[0] ends too early: write MAP SYSTEM-USER DATABASE-USER
            refused: spec.bootstrap.recovery says nothing of what is restored: add source, the name of an entry in externalClusters
            refused: spec.bootstrap.pg_basebackup.source is "a", but there is no such entry in externalClusters: add it or correct the name
            refused: spec.storage.size is refused: "big" is not a quantity: write a number and a unit, such as 10Gi
        "#]].assert_eq(&outcome(
            "instances: 0, storage: {size: big}, postgresql: {parameters: {port: \"1\"}, \
             pg_hba: [x], pg_ident: [x], synchronous: {method: any, number: 0}}, \
             imageName: a, imageCatalogRef: {kind: ImageCatalog, name: a, major: 17}, \
             bootstrap: {initdb: {walSegmentSize: 3}, recovery: {}, pg_basebackup: {source: a}}",
        ));
    }

    #[test]
    fn what_would_look_healthy_without_what_it_should_have_is_refused() {
        expect![[r#"
            refused: spec.bootstrap.recovery.volumeSnapshots is not acted upon yet, and a cluster that starts without its data would look healthy: remove it to start with an empty database
            refused: spec.replica lets the cluster follow another one, which is not acted upon yet, and it would become a primary of its own: remove it to have that
            ignored: spec.replica
            refused: spec.replica lets the cluster follow another one, which is not acted upon yet, and it would become a primary of its own: remove it to have that
            ignored: spec.replica
            ignored: spec.replica
            ignored: spec.plugins
            refused: spec.plugins[1] names a plugin that archives the log, which is not acted upon, and a cluster without its archive would look healthy: write where the archive is below spec.backup.barmanObjectStore, and set isWALArchiver to false or remove the plugin
        "#]].assert_eq(
            &[
                "bootstrap: {recovery: {volumeSnapshots: {storage: {kind: PersistentVolumeClaim, name: a}}}}",
                "replica: {source: a, enabled: true}",
                "replica: {source: a, enabled: false}",
                "replica: {source: a, primary: b}",
                "replica: {source: a, primary: db}",
                "replica: {source: a, primary: b, self: b}",
                "plugins: [{name: a}, {name: b, isWALArchiver: true, enabled: false}]",
                "plugins: [{name: a}, {name: b, isWALArchiver: true}]",
            ]
            .map(outcome)
            .concat(),
        );
    }
}
