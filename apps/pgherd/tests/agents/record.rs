//! The keeper of the record for a test: in memory, behind the same HTTP as the real one.
//!
//! Never survives its test.

use pgherd_agent::http::refusal::{Kind, Refusal};
use pgherd_agent::http::routes::Routes;
use pgherd_agent::http::server::{Bounds, Server};
use pgherd_agent::tls::identity::Identity;
use pgherd_api::agent::{RecordAnswer, Specification, SpecificationAfter, WriteAnswer, names};
use pgherd_core::record::{Record, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// What the agents of one test share.
pub(crate) struct Keeper {
    pub(crate) address: SocketAddr,
    record: Arc<Mutex<Option<Record>>>,
    closed: Arc<AtomicBool>,
    specification: watch::Sender<Specification>,
}

impl Keeper {
    pub(crate) async fn start(identity: Identity, specification: Specification) -> Self {
        let any = "127.0.0.1:0".parse().unwrap();
        let server = Server::certified(any, Arc::new(identity), Bounds::default()).await.unwrap();
        let keeper = Self {
            address: server.address().unwrap(),
            record: Arc::default(),
            closed: Arc::default(),
            specification: watch::Sender::new(specification),
        };
        let routes = keeper.routes();
        #[expect(clippy::disallowed_methods, reason = "a test ends all of its tasks at once")]
        tokio::spawn(server.serve(routes, std::future::pending()));
        keeper
    }

    pub(crate) fn record(&self) -> Option<Record> {
        self.record.lock().unwrap().clone()
    }

    /// The record is neither read nor written until it is opened again.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }

    /// What is wanted from now on.
    pub(crate) fn specify(&self, change: impl FnOnce(&mut Specification)) {
        self.specification.send_modify(|specification| {
            specification.number += 1;
            change(specification);
        });
    }

    /// The cluster exists: nobody is to initialise it any more.
    pub(crate) fn specify_existence(&self) {
        if self.specification.borrow().intent.first.is_some() {
            self.specify(|told| told.intent.first = None);
        }
    }

    fn routes(&self) -> Routes {
        let (reads, writes) = (Arc::clone(&self.record), Arc::clone(&self.record));
        let (closed, also_closed) = (Arc::clone(&self.closed), Arc::clone(&self.closed));
        let told = self.specification.subscribe();
        Routes::default()
            .call(names::RECORD_READ, move |_, (): ()| {
                let answer = access(&closed).map(|()| reads.lock().unwrap().clone());
                async { answer.map(|record| RecordAnswer { record }) }
            })
            .call(names::RECORD_WRITE, move |_, write: Write| {
                let answer = access(&also_closed);
                let answer = answer.map(|()| apply(&mut writes.lock().unwrap(), write));
                async { answer }
            })
            .call(names::SPECIFICATION_READ, move |_, asked: SpecificationAfter| {
                let mut told = told.clone();
                async move {
                    let wait = Duration::from_millis(asked.wait_milliseconds);
                    let newer = told.wait_for(|now| now.number > asked.after);
                    let newer = tokio::time::timeout(wait, newer).await;
                    Ok::<_, Refusal>(newer.ok().and_then(Result::ok).map(|now| now.clone()))
                }
            })
    }
}

fn access(closed: &AtomicBool) -> Result<(), Refusal> {
    let refusal = || Refusal::new(Kind::Unavailable, "the test closed the record");
    if closed.load(Ordering::SeqCst) { Err(refusal()) } else { Ok(()) }
}

fn apply(record: &mut Option<Record>, write: Write) -> WriteAnswer {
    if write.applies_to(record.as_ref()) {
        *record = Some(write.record);
        WriteAnswer::Applied
    } else {
        WriteAnswer::Conflict { current: record.clone() }
    }
}
