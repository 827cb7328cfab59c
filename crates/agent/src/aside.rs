//! Runs long work on a thread and a runtime of its own.
//!
//! Never holds up the agent's loop, whatever the work does.

use std::io;

/// Threads that read the disk for a store that is a folder.
const BLOCKING: usize = 8;
const STACK_BYTES: usize = 512 * 1024;

#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("starting the runtime of a thread")]
    Runtime(#[source] io::Error),
    #[error("starting a thread")]
    Thread(#[source] io::Error),
}

/// The thread ends with the work.
pub(crate) fn on_a_thread<Work: Future<Output = ()>>(
    name: &str,
    work: impl FnOnce() -> Work + Send + 'static,
) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING)
        .thread_stack_size(STACK_BYTES)
        .build()
        .map_err(StartError::Runtime)?;
    let thread = std::thread::Builder::new().name(name.to_owned());
    let _detached = thread.spawn(move || runtime.block_on(work())).map_err(StartError::Thread)?;
    Ok(())
}
