//! The record over HTTP keeps the contract that every keeper of the record keeps.
//!
//! Never with a store that survives: what is on disk is the keeper's own to prove.

#[cfg(test)]
mod coordinator {
    use pgherd_agent::coordinator::http::HttpCoordinator;
    use pgherd_agent::durable::Access;
    use pgherd_agent::http::client::{Client, Endpoint};
    use pgherd_agent::http::refusal::Refusal;
    use pgherd_agent::http::routes::Routes;
    use pgherd_agent::http::server::{Bounds, Server};
    use pgherd_api::agent::{RecordAnswer, WriteAnswer, names};
    use pgherd_core::ports::contract;
    use pgherd_core::record::{Record, Write};
    use std::sync::{Arc, Mutex};

    fn keep(record: &Arc<Mutex<Option<Record>>>) -> Routes {
        let (reads, writes) = (Arc::clone(record), Arc::clone(record));
        Routes::default()
            .call(names::RECORD_READ, move |_, (): ()| {
                let record = reads.lock().unwrap().clone();
                async { Ok::<_, Refusal>(RecordAnswer { record }) }
            })
            .call(names::RECORD_WRITE, move |_, write: Write| {
                let mut present = writes.lock().unwrap();
                let answer = if write.applies_to(present.as_ref()) {
                    *present = Some(write.record);
                    WriteAnswer::Applied
                } else {
                    WriteAnswer::Conflict { current: present.clone() }
                };
                async { Ok::<_, Refusal>(answer) }
            })
    }

    #[tokio::test]
    async fn the_record_over_http_keeps_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let server = Server::local(&path, Access::PRIVATE, Bounds::default()).unwrap();
        let coordinator = HttpCoordinator::new(Arc::new(Client::local()), Endpoint::Local { path });
        let served = server.serve(keep(&Arc::default()), std::future::pending());
        tokio::select! {
            () = served => panic!("the keeper ended"),
            () = contract::coordinator(&coordinator) => {}
        }
    }
}
