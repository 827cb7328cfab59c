//! Brings the agent up: first what can kill PostgreSQL, then what was remembered, then the rest.
//!
//! Never lets a PostgreSQL live that this agent did not start, or take over from itself.

use super::{Agent, Outside, Setup};
use crate::backup::{self, Backups};
use crate::chain::chain;
use crate::config::{AgentConfig, Folder};
use crate::dump::{self, Dumps};
use crate::durable;
use crate::events::Events;
use crate::http::client::Client;
use crate::http::server::{Bounds, Server as HttpServer, ServerError};
use crate::log::Destination;
use crate::metrics;
use crate::observe::watch::{self as looks, Closeness, Order};
use crate::perform::Hands;
use crate::platform::{Lent, Raised};
use crate::postgres::config::Profile;
use crate::postgres::folder::{self, FolderError};
use crate::postgres::install::{self, InstallError, Installation, Tls};
use crate::postgres::server::Postmaster;
use crate::postgres::site::Site;
use crate::process::clock;
use crate::process::fence::{self, Fence};
use crate::process::launch::Launcher;
use crate::process::tree::{self, Reaper, TreeError};
use crate::program::Program;
use crate::reexec::{self, Handover, ReexecError};
use crate::serve;
use crate::signals::{self, SignalError};
use crate::specification;
use crate::state::{Memory, StateError};
use crate::tasks::Tasks;
use crate::tls::files::IdentityFiles;
use crate::tls::identity::{Identity, IdentityError};
use crate::wake::{Wake, Waker, queue};
use jiff::Timestamp;
use pgherd_api::agent::{RecoveryReport, Specification};
use pgherd_core::seen::Seen;
use pgherd_core::timers::Timers;
use pgherd_core::units::Time;
use rustix::process::Pid;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{info, warn};

/// Until the processes that an earlier agent left are dead.
const LEFTOVERS: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("handling signals")]
    HandleSignals(#[source] SignalError),
    #[error("taking over from the program before this one")]
    TakeOver(#[source] ReexecError),
    #[error("adopting the orphans of PostgreSQL")]
    AdoptOrphans(#[source] TreeError),
    #[error("killing what an earlier agent left")]
    KillLeftovers(#[source] TreeError),
    #[error("finding PostgreSQL")]
    FindPostgres(#[source] InstallError),
    #[error(
        "the PostgreSQL in {bindir:?} was built without OpenSSL and cannot encrypt, so it may not \
         listen on {listen}: install one that can, or let it listen on a loopback address"
    )]
    Encrypt { bindir: std::path::PathBuf, listen: IpAddr },
    #[error("preparing the folder of this instance")]
    PrepareFolder(#[source] FolderError),
    #[error("opening the memory of this instance")]
    Remember(#[source] StateError),
    #[error("starting what kills PostgreSQL in time")]
    StartFence(#[source] fence::StartError),
    #[error("opening the certificate of this instance")]
    OpenIdentity(#[source] IdentityError),
    #[error("reaching the platform")]
    Raise(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("answering peers")]
    Serve(#[source] ServerError),
}

pub(super) async fn start(
    setup: Setup,
    platform: impl FnOnce(Lent) -> Raised,
) -> Result<Agent, StartError> {
    let Setup { config, file, log } = setup;
    let program = config.program.clone().unwrap_or_else(reexec::program);
    let replaceable = config.program.clone().map(|place| Arc::new(Program::at(place)));
    let folder = config.folder();
    let profile = match log {
        Destination::Folder => Profile::Laptop,
        Destination::Output => Profile::Server,
    };
    let (fence, taken) = guard(&folder)?;
    let site = site(&config, profile).await?;
    let memory = Memory::open(&folder, &config.instance).map_err(StartError::Remember)?;
    let (waker, wakes) = queue();
    let identity = Identity::open(IdentityFiles::in_folder(&folder.tls()));
    let identity = Arc::new(identity.map_err(StartError::OpenIdentity)?);
    let server = HttpServer::certified(config.listen, Arc::clone(&identity), Bounds::default())
        .await
        .map_err(StartError::Serve)?;
    let client = Arc::new(Client::certified(Arc::clone(&identity)));
    let config = watch::Sender::new(Arc::new(config));
    let (serves, fence) = (watch::Sender::new(None), Arc::new(fence));
    let platform = platform(Lent {
        identity,
        client: Arc::clone(&client),
        config: config.clone(),
        serves: serves.subscribe(),
        waker: waker.clone(),
        fence: Arc::clone(&fence),
    });
    let platform = platform.map_err(StartError::Raise)?;
    let outside = Outside {
        config_path: file,
        config,
        program,
        replaceable,
        client,
        platform,
        serves,
        tasks: Tasks::default(),
        waker,
        wakes,
        orders: watch::Sender::new(Order {
            postmaster: None,
            closeness: Closeness::Following,
            at_once: None,
        }),
        metrics: watch::Sender::new(None),
    };
    let told = specification::cached(&folder.specification());
    let mut agent = assemble((folder, site, memory), (fence, taken), told, outside)?;
    agent.spawn_all(server)?;
    agent.look_first().await;
    Ok(agent)
}

/// Puts the fencing thread in place before anything else; then nothing of an earlier life is
/// left, unless it is this very process's.
fn guard(folder: &Folder) -> Result<(Fence, Option<Handover>), StartError> {
    let taken = reexec::taken_over(folder).map_err(StartError::TakeOver)?;
    let fence = Fence::start(&folder.pgdata(), fence::TICK).map_err(StartError::StartFence)?;
    if let Some((epoch, until)) = taken.as_ref().and_then(|taken| taken.armed) {
        // Refused only while it kills, and then it does what was to be done.
        let _killing = fence.arm(epoch, until);
    }
    tree::adopt_orphans().map_err(StartError::AdoptOrphans)?;
    if taken.as_ref().is_none_or(|taken| taken.postmaster.is_none()) {
        for data in [folder.pgdata(), folder.root().join("pgdata.new")] {
            let mut reaper = Reaper::new(&data).map_err(StartError::KillLeftovers)?;
            let dead = reaper.kill(None, LEFTOVERS).map_err(StartError::KillLeftovers)?;
            if dead.killed > 0 {
                warn!(killed = dead.killed, "an earlier agent left processes of PostgreSQL");
            }
        }
    }
    Ok((fence, taken))
}

/// What leaves the machine is encrypted.
fn encryption(installation: &Installation, listen: IpAddr) -> Result<(), StartError> {
    match installation.tls {
        Tls::Missing if !listen.is_loopback() => {
            Err(StartError::Encrypt { bindir: installation.bindir.clone(), listen })
        }
        Tls::Missing | Tls::Available => Ok(()),
    }
}

async fn site(config: &AgentConfig, profile: Profile) -> Result<Site, StartError> {
    let folder = config.folder();
    let installation = install::find(Some(&config.bindir)).map_err(StartError::FindPostgres)?;
    encryption(&installation, config.postgres.listen)?;
    let mut site =
        Site::new(folder.root().to_owned(), folder.run(), config.postgres.port, installation);
    site.profile = profile;
    // The running program itself is in reach whatever became of its file.
    site.launcher = Some(Launcher {
        program: "/proc/self/exe".into(),
        arguments: vec!["bound".into(), std::process::id().to_string().into()],
    });
    let companions = folder.names();
    folder::inspect(&site, &config.instance, &companions)
        .await
        .map_err(StartError::PrepareFolder)?;
    folder::claim(&site, &config.instance).map_err(StartError::PrepareFolder)?;
    folder::make_private(&folder.run(), None).map_err(StartError::PrepareFolder)?;
    Ok(site)
}

/// How the cluster came out of a backup, if it did and this instance made it.
fn known_recovery(folder: &Folder) -> Option<RecoveryReport> {
    durable::load(&folder.recovered()).unwrap_or_else(|error| {
        warn!(error = %chain(&error), "how the cluster came out of its backup is not known any more");
        None
    })
}

fn assemble(
    (folder, site, memory): (Folder, Site, Memory),
    (fence, taken): (Arc<Fence>, Option<Handover>),
    told: Option<Specification>,
    outside: Outside,
) -> Result<Agent, StartError> {
    let now = clock::now();
    // Who does not know how long grants are expects the longest, until it is told.
    let timers = told.as_ref().map_or(Timers::WIDE, |told| told.intent.timers);
    let taken = if let Some(taken) = taken {
        taken
    } else {
        let me = memory.new_holder().map_err(StartError::Remember)?;
        Handover::nothing(Seen::new(me, memory.durable().clone(), now, timers.grant))
    };
    let recovery = Arc::new(watch::Sender::new(known_recovery(&folder)));
    let backups = Backups::open(backup::Place {
        me: taken.seen.me.instance.clone(),
        by: format!("{} {}", taken.seen.me.instance, taken.seen.me.volume),
        site: site.clone(),
        keys: folder.archive(),
        remembered: folder.archives(),
        scratch: folder.scratch(),
        book: folder.backups(),
    });
    let dumps = Dumps::new(dump::Place {
        me: taken.seen.me.instance.clone(),
        by: format!("{} {}", taken.seen.me.instance, taken.seen.me.volume),
        site: site.clone(),
        keys: folder.archive(),
        remembered: folder.archives(),
        scratch: folder.scratch(),
        spool: folder.dumps(),
    });
    let mut agent = Agent {
        me: taken.seen.me.instance.clone(),
        folder,
        site,
        memory,
        fence,
        accepted: Arc::default(),
        specification: told.map(Arc::new),
        intent: None,
        seen: taken.seen,
        full: Vec::new(),
        hands: Hands { postmaster: None, manner: taken.manner },
        running: None,
        reload_due: false,
        serial: 0,
        fenced_at: Time::ZERO,
        deadline: now,
        leaving: None,
        reexecuting: None,
        upkeep: super::upkeep::Upkeep::default(),
        archiving: super::archive::Archiving::default(),
        backups,
        dumps,
        recovery,
        events: taken.events,
        started: taken.started,
        outside,
    };
    agent.adopt(taken.postmaster);
    agent.intend();
    Ok(agent)
}

impl Handover {
    fn nothing(seen: Seen) -> Self {
        let now = Timestamp::now();
        Self {
            seen,
            postmaster: None,
            manner: crate::perform::Manner::default(),
            events: Events::new(now),
            started: now,
            armed: None,
        }
    }
}

impl Agent {
    /// Goes on with the PostgreSQL that this process has been running as another program.
    fn adopt(&mut self, postmaster: Option<i32>) {
        let Some(id) = postmaster.and_then(Pid::from_raw) else { return };
        match Postmaster::watch(id) {
            Ok(postmaster) => {
                info!(postmaster = id.as_raw_pid(), "kept PostgreSQL over a re-execution");
                self.hands.postmaster = Some(Arc::new(postmaster));
            }
            // Its death is found at the first look.
            Err(error) => warn!(error = %chain(&error), "PostgreSQL ended during a re-execution"),
        }
    }

    fn spawn_all(&mut self, server: HttpServer) -> Result<(), StartError> {
        let waker = self.outside.waker.clone();
        let mut routes = serve::routes(&self.me, &waker, &self.site.data);
        let tasks = &mut self.outside.tasks;
        if let Some(program) = &self.outside.replaceable {
            program.sweep();
            routes = serve::with_program(routes, &self.me, program, &self.folder, &waker);
            let program = Arc::clone(program);
            tasks.spawn("knowing its program", async move { program.know().await });
        }
        tasks.spawn("answering", server.serve(routes, std::future::pending()));
        let served = self.outside.config.borrow().metrics;
        if let Some(address) = served {
            let source = metrics::Source::new(waker.clone(), self.site.data.clone());
            let wanted = self.outside.metrics.subscribe();
            let serving = metrics::serve(address, self.folder.clone(), source, wanted);
            tasks.spawn("serving metrics", serving);
        }
        let signals = signals::listen(&waker).map_err(StartError::HandleSignals)?;
        tasks.spawn("signals", signals);
        reexec::release_signals().map_err(StartError::TakeOver)?;
        let looks = looks::watch(self.site.clone(), self.outside.orders.subscribe(), waker.clone());
        tasks.spawn("looking", looks);
        let known = self.specification.as_ref().map_or(0, |told| told.number);
        let platform = Arc::clone(&self.outside.platform);
        tasks.spawn("specification", specification::pull(platform, waker.clone(), known));
        let certificates = [self.folder.server_tls(), self.folder.replication_tls()]
            .map(|folder| IdentityFiles::in_folder(&folder).certificate);
        let files = self.outside.config_path.iter().cloned().chain(certificates).collect();
        tasks.spawn("files", signals::watch_files(files, waker.clone()));
        tasks.spawn("bounding PostgreSQL's log", signals::bound_log(self.site.clone()));
        tasks.spawn("fences", report_fences(Arc::clone(&self.fence), waker));
        tasks.spawn("orphans", signals::reap_orphans(self.site.data.clone()));
        Ok(())
    }

    async fn look_first(&mut self) {
        match self.hands.postmaster.clone() {
            Some(postmaster) => self.watch(postmaster),
            None if self.seen.is_writable() || self.seen.task.is_some() => self.kill_server().await,
            None => self.look_at_stopped(),
        }
        info!(instance = %self.me, incarnation = self.seen.me.incarnation, "the agent runs");
    }
}

/// Tells the loop whenever the fencing thread has killed.
async fn report_fences(fence: Arc<Fence>, waker: Waker) {
    let mut since = Time::ZERO;
    loop {
        let fenced = fence.fenced_since(since).await;
        since = Time(fenced.began.0 + 1);
        waker.wake(Wake::Fenced(fenced)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fence::{Cause, State};
    use crate::reexec::tests::{folder, handover};
    use pgherd_core::units::Epoch;

    #[test]
    fn what_cannot_encrypt_listens_on_loopback_only() {
        let version = install::Version { major: 18, minor: 4 };
        let of = |tls| Installation { bindir: "/pg/bin".into(), version, tls };
        let (loopback, open) = ("127.0.0.1".parse().unwrap(), "0.0.0.0".parse().unwrap());
        assert!(encryption(&of(Tls::Missing), loopback).is_ok());
        assert!(encryption(&of(Tls::Available), open).is_ok());
        let refused = encryption(&of(Tls::Missing), open).unwrap_err();
        expect_test::expect![[r#"the PostgreSQL in "/pg/bin" was built without OpenSSL and cannot encrypt, so it may not listen on 0.0.0.0: install one that can, or let it listen on a loopback address"#]].assert_eq(&refused.to_string());
    }

    #[test]
    fn a_deadline_is_armed_again_before_anything_else() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        std::fs::create_dir(folder.pgdata()).unwrap();
        let until = clock::now().after(Duration::from_hours(1));
        let armed = Some((Epoch(3), until));
        // None of that number can exist.
        let postmaster = Some(i32::MAX);
        let handed = Handover { postmaster, armed, ..handover() };
        reexec::hand_over(&folder, handed).unwrap();
        let (fence, taken) = guard(&folder).unwrap();
        assert!(taken.is_some());
        assert_eq!(fence.state(), State::Armed { epoch: Epoch(3), until });
    }

    #[tokio::test]
    async fn a_deadline_that_passed_meanwhile_is_carried_out() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        std::fs::create_dir(folder.pgdata()).unwrap();
        let armed = Some((Epoch(3), clock::now()));
        let handed = Handover { postmaster: Some(i32::MAX), armed, ..handover() };
        reexec::hand_over(&folder, handed).unwrap();
        let (fence, _taken) = guard(&folder).unwrap();
        let fenced = fence.fenced().await;
        assert_eq!((fenced.epoch, fenced.cause), (Epoch(3), Cause::Expired));
    }
}
