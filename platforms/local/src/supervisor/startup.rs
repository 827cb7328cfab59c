//! Puts a supervisor together from what is on disk and from what lives.
//!
//! Never starts anything of the cluster: it only finds out what there is.

use super::network::NetworkProcess;
use super::schedule::Keeper;
use super::{Doors, Leave, Supervisor, Wake, tell_of_writes};
use crate::claims::Claims;
use crate::control::{Answer, ROUTE, Request};
use crate::credentials::{Credentials, CredentialsError};
use crate::failure::{Failure, Kind};
use crate::folder::{ClusterFolder, FolderError, Home};
use crate::manifest::{self, Manifest};
use crate::ports::{self, Ports, PortsError};
use crate::registration::{self, Lock, Registration, RegistrationError};
use crate::schedule::Book;
use crate::service::{self, Desk};
use crate::store::{Store, StoreError};
use pgherd_agent::durable::{self, Access, DurableError};
use pgherd_agent::http::client::Client;
use pgherd_agent::http::refusal::{Kind as RefusalKind, Refusal};
use pgherd_agent::http::routes::Routes;
use pgherd_agent::http::server::{Bounds, Server, ServerError};
use pgherd_agent::postgres::install::{self, Tls};
use pgherd_agent::process::tree::{self, TreeError};
use pgherd_agent::tasks::Tasks;
use pgherd_agent::tls::files::IdentityFiles;
use pgherd_agent::tls::identity::{Identity, IdentityError};
use pgherd_agent::tls::peer::Peer;
use pgherd_api::agent::Specification;
use pgherd_core::names::ClusterName;
use pgherd_core::wishes::{Shall, Wishes};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::warn;

pub(super) const WISHES: &str = "wishes";
pub(super) const SPECIFICATION: &str = "specification";
pub(super) const SCHEDULES: &str = "schedules";

/// Blocks that another cluster was faster to claim.
const TRIES: u32 = 10;

#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("finding the cluster's folder")]
    FindFolder { source: FolderError },
    #[error("reading what is known of the cluster")]
    Register { source: RegistrationError },
    #[error("opening the cluster's store")]
    OpenStore { source: StoreError },
    #[error("reading the cluster's manifest")]
    ReadManifest { source: DurableError },
    #[error("removing what an interrupted write left")]
    Sweep { source: DurableError },
    #[error("choosing ports")]
    ChoosePorts { source: PortsError },
    #[error("making passwords and certificates")]
    Equip { source: CredentialsError },
    #[error("using a certificate")]
    Identify { source: IdentityError },
    #[error("becoming the parent of orphans")]
    AdoptOrphans { source: TreeError },
    #[error("answering on a socket")]
    Listen { source: ServerError },
}

fn failed(error: &(dyn Error + 'static)) -> Failure {
    Failure::from_error(Kind::Failed, error)
}

pub(super) async fn start(
    home: &Home,
    cluster: &ClusterName,
    wakes: mpsc::Sender<Wake>,
) -> Result<Supervisor, Failure> {
    let folder = home.cluster(cluster);
    let folder = folder.map_err(|source| failed(&StartError::FindFolder { source }))?;
    let (lock, mut registration) = take(&folder)?;
    let begin = || -> Result<_, StartError> {
        tree::adopt_orphans().map_err(|source| StartError::AdoptOrphans { source })?;
        durable::sweep(folder.root()).map_err(|source| StartError::Sweep { source })?;
        let store = Store::open(&folder.store());
        let store = store.map_err(|source| StartError::OpenStore { source })?;
        let credentials = Credentials::open(&folder, SystemTime::now())
            .map_err(|source| StartError::Equip { source })?;
        Ok((store, credentials))
    };
    let (store, credentials) = begin().map_err(|error| failed(&error))?;
    let mut kept = Kept::read(&folder, &store).map_err(|error| failed(&error))?;
    kept.wishes.exists |= kept.record.is_some();
    let client = Arc::new(Client::certified(identity(credentials.supervisor())?));
    let (schedules, keeper) = Keeper::new(Arc::clone(&client), store.clone(), kept.book);
    let mut supervisor = Supervisor {
        client,
        schedules,
        wishes: kept.wishes,
        manifest: kept.manifest,
        specification: watch::channel(kept.specification).0,
        record: kept.record,
        instances: BTreeMap::new(),
        network: NetworkProcess::new(&folder),
        cuts: BTreeSet::new(),
        wakes,
        tasks: Tasks::default(),
        renewed: Instant::now(),
        leave: Leave::No,
        doors: None,
        credentials: Arc::new(credentials),
        // One that is not found is told of by its agents; clients insist on encryption meanwhile.
        tls: install::find(Some(&registration.bindir)).map_or_else(|_| Tls::default(), |it| it.tls),
        registration: registration.clone(),
        folder: folder.clone(),
        store,
        lock,
        claims: None,
    };
    supervisor.find_the_living().await;
    if supervisor.is_down() {
        let (ports, claims) = settle(home, &supervisor.registration)?;
        registration.ports = ports;
        supervisor.register(registration)?;
        supervisor.claims = Some(claims);
    } else {
        // They are in use, whoever has claimed them.
        supervisor.claims = Claims::take(supervisor.registration.ports).ok();
    }
    supervisor.publish()?;
    supervisor.tasks.spawn("keep to schedules", keeper.run());
    supervisor.open_doors().await?;
    Ok(supervisor)
}

/// The lock and what is known of the cluster, unless another supervisor has it.
fn take(folder: &ClusterFolder) -> Result<(Lock, Registration), Failure> {
    let registered = |source| failed(&StartError::Register { source });
    let name = folder.name();
    let missing =
        || Failure::new(Kind::NotFound, format!("cluster {name} not found")).fix("pgherd local up");
    if !folder.registration().exists() {
        return Err(missing());
    }
    let busy = || {
        Failure::new(Kind::Refused, format!("cluster {name} has a supervisor already"))
            .because("two of them would each start the instances")
            .fix("pgherd local status")
    };
    let lock = Lock::take(folder).map_err(registered)?.ok_or_else(busy)?;
    let registration = Registration::load(folder).map_err(registered)?.ok_or_else(missing)?;
    Ok((lock, registration))
}

/// What an earlier supervisor left on disk.
struct Kept {
    wishes: Wishes,
    manifest: Option<Manifest>,
    specification: Option<Specification>,
    record: Option<pgherd_core::record::Record>,
    book: Book,
}

impl Kept {
    fn read(folder: &ClusterFolder, store: &Store) -> Result<Self, StartError> {
        let stored = |source| StartError::OpenStore { source };
        let text = durable::read(&folder.manifest())
            .map_err(|source| StartError::ReadManifest { source })?;
        let text = text.map(|content| String::from_utf8_lossy(&content).into_owned());
        let wishes: Wishes = store.document(WISHES).map_err(stored)?.unwrap_or_default();
        let manifest = text.and_then(|text| match manifest::kept(&text, wishes.count) {
            Ok(manifest) => Some(manifest.clone().with_key_files().unwrap_or_else(|error| {
                // What the instances were given of it still counts.
                warn!(%error, "the key of the repository cannot be read");
                manifest
            })),
            Err(error) => {
                // It was accepted once; a newer one has to say what is meant.
                warn!(%error, "the kept manifest is not understood any more");
                None
            }
        });
        Ok(Self {
            wishes,
            manifest,
            specification: store.document(SPECIFICATION).map_err(stored)?,
            record: store.record().map_err(stored)?,
            book: store.document(SCHEDULES).map_err(stored)?.unwrap_or_default(),
        })
    }
}

/// The ports to come up with, claimed.
fn settle(home: &Home, registration: &Registration) -> Result<(Ports, Claims), Failure> {
    let mut tries = TRIES;
    loop {
        let ports = move_ports(home, registration).map_err(|error| failed(&error))?;
        match Claims::take(ports) {
            Ok(claims) => return Ok((ports, claims)),
            // Somebody was faster; there are other blocks.
            Err(PortsError::Claimed { port }) if port == ports.record() && tries > 0 => tries -= 1,
            Err(error) => return Err(Failure::from_error(Kind::Refused, &error)),
        }
    }
}

/// The ports to come up with: those it had if they are free still, except that the ones nobody
/// sees may be others.
fn move_ports(home: &Home, registration: &Registration) -> Result<Ports, StartError> {
    let kept = registration.ports;
    if kept.hidden().all(ports::is_free) {
        return Ok(kept);
    }
    let others = registration::other_ports(home, &registration.cluster);
    ports::choose_block(kept.base(), &others, ports::is_free)
        .map_err(|source| StartError::ChoosePorts { source })
}

fn identity(files: IdentityFiles) -> Result<Arc<Identity>, Failure> {
    let opened = Identity::open(files);
    opened.map(Arc::new).map_err(|source| failed(&StartError::Identify { source }))
}

impl Supervisor {
    async fn find_the_living(&mut self) {
        if let Some(network) = self.network.find(&self.wakes).await {
            self.cuts = network.cuts;
        }
        self.look_at_processes();
    }

    pub(super) fn register(&mut self, registration: Registration) -> Result<(), Failure> {
        if registration != self.registration {
            let saved = registration.save(&self.folder, &self.lock);
            saved.map_err(|source| failed(&StartError::Register { source }))?;
            self.registration = registration;
        }
        Ok(())
    }

    /// Begins to answer agents and commands.
    async fn open_doors(&mut self) -> Result<(), Failure> {
        let listen = |source| failed(&StartError::Listen { source });
        let written = Arc::new(Notify::new());
        let desk = Desk {
            cluster: self.folder.name().clone(),
            store: self.store.clone(),
            specification: self.specification.subscribe(),
            written: Arc::clone(&written),
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.registration.ports.record()));
        let record = identity(self.credentials.record())?;
        let keeper = Server::certified(address, record, Bounds::default()).await.map_err(listen)?;
        let routes = service::routes(&desk);
        self.tasks.spawn("keep the record", keeper.serve(routes, std::future::pending()));
        self.tasks.spawn("tell of writes", tell_of_writes(written, self.wakes.clone()));

        let bounds = Bounds { answer: Duration::from_secs(20), ..Bounds::default() };
        let commands = Server::local(&self.folder.socket(), Access::PRIVATE, bounds);
        let routes = commands_routes(self.wakes.clone());
        let commands = commands.map_err(listen)?;
        let (close, closing) = oneshot::channel();
        let (ended, closed) = oneshot::channel();
        self.tasks.spawn("answer commands", async move {
            let closing = async { closing.await.unwrap_or(()) };
            commands.serve(routes, closing).await;
            // A supervisor that is gone waits for nothing.
            let _gone = ended.send(()).is_err();
        });
        self.doors = Some(Doors { close, closed });
        Ok(())
    }

    pub(super) fn shall(&self) -> Shall {
        self.registration.shall
    }
}

fn commands_routes(wakes: mpsc::Sender<Wake>) -> Routes {
    Routes::default().call(ROUTE, move |_: Peer, request: Request| {
        let wakes = wakes.clone();
        async move {
            let gone = || Refusal::new(RefusalKind::Unavailable, "the supervisor is ending");
            let (answer, answered) = oneshot::channel();
            wakes.send(Wake::Asked { request, answer }).await.map_err(|_| gone())?;
            answered.await.map_err(|_| gone()) as Result<Answer, Refusal>
        }
    })
}
