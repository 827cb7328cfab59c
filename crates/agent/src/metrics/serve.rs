//! Answers whoever scrapes, as fast as memory allows.
//!
//! Never waits for the agent's loop or a disk longer than a moment, never lets scrapes pile up, and
//! never ends the agent: without a port there are no metrics, and it is tried again.

use super::measure::measure;
use super::text::{KIND, text};
use super::{Facts, PATH};
use crate::archive::{Marks, marks};
use crate::chain::chain;
use crate::config::Folder;
use crate::http::refusal::{Kind, Refusal};
use crate::http::routes::{Page, Routes};
use crate::http::server::{Bounds, Server, ServerError};
use crate::process::clock;
use crate::tls::certificate::Certificate;
use crate::tls::files::IdentityFiles;
use crate::tls::identity::IdentityError;
use crate::wake::{Wake, Waker};
use jiff::Timestamp;
use pgherd_api::agent::{MetricsSpec, MetricsWay};
use pgherd_core::units::Time;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tracing::{info, warn};

/// How long the loop is waited for; then what it said last is told, with its age.
const LOOP: Duration = Duration::from_millis(200);
/// The same of the disk.
const DISK: Duration = Duration::from_millis(100);
/// Whoever asks sooner again is told the same: scrapes do not keep the loop busy.
const FRESH: Duration = Duration::from_millis(500);
/// Before a port that could not be had is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// Several Prometheus, and people who look.
const CONNECTIONS: usize = 16;

#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("opening the certificate that PostgreSQL shows its clients")]
    OpenCertificate(#[source] IdentityError),
    #[error("waiting for whoever scrapes")]
    Listen(#[source] ServerError),
}

/// Where what is told comes from.
pub(crate) struct Source {
    waker: Waker,
    /// PostgreSQL's data folder.
    data: PathBuf,
    last: Mutex<Last>,
    /// One look at the disk at a time: one that hangs is not joined by others.
    looking: Arc<Semaphore>,
}

#[derive(Default)]
struct Last {
    facts: Option<(Time, Arc<Facts>)>,
    marks: Option<Marks>,
}

/// Answers on `address` in the way that is wanted, as soon as that is known.
pub(crate) async fn serve(
    address: SocketAddr,
    folder: Folder,
    source: Source,
    mut wanted: watch::Receiver<Option<MetricsSpec>>,
) {
    let source = Arc::new(source);
    let mut told = false;
    loop {
        let present = *wanted.borrow_and_update();
        let is_over = match present {
            None => wanted.changed().await.is_err(),
            Some(MetricsSpec { way }) => match open(address, way, &folder).await {
                Ok(server) => {
                    info!(%address, ?way, "metrics are served");
                    told = false;
                    let mut is_over = false;
                    let stop = async { is_over = wanted.changed().await.is_err() };
                    server.serve(routes(&source), stop).await;
                    is_over
                }
                Err(error) => {
                    if !told {
                        warn!(error = %chain(&error), "there are no metrics until that works");
                    }
                    told = true;
                    timeout(AGAIN, wanted.changed()).await.is_ok_and(|changed| changed.is_err())
                }
            },
        };
        if is_over {
            return;
        }
    }
}

async fn open(address: SocketAddr, way: MetricsWay, folder: &Folder) -> Result<Server, OpenError> {
    let bounds = Bounds {
        body: 0,
        answer: Duration::from_secs(2),
        connections: CONNECTIONS,
        ..Bounds::default()
    };
    let server = match way {
        MetricsWay::Plain => Server::plain(address, bounds).await,
        MetricsWay::Encrypted => {
            let files = IdentityFiles::in_folder(&folder.server_tls());
            let certificate = Certificate::open(files).map_err(OpenError::OpenCertificate)?;
            Server::open_as(address, certificate, bounds).await
        }
    };
    server.map_err(OpenError::Listen)
}

fn routes(source: &Arc<Source>) -> Routes {
    let source = Arc::clone(source);
    Routes::default().page(PATH, move || {
        let source = Arc::clone(&source);
        async move { source.page().await }
    })
}

impl Source {
    pub(crate) fn new(waker: Waker, data: PathBuf) -> Self {
        let looking = Arc::new(Semaphore::new(1));
        Self { waker, data, last: Mutex::default(), looking }
    }

    async fn page(&self) -> Result<Page, Refusal> {
        let (facts, marks) = tokio::join!(self.facts(), self.marks());
        let facts = facts.ok_or_else(|| {
            let why = "the agent does not answer yet: ask again later";
            Refusal::new(Kind::Unavailable, why)
        })?;
        let text = text(measure(&facts, marks, Timestamp::now()));
        let text = text.map_err(|_| Refusal::new(Kind::Failed, "metrics cannot be written"))?;
        Ok(Page { kind: KIND, text })
    }

    /// What the loop says, or has said last.
    async fn facts(&self) -> Option<Arc<Facts>> {
        let now = clock::now();
        let last = self.remembered(|last| last.facts.clone());
        if let Some((at, facts)) = &last
            && now.since(*at) < FRESH
        {
            return Some(Arc::clone(facts));
        }
        let asked = self.waker.ask(|answer| Wake::MetricsAsked { answer });
        match timeout(LOOP, asked).await {
            Ok(Ok(facts)) => {
                let facts = Arc::<Facts>::from(facts);
                self.remembered(|last| last.facts = Some((now, Arc::clone(&facts))));
                Some(facts)
            }
            Ok(Err(_)) | Err(_) => last.map(|(_, facts)| facts),
        }
    }

    /// What the disk says, or has said last.
    async fn marks(&self) -> Option<Marks> {
        if let Ok(permit) = Arc::clone(&self.looking).try_acquire_owned() {
            let data = self.data.clone();
            let look = tokio::task::spawn_blocking(move || {
                let marks = marks(&data);
                drop(permit);
                marks
            });
            if let Ok(Ok(marks)) = timeout(DISK, look).await {
                self.remembered(|last| last.marks = marks.ok());
            }
        }
        self.remembered(|last| last.marks)
    }

    fn remembered<T>(&self, use_it: impl FnOnce(&mut Last) -> T) -> T {
        use_it(&mut self.last.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
