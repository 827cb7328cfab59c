//! The only place where concurrent work starts: named, counted, and ended with its owner.
//!
//! Never lets a task outlive the set it was started in.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use tokio::task::{AbortHandle, Id, JoinSet};
use tracing::error;

/// What a task is called: what it does, and to whom if that matters.
pub type Name = Cow<'static, str>;

/// Running tasks by name. Dropping it ends them all.
#[derive(Default)]
pub struct Tasks {
    running: JoinSet<()>,
    names: BTreeMap<Id, Name>,
}

impl Tasks {
    pub fn spawn(
        &mut self,
        name: impl Into<Name>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> AbortHandle {
        let handle = self.running.spawn(work);
        self.names.insert(handle.id(), name.into());
        handle
    }

    /// Starts it unless `most` of that name run already: work that is late is not piled up.
    pub fn spawn_at_most(
        &mut self,
        most: usize,
        name: impl Into<Name>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> bool {
        let name = name.into();
        let has_room = self.names.values().filter(|other| **other == name).count() < most;
        if has_room {
            let _running = self.spawn(name, work);
        }
        has_room
    }

    /// Forgets those that have ended, and names those that broke.
    pub fn forget_ended(&mut self) -> Vec<Name> {
        let mut broke = Vec::new();
        while let Some(ended) = self.running.try_join_next_with_id() {
            let (id, broken) = match ended {
                Ok((id, ())) => (id, None),
                Err(error) => (error.id(), error.is_panic().then_some(error)),
            };
            let name = self.names.remove(&id).unwrap_or_default();
            if let Some(error) = broken {
                error!(task = %name, error = %error, "a task broke");
                broke.push(name);
            }
        }
        broke
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn work_that_is_late_is_not_piled_up() {
        let mut tasks = Tasks::default();
        let gate = Arc::new(Semaphore::new(0));
        let wait = || {
            let gate = Arc::clone(&gate);
            async move { drop(gate.acquire().await) }
        };
        assert!(tasks.spawn_at_most(2, "ask", wait()));
        assert!(tasks.spawn_at_most(2, "ask", wait()));
        assert!(!tasks.spawn_at_most(2, "ask", wait()));
        assert!(tasks.spawn_at_most(2, "tell", wait()));
        gate.close();
        while !tasks.names.is_empty() {
            tokio::task::yield_now().await;
            tasks.forget_ended();
        }
        assert!(tasks.spawn_at_most(2, "ask", wait()));
    }

    #[tokio::test]
    async fn tasks_end_with_their_owner() {
        let mut tasks = Tasks::default();
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        tasks.spawn("hold", async move {
            std::future::pending::<()>().await;
            drop(inside);
        });
        tokio::task::yield_now().await;
        drop(tasks);
        while Arc::strong_count(&held) > 1 {
            tokio::task::yield_now().await;
        }
    }
}
