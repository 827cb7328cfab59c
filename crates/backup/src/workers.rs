//! Runs work that needs a processor on threads of its own, with lower priority than PostgreSQL's.
//!
//! Never bounds what waits for them: whoever hands in work holds memory for it first.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use tokio::sync::oneshot;

type Job<S> = Box<dyn FnOnce(&mut S) + Send>;

/// Threads that each keep a state from one job to the next. They end when this is dropped and
/// what they have begun is done.
pub(crate) struct Workers<S> {
    jobs: Sender<Job<S>>,
}

/// A worker ended before its work was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a worker died: this is an error in the program")]
pub struct WorkerLost;

impl<S: 'static> Workers<S> {
    /// One thread for each of these states.
    pub(crate) fn start(states: Vec<S>) -> std::io::Result<Self>
    where
        S: Send,
    {
        let (jobs, waiting) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for state in states {
            let waiting = Arc::clone(&waiting);
            thread::Builder::new()
                .name("backup-worker".to_owned())
                .spawn(move || work(state, &waiting))?;
        }
        Ok(Self { jobs })
    }

    /// What the job says, once a worker had time for it.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Answer<T> {
        let (done, answer) = oneshot::channel();
        let job: Job<S> = Box::new(move |state| {
            // Nobody may wait any more.
            let _abandoned = done.send(job(state));
        });
        // Without a worker left the job is dropped, and its answer says so.
        let _lost = self.jobs.send(job);
        Answer(answer)
    }
}

/// What a job will say.
pub(crate) struct Answer<T>(oneshot::Receiver<T>);

impl<T> Answer<T> {
    pub(crate) async fn get(self) -> Result<T, WorkerLost> {
        self.0.await.map_err(|_| WorkerLost)
    }
}

fn work<S>(mut state: S, waiting: &Mutex<Receiver<Job<S>>>) {
    give_way();
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        job(&mut state);
    }
}

/// PostgreSQL comes first. Refused permission changes nothing but that.
fn give_way() {
    const NICE: i32 = 10;
    let this_thread = Some(rustix::thread::gettid());
    if let Err(error) = rustix::process::setpriority_process(this_thread, NICE) {
        tracing::debug!(%error, "the priority of a worker was not lowered");
    }
}

/// As many as there are processors for this process.
pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn work_is_done_and_a_lost_worker_is_told() {
        let workers = Workers::start(vec![0, 0]).unwrap();
        let answers: Vec<_> = (0..100).map(|n| workers.run(move |_| n * 2)).collect();
        for (n, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.get().await, Ok(n * 2));
        }
        let none = Workers::start(Vec::<()>::new()).unwrap();
        assert_eq!(none.run(|()| ()).get().await, Err(WorkerLost));
    }
}
