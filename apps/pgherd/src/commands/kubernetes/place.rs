//! Which cluster a verb is about, and which Kubernetes it is on.
//!
//! Never falls back to another Kubernetes than the one that was named.

use super::super::output::{Output, remark};
use super::complete::clusters;
use super::form::Form;
use clap_complete::engine::ArgValueCompleter;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use pgherd_core::names::ClusterName;
use pgherd_kubernetes::console::View;
use pgherd_kubernetes::console::ask::Refusal;
use pgherd_kubernetes::console::read::{self, ReadError};
use pgherd_local::failure::{Failure, Kind};
use std::error::Error;
use std::future::Future;
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

// Whether a place is given at all is seen by its cluster.
#[derive(Clone, clap::Args)]
#[group(args = ["cluster"])]
pub(super) struct Place {
    /// The cluster
    #[arg(value_name = "CLUSTER", value_parser = name, add = ArgValueCompleter::new(clusters))]
    cluster: ClusterName,
    /// The namespace (default: that of the context)
    #[arg(long, short, value_name = "NAMESPACE")]
    namespace: Option<String>,
    #[command(flatten)]
    pub(super) access: Access,
    /// How to write the result
    #[arg(long, short, value_enum, default_value = "text")]
    output: Form,
}

/// How the API server is reached.
#[derive(Clone, clap::Args)]
pub(super) struct Access {
    /// The context of the kubeconfig (default: the current one)
    #[arg(long, value_name = "NAME")]
    pub(super) context: Option<String>,
    /// The kubeconfig (default: $KUBECONFIG, or ~/.kube/config)
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// The user to act as, for example system:serviceaccount:shop:viewer
    #[arg(long = "as", value_name = "USER")]
    pub(super) user: Option<String>,
}

/// A cluster within reach.
#[derive(Clone)]
pub(super) struct Reached {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) cluster: ClusterName,
}

impl Reached {
    /// Everything that may be read; what is missing is said on stderr.
    pub(super) async fn view(&self) -> Result<View, Failure> {
        let view = self.asked().await?;
        for note in view.notes() {
            remark(&format!("note: {note}"));
        }
        Ok(view)
    }

    /// What the API server knows and the agents say, without a word about what is missing.
    pub(super) async fn asked(&self) -> Result<View, Failure> {
        let mut view = self.look().await?;
        Box::pin(read::ask_agents(&self.client, &mut view)).await;
        Ok(view)
    }

    /// What the API server knows, without a word, for those who look again and again.
    pub(super) async fn look(&self) -> Result<View, Failure> {
        let view = Box::pin(read::view(&self.client, &self.namespace, &self.cluster)).await;
        view.map_err(|error| unread(&error))
    }
}

impl Place {
    /// How failures are told.
    pub(super) fn output(&self) -> Output {
        match self.output {
            Form::Text | Form::Name => Output::Text,
            Form::Json | Form::Yaml => Output::Json,
        }
    }

    pub(super) fn form(&self) -> Form {
        self.output
    }

    /// Runs `work` with the cluster, until it ends or the user interrupts it.
    pub(super) fn with<T, Working>(
        &self,
        work: impl FnOnce(Reached) -> Working,
    ) -> Result<T, Failure>
    where
        Working: Future<Output = Result<T, Failure>>,
    {
        run(async {
            let (client, usual) = self.access.client().await?;
            let namespace = self.namespace.clone().unwrap_or(usual);
            work(Reached { client, namespace, cluster: self.cluster.clone() }).await
        })
    }
}

impl Access {
    /// A client, and the namespace of its context.
    pub(super) async fn client(&self) -> Result<(Client, String), Failure> {
        let mut config = self.config().await?;
        if let Some(user) = &self.user {
            config.auth_info.impersonate = Some(user.clone());
        }
        let namespace = config.default_namespace.clone();
        let client =
            Client::try_from(config).map_err(|error| Failure::from_error(Kind::Failed, &error))?;
        Ok((client, namespace))
    }

    async fn config(&self) -> Result<Config, Failure> {
        let options = KubeConfigOptions { context: self.context.clone(), ..Default::default() };
        let refused = |error: &dyn Error| {
            Failure::new(
                Kind::Usage,
                "no Kubernetes to ask: there is no kubeconfig that can be used",
            )
            .because(error.to_string())
            .fix("name a kubeconfig: --kubeconfig FILE, or a context of it: --context NAME")
        };
        match (&self.kubeconfig, &self.context) {
            (Some(file), _) => {
                let file = Kubeconfig::read_from(file).map_err(|error| refused(&error))?;
                let config = Config::from_custom_kubeconfig(file, &options).await;
                config.map_err(|error| refused(&error))
            }
            (None, Some(_)) => {
                Config::from_kubeconfig(&options).await.map_err(|error| refused(&error))
            }
            (None, None) => Config::infer().await.map_err(|error| refused(&error)),
        }
    }
}

/// Runs `work` until it ends or the user interrupts it.
pub(super) fn run<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let failed = |error: std::io::Error| Failure::from_error(Kind::Failed, &error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(failed)?;
    let ended = runtime.block_on(async {
        // Before anything is done: whoever has seen its first word may interrupt it.
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut told = signal(SignalKind::terminate()).map_err(failed)?;
        tokio::select! {
            ended = work => ended,
            _ = interrupt.recv() => Err(interrupted()),
            _ = told.recv() => Err(interrupted()),
        }
    });
    // A thread that still waits for something is not waited for.
    runtime.shutdown_background();
    ended
}

fn interrupted() -> Failure {
    Failure::new(Kind::Interrupted, "stopped waiting; what was asked for goes on")
        .fix("pgherd status shows how far it is")
}

/// What is added to an error that a right would have spared.
pub(super) fn lacking(error: &(dyn Error + 'static), right: &str) -> String {
    match error.downcast_ref() {
        Some(ReadError::Permit { .. }) => format!("; it takes the right to {right}"),
        Some(_) | None => String::new(),
    }
}

/// What people are told when a request has no answer.
pub(super) fn unread(error: &ReadError) -> Failure {
    let (kind, fix) = match error {
        ReadError::Find { .. } => (Kind::NotFound, "kubectl get clusters.postgresql.cnpg.io -A"),
        ReadError::Recognise => {
            (Kind::NotFound, "pgherd install | kubectl apply --server-side -f -")
        }
        ReadError::Permit { .. } => (
            Kind::Refused,
            "ask for a Role with get and patch on clusters.postgresql.cnpg.io, or use --context",
        ),
        ReadError::Outrun => (Kind::Failed, "the same command again"),
        ReadError::Ask { .. } => (Kind::Failed, "see what the API server says above"),
        ReadError::Wait | ReadError::Reach(_) => {
            (Kind::Failed, "see whether kubectl reaches it: kubectl version")
        }
    };
    let failure = Failure::from_error(kind, error).fix(fix);
    match error {
        ReadError::Reach(_) => {
            Failure { what: "the API server cannot be reached".to_owned(), ..failure }
        }
        ReadError::Find { .. }
        | ReadError::Recognise
        | ReadError::Permit { .. }
        | ReadError::Outrun
        | ReadError::Ask { .. }
        | ReadError::Wait => failure,
    }
}

pub(super) fn refused(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Unknown { what, fix } => Failure::new(Kind::NotFound, what).fix(fix),
        Refusal::Refused { what, fix } => Failure::new(Kind::Refused, what).fix(fix),
    }
}

fn name(given: &str) -> Result<ClusterName, String> {
    let bare = given.rsplit_once('/').map_or(given, |(_kind, name)| name);
    ClusterName::parse(bare).map_err(|error| error.to_string())
}
