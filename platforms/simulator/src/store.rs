//! The keeper of the record: compare-and-swap, exactly as the real ones promise it.
//!
//! Never loses or invents a write; delays, losses and outages happen on the way to it.

use pgherd_core::ports::{Coordinator, CoordinatorError, Written};
use pgherd_core::record::{Record, Revision, Write};
use std::collections::VecDeque;
use std::future::{Future, ready};
use std::sync::{Mutex, PoisonError};

/// How many past versions a snapshot can be taken from.
const PAST: usize = 64;

#[derive(Debug, Clone, Default)]
pub struct Store {
    current: Option<Record>,
    past: VecDeque<Record>,
}

impl Store {
    pub fn current(&self) -> Option<&Record> {
        self.current.as_ref()
    }

    pub fn write(&mut self, write: &Write) -> Written {
        if !write.applies_to(self.current.as_ref()) {
            return Written::Conflict { current: self.current.clone() };
        }
        self.replace(Some(write.record.clone()));
        Written::Applied
    }

    /// Somebody deletes the record.
    pub fn delete(&mut self) {
        self.replace(None);
    }

    /// Somebody restores the store from a snapshot that is `back` writes old.
    pub fn restore(&mut self, back: usize) {
        let index = self.past.len().saturating_sub(back);
        if let Some(old) = self.past.get(index).cloned() {
            self.replace(Some(old));
        }
    }

    /// Somebody rewrites the record without changing what it says.
    pub fn touch(&mut self) {
        if let Some(mut record) = self.current.clone() {
            record.revision = Revision(record.revision.0 + 1);
            self.replace(Some(record));
        }
    }

    fn replace(&mut self, record: Option<Record>) {
        if let Some(old) = std::mem::replace(&mut self.current, record) {
            self.past.push_back(old);
        }
        if self.past.len() > PAST {
            self.past.pop_front();
        }
    }
}

/// The store behind the port that the agents use, without any fault in between.
#[derive(Debug, Default)]
pub struct DirectStore(Mutex<Store>);

impl DirectStore {
    fn with<T>(&self, act: impl FnOnce(&mut Store) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Coordinator for DirectStore {
    fn read(&self) -> impl Future<Output = Result<Option<Record>, CoordinatorError>> + Send {
        ready(Ok(self.with(|store| store.current().cloned())))
    }

    fn write(
        &self,
        write: &Write,
    ) -> impl Future<Output = Result<Written, CoordinatorError>> + Send {
        ready(Ok(self.with(|store| store.write(write))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_core::ports::contract;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn it_keeps_the_contract() {
        let store = DirectStore::default();
        let suite = pin!(contract::coordinator(&store));
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(suite.poll(&mut context), Poll::Ready(()), "the store never waits");
    }

    #[test]
    fn a_snapshot_brings_an_old_version_back() {
        let mut store = Store::default();
        let first = contract::sample(1);
        store.write(&Write::over(None, first.clone()));
        store.touch();
        store.touch();
        store.restore(2);
        assert_eq!(store.current(), Some(&first));
        store.delete();
        assert_eq!(store.current(), None);
    }
}
