//! Two operators stand for election at a real API server, each as a process of its own.
//!
//! Never touches a Lease outside the namespace that it has made.
#![expect(clippy::print_stderr, reason = "a proof that was not made must be seen")]
#![expect(clippy::print_stdout, reason = "a candidate tells its test what has become of it")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails ends the test")]

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, PostParams};
use kube::config::KubeConfigOptions;
use kube::{Api, Client, Config};
use pgherd_kubernetes::leader::{Elector, LEASE, NAME, NAMESPACE, candidate};
use rustix::process::{Pid, Signal, kill_process};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::signal::unix::{SignalKind, signal};

const LEADS: &str = "leads";
const LOST: &str = "lost";
const RELEASED: &str = "released";
/// Longer than any takeover.
const SOON: Duration = Duration::from_secs(40);

/// How to reach the API server, if there is one.
async fn reach() -> Option<Config> {
    if std::env::var_os("KUBECONFIG").is_none() {
        eprintln!("SKIPPED, NOTHING IS PROVEN: set KUBECONFIG to reach an API server");
        return None;
    }
    Some(Config::from_kubeconfig(&KubeConfigOptions::default()).await.unwrap())
}

/// Is a candidate when the test below has started this process as one.
#[tokio::test]
async fn one_candidate() {
    let Some(me) = candidate(&std::env::vars().collect()) else { return };
    let Some(config) = reach().await else { return };
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    let leases = Api::namespaced(Client::try_from(config).unwrap(), &me.namespace);
    let mut elector = Elector::new(leases, &me.name);
    elector.lead().await;
    println!("\n{LEADS}");
    tokio::select! {
        () = elector.keep() => println!("\n{LOST}"),
        _ = terminate.recv() => {
            elector.release().await;
            println!("\n{RELEASED}");
        }
    }
}

/// A process that does nothing but stand for election.
struct Process {
    child: Child,
    says: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(namespace: &str, name: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "one_candidate", "--nocapture"])
            .env(NAMESPACE, namespace)
            .env(NAME, name)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let says = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, says }
    }

    /// Waits until it says so.
    async fn until(&mut self, word: &str) {
        let heard = async {
            while let Some(line) = self.says.next_line().await.unwrap() {
                if line == word {
                    return;
                }
            }
            panic!("it ended and never said {word:?}");
        };
        tokio::time::timeout(SOON, heard).await.unwrap();
    }

    fn send(&self, signal: Signal) {
        let id = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }
}

#[tokio::test]
async fn one_of_two_leads_and_the_other_takes_over() {
    let Some(config) = reach().await else { return };
    let client = Client::try_from(config).unwrap();
    let namespace = format!("leader-{}", std::process::id());
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let made = serde_json::from_value(serde_json::json!({"metadata": {"name": namespace}}));
    namespaces.create(&PostParams::default(), &made.unwrap()).await.unwrap();
    let leases: Api<Lease> = Api::namespaced(client, &namespace);
    let holder = async || {
        let spec = leases.get(LEASE).await.unwrap().spec.unwrap();
        format!("{} {}", spec.holder_identity.unwrap(), spec.lease_transitions.unwrap())
    };

    let mut one = Process::start(&namespace, "one");
    one.until(LEADS).await;
    let mut two = Process::start(&namespace, "two");

    // It dies: the other must have waited.
    let began = Instant::now();
    one.send(Signal::KILL);
    one.child.wait().await.unwrap();
    two.until(LEADS).await;
    let took = began.elapsed().as_secs();
    assert!((12..20).contains(&took), "{took} s");
    assert_eq!(holder().await, "two 1");

    // It stands still for longer than it may: then it has lost, and says so as soon as it can.
    let mut three = Process::start(&namespace, "three");
    two.send(Signal::STOP);
    three.until(LEADS).await;
    assert_eq!(holder().await, "three 2");
    two.send(Signal::CONT);
    two.until(LOST).await;

    // It is asked to end: the next does not wait.
    let mut four = Process::start(&namespace, "four");
    tokio::time::timeout(Duration::from_secs(2), four.until(LEADS)).await.unwrap_err();
    let began = Instant::now();
    three.send(Signal::TERM);
    three.until(RELEASED).await;
    four.until(LEADS).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(holder().await, "four 3");

    // Somebody takes the Lease away: who leads ends, whoever makes it next leads.
    leases.delete(LEASE, &DeleteParams::default()).await.unwrap();
    four.until(LOST).await;
    namespaces.delete(&namespace, &DeleteParams::default()).await.unwrap();
}
