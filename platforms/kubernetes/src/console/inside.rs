//! Runs our own program in the container of an instance, and reads what it says.
//!
//! Never waits without end, and never keeps more than our program would say.

use super::View;
use super::read::{self, ReadError};
use crate::cluster::manifests::pod::POSTGRES_CONTAINER;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status as Ended;
use kube::api::{AttachParams, AttachedProcess};
use kube::{Api, Client};
use pgherd_api::agent::Status;
use pgherd_core::names::InstanceName;
use serde::de::DeserializeOwned;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::timeout;

/// Where the agent's program is in every pod.
const PROGRAM: &str = "/controller/pgherd";
/// From asking until the program has ended; the kubelet alone takes a quarter of a second.
const DEADLINE: Duration = Duration::from_secs(5);
/// A list of some ten thousand backups, or a line every other second for days.
const ANSWER_LIMIT: u64 = 16 << 20;
const COMPLAINT_LIMIT: u64 = 4 << 10;
/// What is not read at once must not keep the rest from arriving.
const BUFFER: usize = 64 << 10;

/// Why the program said nothing of use.
#[derive(Debug, thiserror::Error)]
pub enum InsideError {
    #[error("starting it in pod {pod}")]
    Start { pod: String, source: ReadError },
    #[error("the connection to pod {pod} broke")]
    Listen { pod: String, source: std::io::Error },
    #[error("nothing was heard from pod {pod} within {within:?}")]
    Wait { pod: String, within: Duration },
    #[error("in pod {pod}: {complaint}")]
    End { pod: String, complaint: String },
    #[error("what pod {pod} says makes no sense")]
    Understand { pod: String, source: serde_json::Error },
}

impl InsideError {
    /// Whether a right is missing, and nothing else.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Start { source: ReadError::Permit { .. }, .. })
    }
}

/// A program that runs in a pod; it is ended with its standard input when this is dropped.
pub struct Conversation {
    pod: String,
    process: AttachedProcess,
    said: BufReader<Pin<Box<dyn AsyncRead + Send>>>,
    complaint: Pin<Box<dyn AsyncRead + Send>>,
    ear: Pin<Box<dyn AsyncWrite + Send>>,
}

impl Conversation {
    /// Starts our program with these words in the pod of an instance.
    pub async fn begin(
        client: &Client,
        (namespace, pod): (&str, &str),
        words: &[&str],
    ) -> Result<Self, InsideError> {
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let command = std::iter::once(PROGRAM).chain(words.iter().copied());
        let wanted = AttachParams::default()
            .container(POSTGRES_CONTAINER)
            .stdin(true)
            .max_stdout_buf_size(BUFFER)
            .max_stderr_buf_size(BUFFER);
        let started = read::answer(pods.exec(pod, command, &wanted)).await;
        let mut process =
            started.map_err(|source| InsideError::Start { pod: pod.to_owned(), source })?;
        let said: Pin<Box<dyn AsyncRead + Send>> = match process.stdout() {
            Some(said) => Box::pin(said.take(ANSWER_LIMIT)),
            None => Box::pin(tokio::io::empty()),
        };
        let complaint: Pin<Box<dyn AsyncRead + Send>> = match process.stderr() {
            Some(complaint) => Box::pin(complaint.take(COMPLAINT_LIMIT)),
            None => Box::pin(tokio::io::empty()),
        };
        let ear: Pin<Box<dyn AsyncWrite + Send>> = match process.stdin() {
            Some(ear) => Box::pin(ear),
            None => Box::pin(tokio::io::sink()),
        };
        let said = BufReader::new(said);
        Ok(Self { pod: pod.to_owned(), process, said, complaint, ear })
    }

    /// The next line; an error if the program ended before it said one.
    async fn line(&mut self, within: Duration) -> Result<String, InsideError> {
        let mut line = String::new();
        let late = || InsideError::Wait { pod: self.pod.clone(), within };
        let read = timeout(within, self.said.read_line(&mut line)).await.map_err(|_| late())?;
        match read {
            Ok(0) => Err(self.ended().await),
            Ok(_) => Ok(line),
            Err(source) => Err(InsideError::Listen { pod: self.pod.clone(), source }),
        }
    }

    /// The next line, as what it means.
    pub async fn hear<T: DeserializeOwned>(&mut self, within: Duration) -> Result<T, InsideError> {
        let line = self.line(within).await?;
        serde_json::from_str(&line)
            .map_err(|source| InsideError::Understand { pod: self.pod.clone(), source })
    }

    /// The program said something else than was to be said now.
    pub fn out_of_turn(&self) -> InsideError {
        let complaint = "it is of another version".to_owned();
        InsideError::End { pod: self.pod.clone(), complaint }
    }

    /// One line for the program to read.
    pub async fn tell(&mut self, line: &str) -> Result<(), InsideError> {
        let broke = |source| InsideError::Listen { pod: self.pod.clone(), source };
        let words = format!("{line}\n");
        let telling = async {
            self.ear.write_all(words.as_bytes()).await?;
            self.ear.flush().await
        };
        match timeout(DEADLINE, telling).await {
            Ok(told) => told.map_err(broke),
            Err(_) => Err(InsideError::Wait { pod: self.pod.clone(), within: DEADLINE }),
        }
    }

    /// Why there is nothing more.
    async fn ended(&mut self) -> InsideError {
        let mut complaint = String::new();
        let status = self.process.take_status();
        let ending = async {
            let _heard = self.complaint.read_to_string(&mut complaint).await;
            match status {
                Some(status) => status.await,
                None => None,
            }
        };
        let status = timeout(DEADLINE, ending).await.ok().flatten();
        let complaint = complaint.trim().trim_start_matches("error: ").to_owned();
        let complaint = if complaint.is_empty() { reason(status) } else { complaint };
        InsideError::End { pod: self.pod.clone(), complaint }
    }
}

fn reason(status: Option<Ended>) -> String {
    let message = status.and_then(|status| status.message);
    message.unwrap_or_else(|| "it ended without a word".to_owned())
}

/// What the agent of this pod says of itself.
pub async fn agent(
    client: &Client,
    namespace: &str,
    instance: &InstanceName,
) -> Result<Status, InsideError> {
    let pod = instance.to_string();
    let mut asked = Conversation::begin(client, (namespace, &pod), &["inside", "status"]).await?;
    asked.hear(DEADLINE).await
}

/// The instances whose agent can be asked at all.
pub fn within_reach(view: &View) -> impl Iterator<Item = &InstanceName> {
    view.pods.iter().filter(|(_, pod)| runs(pod)).map(|(name, _)| name)
}

fn runs(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let containers = status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let mut own = containers.filter(|container| container.name == POSTGRES_CONTAINER);
    own.any(|container| container.state.as_ref().is_some_and(|state| state.running.is_some()))
}
