//! `pgherd local clone`: makes a new cluster as another one is now.
//!
//! Never touches the source, and never begins anything that cannot be brought to its end.

use super::super::check::{Checked, statements, tell_made};
use super::super::form;
use super::super::origin::{Archive, Origin, Wanted, plan, sentence};
use super::super::recovery::Wish;
use super::super::repository::plan::refuse_occupied;
use super::output::{remark, warn};
use super::place::{self, Place};
use super::repository;
use super::restore::{Restore, checked, fresh};
use super::up::{self, Work};
use super::wait;
use k8s_openapi::api::core::v1::SecretKeySelector;
use pgherd_agent::postgres::config::REPLICATION_ROLE;
use pgherd_agent::postgres::install::Tls;
use pgherd_agent::tls::files::IdentityFiles;
use pgherd_api::cluster::external::ExternalCluster;
use pgherd_core::names::{ClusterName, InstanceName};
use pgherd_local::client;
use pgherd_local::control::View;
use pgherd_local::credentials;
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::folder::{ClusterFolder, Home};
use pgherd_local::manifest::{self, Manifest};
use pgherd_local::prepare::Placing;
use pgherd_local::restored;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Make a new cluster as another one is now
#[derive(clap::Args)]
#[command(after_help = "\
It begins with the newest backup and the log after it, or with a copy of the running primary. The source
goes on as it is; the new cluster archives to a place of its own.

Examples:
  pgherd local clone shop shop-copy
  pgherd local clone shop shop-copy --from running --instances 1
  pgherd local clone shop shop-copy --plan")]
pub(crate) struct Cloning {
    #[command(flatten)]
    pub(super) place: Place,
    /// The cluster that is cloned
    #[arg(value_name = "SOURCE", value_parser = place::name)]
    source: ClusterName,
    /// The name of the new cluster
    #[arg(value_name = "NEW", value_parser = place::name)]
    new: ClusterName,
    #[command(flatten)]
    wanted: Wanted,
    /// Statements that have to succeed in the new cluster, and not to return false
    #[arg(long, value_name = "FILE")]
    sql_check: Option<PathBuf>,
}

/// What is known before anything is made.
struct Prepared {
    text: String,
    manifest: Manifest,
    primary: InstanceName,
    bindir: PathBuf,
}

impl Cloning {
    pub(super) fn run(self) -> Result<(), Failure> {
        let home = self.place.home()?;
        let source = place::folder(&home, &self.source)?;
        let account = place::owner(&source)?;
        let root = source.root().to_owned();
        let addressed = |failure: Failure| failure.addressed(&root);
        let kept = source.clone();
        let archive = place::as_account(&account, || async move {
            let (_, kept) = repository::kept(&kept)?;
            let is_there = kept.checked.postgres.archive.is_some();
            Ok(if is_there { Archive::There } else { Archive::Missing })
        });
        let origin = archive.and_then(|archive| self.wanted.origin(&self.source, archive));
        match origin.map_err(addressed)? {
            Origin::Backup => self.restoring().run(),
            Origin::Running => self.copy(home, &source).map_err(addressed),
        }
    }

    fn restoring(self) -> Restore {
        let Self { place, source, new, wanted, sql_check } = self;
        let wish = Wish::latest(&wanted);
        Restore { place, source, new, wish, sql_check }
    }

    fn copy(self, home: Home, source: &ClusterFolder) -> Result<(), Failure> {
        let new = place::folder(&home, &self.new)?;
        fresh::refuse_existing(&new)?;
        let check = self.sql_check.as_deref().map(statements).transpose()?;
        let account = place::owner(source)?;
        let (to, instances) = (new.clone(), self.wanted.instances);
        let from = source.clone();
        let prepared = place::as_account(&account, || prepare(from, to, instances));
        let prepared = prepared.map_err(fresh::unasked)?;
        let count = prepared.manifest.checked.instances;
        let lines = plan(&prepared.primary, &self.new, count);
        if self.wanted.plan {
            let document =
                json!({ "cluster": self.new, "copyOf": prepared.primary, "instances": count });
            return form::tell(self.place.output().form(), (self.new.as_str(), &lines), &document);
        }
        for line in &lines {
            remark(line);
        }
        let owner = fresh::claim(&new)?;
        let Prepared { text, manifest, primary, bindir } = prepared;
        let (began, patience) = (Instant::now(), self.place.timeout());
        let work =
            Work { home, folder: new.clone(), account: owner.clone(), wanted: Some(manifest) };
        let placing = Placing { bindir: Some(bindir), port: None };
        let made = place::as_account(&owner, || async move {
            let (supervisor, done) = up::make(&work, &placing, (Some(text), None)).await?;
            warn(&done.warnings);
            wait::until(&supervisor, patience, up::sight).await?;
            match &check {
                Some(check) => checked::run(&supervisor, check).await.map(Some),
                None => Ok(None),
            }
        });
        let checked = made.map_err(|failure| fresh::cleared((&new, &owner), patience, failure))?;
        self.tell(&primary, checked.as_ref(), began.elapsed())
    }

    fn tell(
        &self,
        primary: &InstanceName,
        checked: Option<&Checked>,
        took: Duration,
    ) -> Result<(), Failure> {
        let seconds = took.as_secs_f64();
        let document = json!({
            "cluster": self.new, "copyOf": primary, "seconds": seconds, "check": checked,
        });
        let line = sentence(primary, &self.new, seconds);
        tell_made(self.place.output().form(), (&self.new, line), checked, &document)
    }
}

/// The manifest of the copy, with what opens the source's primary.
async fn prepare(
    source: ClusterFolder,
    new: ClusterFolder,
    instances: Option<u32>,
) -> Result<Prepared, Failure> {
    let (text, _) = repository::kept(&source)?;
    let away = |name: &ClusterName| {
        let what = format!("cluster {name} has no running primary that could be copied");
        Failure::new(Kind::Refused, what).fix("pgherd local up, then the same command again")
    };
    let supervisor = client::present(&source).await?.ok_or_else(|| away(source.name()))?;
    let view = supervisor.view().await?;
    let primary = view.primary().ok_or_else(|| away(source.name()))?;
    let (primary, port) = (primary.name.clone(), primary.port);
    let (server, secret) = server(&source, &view, (&primary, port))?;
    let text = restored::copied_manifest(&text, (&source, &new), (server, &secret), instances)?;
    let manifest = manifest::understand(&text, None)?.with_key_files()?;
    if let Some(own) = repository::elsewhere(&manifest, &new) {
        // A copy has its source's system identifier: it would be taken for an earlier copy.
        let own = repository::open_for((own, &manifest.keys), &source, None)?;
        refuse_occupied(&own).await?;
    }
    Ok(Prepared { text, manifest, primary, bindir: view.bindir.clone() })
}

/// How the primary is reached, as a standby of its own would log in, and the Secret that takes.
fn server(
    source: &ClusterFolder,
    view: &View,
    (primary, port): (&InstanceName, u16),
) -> Result<(ExternalCluster, Value), Failure> {
    let name = format!("{}-replication", source.name());
    let entry = |key: &str| {
        Some(SecretKeySelector { name: name.clone(), key: key.to_owned(), optional: None })
    };
    let password = credentials::password(source, "replication")
        .map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    let mut kept = Map::from_iter([("password".to_owned(), Value::String(password))]);
    let mode = match view.tls {
        Tls::Available => {
            let files = IdentityFiles::in_folder(&source.instance(primary).replication_tls());
            for (key, path) in [
                ("tls.crt", &files.certificate),
                ("tls.key", &files.key),
                ("ca.crt", &files.authority),
            ] {
                kept.insert(key.to_owned(), Value::String(read(path)?));
            }
            "verify-ca"
        }
        Tls::Missing => "disable",
    };
    let is_kept = |key: &str| kept.contains_key(key).then(|| entry(key)).flatten();
    let parameters = [
        ("host", "127.0.0.1".to_owned()),
        ("port", port.to_string()),
        ("user", REPLICATION_ROLE.to_owned()),
        ("dbname", "postgres".to_owned()),
        ("sslmode", mode.to_owned()),
    ];
    let server = ExternalCluster {
        name: source.name().to_string(),
        connection_parameters: parameters.map(|(name, value)| (name.to_owned(), value)).into(),
        password: is_kept("password"),
        ssl_cert: is_kept("tls.crt"),
        ssl_key: is_kept("tls.key"),
        ssl_root_cert: is_kept("ca.crt"),
        barman_object_store: None,
        plugin: None,
    };
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": kept,
    });
    Ok((server, secret))
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        Failure::new(Kind::Failed, format!("{} cannot be read", path.display()))
            .because(error.to_string())
    })
}
