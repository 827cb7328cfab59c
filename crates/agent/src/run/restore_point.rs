//! Makes a restore point when somebody asks for one.
//!
//! Never on a standby, whose log is another one's.

use super::Agent;
use crate::chain::chain;
use crate::http::refusal::{Kind, Refusal};
use crate::postgres::session::{Session, SessionError};
use crate::postgres::site::Site;
use pgherd_api::agent::{RestorePoint, RestorePointOrder};
use pgherd_core::seen::Server;
use pgherd_core::units::Lsn;
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::info;

/// A record of the log, on a busy disk.
const WITHIN: Duration = Duration::from_secs(10);

impl Agent {
    pub(super) fn restore_point_asked(
        &mut self,
        order: RestorePointOrder,
        answer: oneshot::Sender<Result<RestorePoint, Refusal>>,
    ) {
        let refused = match (RestorePointOrder::wrong(&order.name), &self.seen.server) {
            (Some(why), _) => Some(Refusal::new(Kind::Malformed, why)),
            (None, Server::Primary(_)) => None,
            (None, _) => Some(Refusal::new(Kind::Conflict, "this is not the primary")),
        };
        if let Some(refusal) = refused {
            let _gone = answer.send(Err(refusal)).is_err();
            return;
        }
        let site = self.site.clone();
        self.outside.tasks.spawn_at_most(2, "making a restore point", async move {
            let made = make(&site, order.name).await;
            let made = made.map_err(|error| Refusal::new(Kind::Failed, chain(&error).to_string()));
            let _gone = answer.send(made).is_err();
        });
    }
}

#[derive(Debug, thiserror::Error)]
enum MakeError {
    #[error("asking PostgreSQL for a restore point")]
    Ask(#[source] SessionError),
    #[error("PostgreSQL says that the restore point is at {said:?}, which is no position")]
    Understand { said: String },
}

async fn make(site: &Site, name: String) -> Result<RestorePoint, MakeError> {
    let mut session = Session::open(site, "postgres", WITHIN).await.map_err(MakeError::Ask)?;
    let quoted = name.replace('\'', "''");
    // A backslash in the name is one.
    let plain = "set standard_conforming_strings = on";
    session.run(plain, WITHIN).await.map_err(MakeError::Ask)?;
    let made = format!(
        "select lsn::text || ' ' || pg_walfile_name(lsn) \
         from pg_create_restore_point('{quoted}') as lsn"
    );
    let said = session.value(&made, WITHIN).await.map_err(MakeError::Ask)?;
    let known = said.split_once(' ').and_then(|(lsn, wal)| Some((Lsn::parse(lsn).ok()?, wal)));
    let Some((lsn, wal)) = known else { return Err(MakeError::Understand { said }) };
    let point = RestorePoint { name, lsn, wal: wal.to_owned() };
    // So that it can be gone back to soon.
    session.run("select pg_switch_wal()", WITHIN).await.map_err(MakeError::Ask)?;
    info!(name = point.name, lsn = %point.lsn, "a restore point");
    Ok(point)
}
