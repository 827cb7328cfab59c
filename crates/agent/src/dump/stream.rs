//! Stores a database in the custom format while it is dumped.
//!
//! Never lays it down on a disk of this machine.

use super::course::{Course, ENDING, WorkError};
use crate::process::flow::Flow;
use crate::process::tool::{Tool, ToolError};
use pgherd_backup::dump::{DumpFile, DumpedFile, Taking, Upload};

/// Runs it until it is stored, or there is a hindrance.
pub(super) async fn store(
    course: &Course,
    (taking, file): (&Taking, DumpFile),
    (tool, database): (&Tool, &str),
    hindrance: impl Future<Output = WorkError>,
) -> Result<DumpedFile, WorkError> {
    let failed = |source: ToolError| WorkError::run("pg_dump", database, source);
    let mut upload = taking.upload(file).await?;
    let mut flow = match Flow::start(tool) {
        Ok(flow) => flow,
        Err(error) => {
            upload.abort().await;
            return Err(failed(error));
        }
    };
    let carried = tokio::select! {
        biased;
        hindered = hindrance => Err(hindered),
        carried = carry(course, &mut flow, &mut upload, &failed) => carried,
    };
    let ended = match carried {
        Ok(()) => end(flow).await.map_err(failed),
        Err(error) => {
            // The first error counts.
            let _second = flow.kill().await;
            Err(error)
        }
    };
    match ended {
        Ok(()) => Ok(upload.finish().await?),
        Err(error) => {
            upload.abort().await;
            Err(error)
        }
    }
}

async fn carry(
    course: &Course,
    flow: &mut Flow,
    upload: &mut Upload,
    failed: &impl Fn(ToolError) -> WorkError,
) -> Result<(), WorkError> {
    while let Some(piece) = flow.read().await.map_err(failed)? {
        let length = piece.len();
        upload.write(piece).await?;
        course.moved(length);
    }
    Ok(())
}

/// A program that has said all it has to say.
pub(super) async fn end(flow: Flow) -> Result<(), ToolError> {
    let program = flow.program().to_owned();
    let ended = tokio::time::timeout(ENDING, flow.end()).await;
    let late = |_| ToolError::Deadline { program, within: ENDING, complaint: String::new() };
    ended.map_err(late)?
}
