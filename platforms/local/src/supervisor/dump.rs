//! Asks agents for logical dumps, and the primary's to restore from one.
//!
//! Never follows them: what comes of it is in the agent's status.

use super::Supervisor;
use super::requests::about;
use crate::control::Done;
use crate::failure::{Failure, Kind};
use pgherd_api::agent::{DumpNamed, DumpOrder, DumpReport, DumpRestoreOrder, names};
use pgherd_api::cluster::backup::BackupTarget;
use std::collections::BTreeSet;

impl Supervisor {
    pub(super) async fn dump(
        &mut self,
        order: DumpOrder,
        target: Option<BackupTarget>,
        instance: Option<&str>,
    ) -> Result<Done, Failure> {
        self.refuse_without_archive()?;
        let (name, warnings) = self.taker(target, instance).await?;
        let _begun: Option<DumpReport> = self.ask_agent(&name, names::DUMP_BEGIN, &order).await?;
        Ok(Done { warnings, ..about(BTreeSet::from([name])) })
    }

    pub(super) async fn restore_dump(&mut self, order: DumpRestoreOrder) -> Result<Done, Failure> {
        self.refuse_without_archive()?;
        let holder = self.record.as_ref().map(|record| record.holder.instance.clone());
        let Some(primary) = holder else {
            return Err(Failure::new(Kind::Refused, "nobody has been primary yet"));
        };
        let _begun: Option<DumpReport> =
            self.ask_agent(&primary, names::DUMP_RESTORE, &order).await?;
        Ok(about(BTreeSet::from([primary])))
    }

    pub(super) async fn cancel_dump(
        &mut self,
        instance: &str,
        name: String,
    ) -> Result<Done, Failure> {
        let instance = self.find(instance)?;
        let named = DumpNamed { name: Some(name) };
        let _cancelled: Option<DumpReport> =
            self.ask_agent(&instance, names::DUMP_CANCEL, &named).await?;
        Ok(about(BTreeSet::from([instance])))
    }
}
