//! Lets dumps know of what server they are.
//!
//! Never waits for one.

use super::Agent;
use crate::dump::{Archive, Asked, Subject};
use crate::http::refusal::Refusal;
use pgherd_api::agent::DumpReport;
use tokio::sync::oneshot;

impl Agent {
    pub(super) fn tend_dumps(&mut self) {
        let archive = self.dump_archive();
        self.dumps.clear_up(archive.as_ref(), &self.outside.waker);
        self.dumps.keep();
    }

    pub(super) fn dump_asked(
        &mut self,
        asked: Asked,
        answer: oneshot::Sender<Result<Option<DumpReport>, Refusal>>,
    ) {
        let subject = self.subject().map(|subject| Subject {
            role: subject.role,
            timeline: subject.timeline,
            system: subject.system,
        });
        let (archive, waker) = (self.dump_archive(), self.outside.waker.clone());
        let answered = self.dumps.answer(asked, (archive.as_ref(), subject), &waker);
        // Who has gone asks again.
        let _gone = answer.send(answered).is_err();
    }

    fn dump_archive(&self) -> Option<Archive> {
        let spec = self.archive_spec()?;
        let owner = self.specification.as_ref()?.postgres.initdb.owner.clone();
        Some(Archive { spec, owner })
    }
}
