//! Bounds the memory of a backup or a restore: whoever wants a buffer takes its bytes first.
//!
//! Never counts buffers: a few large ones need as much as many small ones.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[derive(Debug, Clone)]
pub(crate) struct Budget {
    free: Arc<Semaphore>,
    all: usize,
}

/// Bytes that were taken; they are free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    permit: Option<OwnedSemaphorePermit>,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        let all = bytes.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(all)), all }
    }

    /// Waits until so many bytes are free. What is larger than all of the budget waits for all.
    pub(crate) async fn take(&self, bytes: usize) -> Taken {
        let bytes = u32::try_from(bytes.min(self.all)).unwrap_or(u32::MAX);
        // Nobody closes it.
        Taken { permit: Arc::clone(&self.free).acquire_many_owned(bytes).await.ok() }
    }
}

impl Taken {
    /// Gives back what is more than this.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        if let Some(permit) = &mut self.permit {
            let surplus = permit.num_permits().saturating_sub(bytes);
            drop(permit.split(surplus));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(flavor = "current_thread")]
    async fn memory_is_there_again_when_it_is_given_back() {
        let budget = Budget::new(100);
        let mut first = budget.take(80).await;
        let short = Duration::from_millis(10);
        assert!(tokio::time::timeout(short, budget.take(30)).await.is_err());
        first.shrink(50);
        let second = budget.take(30).await;
        drop((first, second));
        let _all = budget.take(1000).await;
    }
}
