//! Asks peers and the keeper of the record, without waiting for the answer.
//!
//! Never lets questions to somebody who does not answer pile up: an unanswered question is the
//! same as none.

use super::Agent;
use crate::http::client::Endpoint;
use crate::process::clock;
use crate::tls::holder::Holder;
use crate::wake::Wake;
use pgherd_api::agent::names;
use pgherd_core::message::{Reply, Request};
use pgherd_core::names::InstanceName;
use pgherd_core::notice::Event;
use pgherd_core::ports::Written;
use pgherd_core::record::Write;
use pgherd_core::seen::Change;
use std::sync::Arc;
use std::time::Duration;
use tracing::debug;

/// A reply that comes later is worth nothing: a grant counts from the sending.
const REPLY: Duration = Duration::from_secs(1);
/// Unanswered questions at one time, to each peer and to the keeper of the record.
const TO_PEER: usize = 8;
const TO_KEEPER: usize = 4;

impl Agent {
    pub(super) fn send(&mut self, to: InstanceName, request: Request) {
        self.see(Event::Sent { to: to.clone(), request: request.clone() });
        let config = Arc::clone(&self.outside.config.borrow());
        let Some(address) = config.peers.get(&to).map(|peer| peer.agent) else {
            return debug!(%to, "no address is known");
        };
        let endpoint = Endpoint::Certified { holder: Holder::Instance(to.clone()), address };
        let (client, waker) = (Arc::clone(&self.outside.client), self.outside.waker.clone());
        let name = format!("message to {to}");
        let ask = async move {
            let reply: Result<Reply, _> =
                client.call(&endpoint, names::MESSAGE, &request, REPLY).await;
            match reply {
                Ok(reply) => waker.wake(Wake::Replied { from: to, reply }).await,
                Err(error) => debug!(%to, %error, "no reply"),
            }
        };
        self.outside.tasks.spawn_at_most(TO_PEER, name, ask);
    }

    pub(super) fn read_record(&mut self) {
        self.see(Event::ReadSent);
        let (sent, platform) = (clock::now(), Arc::clone(&self.outside.platform));
        let waker = self.outside.waker.clone();
        let read = async move {
            match platform.read_record().await {
                Ok(record) => waker.wake(Wake::RecordRead { sent, record }).await,
                Err(error) => debug!(%error, "the record was not read"),
            }
        };
        self.outside.tasks.spawn_at_most(TO_KEEPER, "reading the record", read);
    }

    pub(super) fn write_record(&mut self, write: Write, change: Change) {
        let sent = clock::now();
        self.see(Event::WriteSent { write: write.clone(), change });
        let (platform, waker) = (Arc::clone(&self.outside.platform), self.outside.waker.clone());
        let ask = async move {
            let wanted = write.record.clone();
            let record = match platform.write_record(write).await {
                Ok(Written::Applied) => Some(wanted),
                Ok(Written::Conflict { current }) => current,
                // Its fate is learnt by reading.
                Err(error) => return debug!(%error, ?change, "the record was perhaps not written"),
            };
            waker.wake(Wake::RecordRead { sent, record }).await;
        };
        self.outside.tasks.spawn_at_most(TO_KEEPER, "writing the record", ask);
    }
}
