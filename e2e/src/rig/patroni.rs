//! The other product: three members of Patroni and one etcd, as processes on this machine.
//!
//! Never handicaps it: settings are its own defaults, or the fastest its manual allows.

mod configuration;
mod rest;

use super::{Durability, Fault, Rig, Site};
use crate::member::{Member, as_account};
use crate::{ports, wait};
use anyhow::{Context, Result, bail};
use configuration::{APPLICATION, MemberPlace};
use pgherd_agent::durable::{self, Access};
use pgherd_agent::tls::authority::Authority;
use pgherd_agent::tls::files::IdentityFiles;
use pgherd_agent::tls::holder::Holder;
use pgherd_core::names::{ClusterName, InstanceName};
use pgherd_local::account::{self, Account};
use pgherd_local::ledger::Address;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

pub use configuration::Timers;

const SCOPE: &str = "bench";
const MEMBERS: u16 = 3;
const ETCD: &str = "/usr/bin/etcd";
const PATRONI: &str = "/usr/bin/patroni";
const PATRONICTL: &str = "/usr/bin/patronictl";
const UP_WITHIN: Duration = Duration::from_mins(3);

/// Three members of Patroni and their etcd.
pub struct Patroni {
    // In the order of ending: members first, and the folder when nobody works in it any more.
    members: Vec<PatroniMember>,
    _etcd: Member,
    durability: Durability,
    account: Account,
    bindir: PathBuf,
    folder: TempDir,
}

struct PatroniMember {
    place: MemberPlace,
    process: Member,
}

impl Patroni {
    /// Starts a new cluster and waits until it is complete.
    pub fn start(timers: Timers, durability: Durability, site: &Site) -> Result<Self> {
        for program in [ETCD, PATRONI, PATRONICTL] {
            if !Path::new(program).exists() {
                bail!(
                    "{program} is missing: apt-get install --no-install-recommends etcd-server patroni"
                );
            }
        }
        let account = account::choose()?;
        let folder = site.folder(&format!("patroni-{timers}-{durability}-"))?;
        let first = ports::free(2 + 2 * MEMBERS)?;
        let etcd_folder = subfolder(folder.path(), "etcd", &account)?;
        let mut etcd = Member::new(&etcd_folder, &account);
        start_etcd(&mut etcd, first)?;
        let authority_folder = folder.path().join("authority");
        fs::create_dir(&authority_folder)?;
        let cluster = ClusterName::parse(SCOPE)?;
        let authority = Authority::open(&authority_folder, &cluster, SystemTime::now())?;
        fs::write(folder.path().join("ca.crt"), authority.certificate())?;
        let mut cluster = Self {
            members: Vec::new(),
            _etcd: etcd,
            durability,
            account,
            bindir: site.bindir.clone(),
            folder,
        };
        for number in 1..=MEMBERS {
            let member = cluster.lay_out(number, first, timers, &authority)?;
            cluster.members.push(member);
        }
        cluster.found()?;
        Ok(cluster)
    }

    fn lay_out(
        &self,
        number: u16,
        first: u16,
        timers: Timers,
        authority: &Authority,
    ) -> Result<PatroniMember> {
        let name = format!("{SCOPE}-{number}");
        let folder = subfolder(self.folder.path(), &name, &self.account)?;
        let holder = Holder::Instance(InstanceName::parse(&name)?);
        let owned = Access::PRIVATE.owned_by(self.account.user, self.account.group);
        let parts = authority.issue(&holder, SystemTime::now())?;
        IdentityFiles::in_folder(&folder).write(&parts, owned)?;
        let place = MemberPlace {
            name,
            postgres: first + 2 * number,
            rest: first + 2 * number + 1,
            etcd: first,
            folder: folder.clone(),
            bindir: self.bindir.clone(),
        };
        let settings = place.settings(timers, self.durability).to_string();
        for (file, text) in [("patroni.json", settings), ("psql.pass", place.passwords())] {
            durable::write(&folder.join(file), text.as_bytes(), owned)?;
        }
        let process = Member::new(&folder, &self.account);
        Ok(PatroniMember { place, process })
    }

    /// Starts the members for the first time, and makes the application's database.
    fn found(&mut self) -> Result<()> {
        for index in 0..self.members.len() {
            self.start_member(index)?;
        }
        wait::until("a complete cluster of Patroni", UP_WITHIN, || self.is_steady())?;
        let primary = self.primary()?.context("a steady cluster has a primary")?;
        let create = format!("create database {APPLICATION} owner {APPLICATION}");
        self.sql(&primary, &create)?;
        Ok(())
    }

    fn start_member(&mut self, index: usize) -> Result<()> {
        let member = self.members.get_mut(index).context("no such member")?;
        let settings = member.place.folder.join("patroni.json");
        let settings = settings.to_str().context("a folder with an odd name")?;
        member.process.start(Path::new(PATRONI), &[settings])
    }

    fn member(&mut self, name: &str) -> Result<&mut PatroniMember> {
        let mut members = self.members.iter_mut();
        members.find(|member| member.place.name == name).with_context(|| format!("no {name}"))
    }

    /// What the first member that answers says of all of them.
    fn cluster(&self) -> Option<rest::Cluster> {
        self.members.iter().find_map(|member| rest::cluster(member.place.rest).ok())
    }

    fn sql(&mut self, member: &str, statement: &str) -> Result<String> {
        let (account, bindir) = (self.account.clone(), self.bindir.clone());
        let place = &self.member(member)?.place;
        let said = as_account(&bindir.join("psql"), &account)
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--no-password"])
            .args(["--command", statement])
            .env("PGPASSFILE", place.folder.join("psql.pass"))
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", place.postgres.to_string())
            .env("PGUSER", configuration::SUPERUSER)
            .env("PGDATABASE", "postgres")
            .env("PGSSLMODE", "require")
            .env("PGCONNECT_TIMEOUT", "2")
            .current_dir("/")
            .stdin(Stdio::null())
            .output()?;
        if !said.status.success() {
            bail!("psql at {member}: {}", String::from_utf8_lossy(&said.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
    }

    /// Whether all others stream from the primary, and as many as asked for confirm commits.
    fn streams(&mut self, primary: &str) -> bool {
        let query = "select count(*) || ' ' || count(*) filter (where sync_state <> 'async') \
            from pg_stat_replication \
            where state = 'streaming' and pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) < 1048576";
        let confirming = self.confirming();
        // A server that cannot be asked is not steady.
        let said = self.sql(primary, query).unwrap_or_default();
        said == format!("{} {confirming}", MEMBERS - 1)
    }

    /// How many standbys confirm commits.
    fn confirming(&self) -> usize {
        match self.durability {
            Durability::Async => 0,
            Durability::Sync => 1,
        }
    }

    fn switch_over(&mut self, primary: &str) -> Result<()> {
        let settings = self.member(primary)?.place.folder.join("patroni.json");
        let said = as_account(Path::new(PATRONICTL), &self.account)
            .arg("--config-file")
            .arg(settings)
            .args(["switchover", SCOPE, "--leader", primary, "--force"])
            .current_dir("/")
            .stdin(Stdio::null())
            .output()?;
        if !said.status.success() {
            bail!("patronictl switchover: {}", String::from_utf8_lossy(&said.stderr).trim());
        }
        Ok(())
    }
}

impl Rig for Patroni {
    fn address(&self) -> Result<Address> {
        let hosts: Vec<String> = self
            .members
            .iter()
            .map(|member| format!("127.0.0.1:{}", member.place.postgres))
            .collect();
        let authority = self.folder.path().join("ca.crt");
        Ok(Address::parse(&format!(
            "postgresql://{APPLICATION}:{}@{}/{APPLICATION}\
             ?target_session_attrs=read-write&sslmode=verify-full&sslrootcert={}",
            configuration::APPLICATION_PASSWORD,
            hosts.join(","),
            authority.display()
        ))?)
    }

    fn primary(&mut self) -> Result<Option<String>> {
        Ok(self.cluster().and_then(|cluster| cluster.leader()))
    }

    fn is_steady(&mut self) -> Result<bool> {
        for member in &mut self.members {
            if !member.process.is_running() {
                bail!(
                    "{} ended by itself: see {}/log",
                    member.place.name,
                    member.place.folder.display()
                );
            }
        }
        let Some(cluster) = self.cluster() else { return Ok(false) };
        let Some(leader) = cluster.leader() else { return Ok(false) };
        let is_complete = cluster.is_complete(usize::from(MEMBERS), self.confirming());
        Ok(is_complete && self.streams(&leader))
    }

    fn hurt(&mut self, fault: Fault, primary: &str) -> Result<()> {
        match fault {
            Fault::NodeLoss => self.member(primary)?.process.lose(),
            Fault::PostmasterCrash => self.member(primary)?.process.crash_postmaster(),
            Fault::Switchover => self.switch_over(primary),
        }
    }

    fn repair(&mut self) -> Result<()> {
        for index in 0..self.members.len() {
            let gone = self.members.get_mut(index).is_some_and(|one| !one.process.is_running());
            if gone {
                self.start_member(index)?;
            }
        }
        Ok(())
    }
}

fn start_etcd(etcd: &mut Member, first: u16) -> Result<()> {
    let client = format!("http://127.0.0.1:{first}");
    let peer = format!("http://127.0.0.1:{}", first + 1);
    let only = format!("only={peer}");
    etcd.start(
        Path::new(ETCD),
        &[
            ["--name", "only"],
            ["--data-dir", "store"],
            ["--listen-client-urls", &client],
            ["--advertise-client-urls", &client],
            ["--listen-peer-urls", &peer],
            ["--initial-advertise-peer-urls", &peer],
            ["--initial-cluster", &only],
        ]
        .concat(),
    )?;
    wait::until("etcd", Duration::from_secs(30), || Ok(rest::is_healthy(first)))
}

fn subfolder(parent: &Path, name: &str, account: &Account) -> Result<PathBuf> {
    let folder = parent.join(name);
    fs::create_dir(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
    if rustix::process::geteuid().is_root() {
        chown(&folder, Some(account.user), Some(account.group))?;
    }
    Ok(folder)
}
