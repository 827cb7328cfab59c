//! What an agent in a pod keeps in Kubernetes, against a real API server: the record in a Lease,
//! the route to the primary, the addresses of its peers.
//!
//! Never touches what it has not made itself.
#![expect(clippy::print_stderr, reason = "a proof that was not made must be seen")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what fails ends the test")]

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::config::KubeConfigOptions;
use kube::{Api, Client, Config};
use pgherd_core::names::{ClusterName, InstanceName};
use pgherd_core::ports::{Coordinator, CoordinatorError, Written, contract};
use pgherd_core::record::{Record, Write, WriteId};
use pgherd_core::units::Epoch;
use pgherd_kubernetes::pod::lease::{LeaseCoordinator, RECORD};
use pgherd_kubernetes::pod::peers::{self, Addresses, Sought, Told};
use pgherd_kubernetes::pod::route::{self, Here, Pointed};
use pgherd_kubernetes::pod::whose::Whose;
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

const NAMESPACE: &str = "default";
const SOON: Duration = Duration::from_secs(20);

/// How to reach the API server, if there is one.
async fn reach() -> Option<Config> {
    if std::env::var_os("KUBECONFIG").is_none() {
        eprintln!("SKIPPED, NOTHING IS PROVEN: set KUBECONFIG to reach an API server");
        return None;
    }
    Some(Config::from_kubeconfig(&KubeConfigOptions::default()).await.unwrap())
}

/// A Lease as the operator makes it, and removed with the value.
struct Made {
    leases: Api<Lease>,
    name: String,
}

impl Made {
    async fn lease(config: &Config, test: &str) -> Self {
        let leases = Api::namespaced(client(config), NAMESPACE);
        let name = format!("{test}-{}", std::process::id());
        let made = Self { leases, name };
        made.create().await;
        made
    }

    async fn create(&self) {
        let lease = read(json!({"metadata": {"name": self.name}, "spec": {}}));
        self.leases.create(&PostParams::default(), &lease).await.unwrap();
    }

    async fn delete(&self) {
        self.leases.delete(&self.name, &DeleteParams::default()).await.unwrap();
    }

    async fn merge(&self, change: Value) {
        let change = Patch::Merge(change);
        self.leases.patch(&self.name, &PatchParams::default(), &change).await.unwrap();
    }

    /// An agent with a connection of its own.
    fn coordinator(&self, config: &Config) -> LeaseCoordinator {
        LeaseCoordinator::new(
            Api::namespaced(client(config), NAMESPACE),
            &self.name,
            Whose::default(),
        )
    }
}

fn client(config: &Config) -> Client {
    Client::try_from(config.clone()).unwrap()
}

fn read<T: serde::de::DeserializeOwned>(text: Value) -> T {
    serde_json::from_value(text).unwrap()
}

/// The next write of `incarnation` over `current`.
fn next(current: &Record, incarnation: u64) -> Write {
    let number = current.written.number + 1;
    Write::over(Some(current), current.rewritten(WriteId { incarnation, number }))
}

async fn begin(coordinator: &LeaseCoordinator) -> Record {
    let first = contract::sample(1);
    let written = coordinator.write(&Write::over(None, first.clone())).await;
    assert_eq!(written, Ok(Written::Applied));
    first
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_keeps_the_contract_of_every_coordinator() {
    let Some(config) = reach().await else { return };
    let made = Made::lease(&config, "contract").await;
    contract::coordinator(&made.coordinator(&config)).await;
    let lease = made.leases.get(&made.name).await.unwrap();
    let spec = lease.spec.unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some("contract-1"));
    assert_eq!(spec.lease_transitions, Some(1));
    made.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_race_one_wins_each_revision() {
    const WRITES: u64 = 50;
    let Some(config) = reach().await else { return };
    let made = Made::lease(&config, "race").await;
    let first = begin(&made.coordinator(&config)).await;
    let mut racers = JoinSet::new();
    for incarnation in 2..=5 {
        let (coordinator, mut known) = (made.coordinator(&config), first.clone());
        racers.spawn(async move {
            let (mut won, mut lost) = (Vec::new(), 0_u64);
            for _ in 0..WRITES {
                let write = next(&known, incarnation);
                known = match coordinator.write(&write).await.unwrap() {
                    Written::Applied => {
                        won.push(write.record.revision);
                        write.record
                    }
                    Written::Conflict { current } => {
                        lost += 1;
                        current.unwrap()
                    }
                };
            }
            (won, lost)
        });
    }
    let (mut won, mut lost) = (Vec::new(), 0);
    while let Some(raced) = racers.join_next().await {
        let (revisions, conflicts) = raced.unwrap();
        won.extend(revisions);
        lost += conflicts;
    }
    won.sort_unstable();
    let last = made.coordinator(&config).read().await.unwrap().unwrap();
    let expected: Vec<_> = (2..=last.revision.0).map(pgherd_core::record::Revision).collect();
    assert_eq!(won, expected);
    assert!(lost > 0, "nobody ever lost: they did not race");
    made.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_was_lost_is_found_when_it_is_repeated() {
    let Some(config) = reach().await else { return };
    let made = Made::lease(&config, "lost").await;
    let relay = Relay::before(&config).await;
    let coordinator = made.coordinator(&relay.config);
    let first = begin(&coordinator).await;
    let write = next(&first, 1);
    let error = relay.cut_short(Passing::Requests, &coordinator, &write).await;
    assert!(error.to_string().ends_with("the API server did not answer within 2s"), "{error}");
    relay.pass(Passing::All);
    let conflict = Written::Conflict { current: Some(write.record.clone()) };
    assert_eq!(coordinator.write(&write).await, Ok(conflict));
    assert_eq!(coordinator.write(&next(&write.record, 1)).await, Ok(Written::Applied));
    made.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_arrives_late_is_never_denied() {
    let Some(config) = reach().await else { return };
    let made = Made::lease(&config, "late").await;
    let (relay, direct) = (Relay::before(&config).await, made.coordinator(&config));
    let coordinator = made.coordinator(&relay.config);
    let first = begin(&coordinator).await;
    let write = next(&first, 1);
    relay.cut_short(Passing::Nothing, &coordinator, &write).await;
    assert_eq!(direct.read().await, Ok(Some(first.clone())));
    relay.pass(Passing::All);
    let arrived = async { while direct.read().await == Ok(Some(first.clone())) {} };
    tokio::time::timeout(SOON, arrived).await.unwrap();
    let conflict = Written::Conflict { current: Some(write.record) };
    assert_eq!(coordinator.write(&next(&first, 2)).await, Ok(conflict));
    made.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_do_to_a_lease_is_told_apart() {
    let Some(config) = reach().await else { return };
    let made = Made::lease(&config, "edited").await;
    let coordinator = made.coordinator(&config);
    let first = begin(&coordinator).await;
    // A label changes the version, not the record.
    made.merge(json!({"metadata": {"labels": {"looked": "at"}}})).await;
    let write = next(&first, 1);
    assert_eq!(coordinator.write(&write).await, Ok(Written::Applied));
    let lease = made.leases.get(&made.name).await.unwrap();
    assert!(lease.metadata.labels.unwrap().contains_key("looked"));

    made.merge(json!({"metadata": {"annotations": {RECORD: "scribble"}}})).await;
    let over = next(&write.record, 1);
    for error in
        [coordinator.write(&over).await.unwrap_err(), coordinator.read().await.unwrap_err()]
    {
        assert!(error.to_string().contains("is not a record: put back what it was"), "{error}");
    }

    made.delete().await;
    assert_eq!(coordinator.read().await, Ok(None));
    let error = coordinator.write(&over).await.unwrap_err();
    assert!(error.to_string().ends_with("it does not exist: the operator makes it"), "{error}");
    made.create().await;
    assert_eq!(coordinator.write(&over).await, Ok(Written::Conflict { current: None }));
    made.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_gone_is_not_made_by_a_renewal() {
    let Some(config) = reach().await else { return };
    let made = Made::lease(&config, "gone").await;
    let coordinator = made.coordinator(&config);
    let first = begin(&coordinator).await;
    made.delete().await;
    coordinator.write(&next(&first, 1)).await.unwrap_err();
    assert_eq!(made.leases.get_opt(&made.name).await.unwrap(), None);

    made.create().await;
    assert_eq!(coordinator.read().await, Ok(None));
    made.delete().await;
    made.create().await;
    // What was kept is of a Lease that is gone, and its put must not reach the new one blindly.
    assert_eq!(coordinator.write(&Write::over(None, first)).await, Ok(Written::Applied));
    made.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_of_another_cluster_of_this_name_is_left_alone() {
    let Some(config) = reach().await else { return };
    let maps: Api<ConfigMap> = Api::namespaced(client(&config), NAMESPACE);
    let made = Made::lease(&config, "whose").await;
    let coordinator = made.coordinator(&config);
    let mut clusters = Vec::new();
    for cluster in ["old", "new"] {
        // Kubernetes removes what belongs to nobody.
        let name = format!("whose-{cluster}-{}", std::process::id());
        let map = read::<ConfigMap>(json!({"metadata": {"name": name}}));
        let map = maps.create(&PostParams::default(), &map).await.unwrap();
        let owner = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": map.metadata.uid,
            "controller": true,
        });
        clusters.push((name, json!({"metadata": {"ownerReferences": [owner]}})));
    }
    made.merge(clusters[0].1.clone()).await;
    let first = begin(&coordinator).await;
    made.delete().await;
    made.create().await;
    made.merge(clusters[1].1.clone()).await;
    let written = coordinator.write(&next(&first, 1)).await.unwrap_err();
    for error in [written, coordinator.read().await.unwrap_err()] {
        assert!(error.to_string().contains("is of another cluster of this name"), "{error}");
    }
    let newcomer = made.coordinator(&config);
    assert_eq!(newcomer.read().await, Ok(None));
    begin(&newcomer).await;
    made.delete().await;
    for (name, _) in clusters {
        maps.delete(&name, &DeleteParams::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_rights_is_named() {
    let Some(mut config) = reach().await else { return };
    let made = Made::lease(&config, "rights").await;
    config.auth_info.impersonate = Some("nobody".to_owned());
    let error = made.coordinator(&config).read().await.unwrap_err();
    assert!(error.to_string().contains("cannot get resource \"leases\""), "{error}");
    assert!(
        error.to_string().ends_with("the operator restores the role of the cluster"),
        "{error}"
    );
    made.delete().await;
}

/// A slice as the operator makes it.
fn slice(name: &str, service: &str, kind: &str, endpoints: &Value) -> EndpointSlice {
    let labels = json!({peers::SERVICE: service, route::MANAGED_BY: route::OURSELVES});
    read(json!({
        "metadata": {"name": name, "labels": labels},
        "addressType": kind, "endpoints": endpoints, "ports": [],
    }))
}

fn here(address: IpAddr) -> Here {
    Here { address, whose: Whose::default() }
}

async fn leads_to(slices: &Api<EndpointSlice>, name: &str, address: IpAddr) {
    let is_there = async {
        loop {
            let slice = slices.get(name).await.unwrap();
            let addresses: Vec<String> =
                slice.endpoints.into_iter().flatten().flat_map(|one| one.addresses).collect();
            if addresses == [address.to_string()] {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, is_there).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_route_leads_to_the_latest_primary() {
    let Some(config) = reach().await else { return };
    let slices: Api<EndpointSlice> = Api::namespaced(client(&config), NAMESPACE);
    for (kind, one, two) in [("IPv4", "10.0.0.1", "10.0.0.2"), ("IPv6", "fd00::1", "fd00::2")] {
        let name = format!("route-{}-{}", kind.to_lowercase(), std::process::id());
        let [one, two]: [IpAddr; 2] = [one, two].map(|text| text.parse().unwrap());
        let made = slice(&name, &name, kind, &json!([]));
        slices.create(&PostParams::default(), &made).await.unwrap();
        let mut agents = JoinSet::new();
        let (first, serving) = watch::channel(None);
        let unseen = watch::channel(None).1;
        agents.spawn(route::keep(
            slices.clone(),
            name.clone(),
            here(one),
            (serving, unseen.clone()),
        ));
        first.send_replace(Some(Epoch(1)));
        leads_to(&slices, &name, one).await;
        let point = async |at: (IpAddr, Epoch), seen: Option<EndpointSlice>| {
            route::point(&slices, &name, (&here(at.0), at.1), seen).await.unwrap().0
        };
        assert_eq!(point((one, Epoch(1)), None).await, Pointed::Already);
        let old = slices.get(&name).await.unwrap();

        let (second, serving) = watch::channel(Some(Epoch(2)));
        agents.spawn(route::keep(slices.clone(), name.clone(), here(two), (serving, unseen)));
        leads_to(&slices, &name, two).await;
        let outdated = Pointed::Outdated { by: Epoch(2) };
        assert_eq!(point((one, Epoch(1)), None).await, outdated);
        // What was seen before that one took over is neither believed nor written over it.
        assert_eq!(point((one, Epoch(1)), Some(old.clone())).await, outdated);
        assert_eq!(point((two, Epoch(2)), Some(old)).await, Pointed::Already);

        let emptied = Patch::Merge(json!({"endpoints": []}));
        slices.patch(&name, &PatchParams::default(), &emptied).await.unwrap();
        let seen = slices.get(&name).await.unwrap();
        assert_eq!(point((two, Epoch(2)), Some(seen)).await, Pointed::Anew);
        first.send_replace(Some(Epoch(3)));
        leads_to(&slices, &name, one).await;
        drop((first, second));
        while agents.join_next().await.is_some() {}
        slices.delete(&name, &DeleteParams::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_route_is_tried_until_it_is_there() {
    let Some(config) = reach().await else { return };
    let slices: Api<EndpointSlice> = Api::namespaced(client(&config), NAMESPACE);
    let name = format!("route-early-{}", std::process::id());
    let address: IpAddr = "10.0.0.1".parse().unwrap();
    let (_serving, serving) = watch::channel(Some(Epoch(1)));
    let mut agents = JoinSet::new();
    let unseen = watch::channel(None).1;
    agents.spawn(route::keep(slices.clone(), name.clone(), here(address), (serving, unseen)));
    tokio::task::yield_now().await;
    let made = slice(&name, &name, "IPv4", &json!([]));
    slices.create(&PostParams::default(), &made).await.unwrap();
    leads_to(&slices, &name, address).await;
    slices.delete(&name, &DeleteParams::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_found_where_their_pods_are() {
    let Some(config) = reach().await else { return };
    let slices: Api<EndpointSlice> = Api::namespaced(client(&config), NAMESPACE);
    let cluster = ClusterName::parse(&format!("peers-{}", std::process::id())).unwrap();
    let [one, two] = [1, 2].map(|serial| InstanceName::new(&cluster, serial));
    let (name, service) = (format!("{cluster}-x"), format!("{cluster}-pods"));
    let own = "10.0.0.9".parse().unwrap();
    let (addresses, mut known) = watch::channel(Addresses::new());
    let told = Told { addresses, route: watch::channel(None).0 };
    let mut agents = JoinSet::new();
    agents.spawn(peers::learn(slices.clone(), Sought { cluster, own }, told));
    let at = |name: &InstanceName, address: &str| json!([{"hostname": name.to_string(), "addresses": [address]}]);
    let made = slice(&name, &service, "IPv4", &at(&one, "10.0.0.1"));
    slices.create(&PostParams::default(), &made).await.unwrap();
    let first = Addresses::from([(one.clone(), "10.0.0.1".parse().unwrap())]);
    let learnt = known.wait_for(|known| *known == first);
    drop(tokio::time::timeout(SOON, learnt).await.unwrap().unwrap());
    let moved = Patch::Merge(json!({"endpoints": at(&two, "10.0.0.2")}));
    slices.patch(&name, &PatchParams::default(), &moved).await.unwrap();
    let mut both = first;
    both.insert(two, "10.0.0.2".parse().unwrap());
    let learnt = known.wait_for(|known| *known == both);
    drop(tokio::time::timeout(SOON, learnt).await.unwrap().unwrap());
    slices.delete(&name, &DeleteParams::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_somebody_edits_is_put_right_when_that_is_seen() {
    let Some(config) = reach().await else { return };
    let slices: Api<EndpointSlice> = Api::namespaced(client(&config), NAMESPACE);
    let cluster = ClusterName::parse(&format!("edited-{}", std::process::id())).unwrap();
    let name = format!("{cluster}-rw");
    let address: IpAddr = "10.0.0.1".parse().unwrap();
    let made = slice(&name, &name, "IPv4", &json!([]));
    slices.create(&PostParams::default(), &made).await.unwrap();
    let (route, seen) = watch::channel(None);
    let told = Told { addresses: watch::channel(Addresses::new()).0, route };
    let mut agents = JoinSet::new();
    agents.spawn(peers::learn(slices.clone(), Sought { cluster, own: address }, told));
    let (_serving, serving) = watch::channel(Some(Epoch(1)));
    agents.spawn(route::keep(slices.clone(), name.clone(), here(address), (serving, seen)));
    leads_to(&slices, &name, address).await;
    for edit in [
        json!({"endpoints": []}),
        json!({"metadata": {"labels": null}, "endpoints": [{"addresses": ["192.0.2.1"]}]}),
    ] {
        slices.patch(&name, &PatchParams::default(), &Patch::Merge(edit)).await.unwrap();
        leads_to(&slices, &name, address).await;
    }
    slices.delete(&name, &DeleteParams::default()).await.unwrap();
}

/// What gets through between an agent and the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passing {
    All,
    Requests,
    Nothing,
}

/// Holds back what may not pass, and lets it go later: nothing is lost, as on a real network.
struct Relay {
    /// How to reach the API server through it.
    config: Config,
    passing: watch::Sender<Passing>,
    /// What came from agents on lines on which they had an answer before.
    asked: Arc<AtomicU64>,
    _work: JoinSet<()>,
}

impl Relay {
    /// Writes while only `passing` gets through, on a line that is open already: on a new one not
    /// even the greeting would pass, and the write would never be sent.
    async fn cut_short(
        &self,
        passing: Passing,
        coordinator: &LeaseCoordinator,
        write: &Write,
    ) -> CoordinatorError {
        let mut tries = 0..10;
        loop {
            assert!(tries.next().is_some(), "the agent opens a line for every request");
            coordinator.read().await.unwrap();
            let before = self.asked.load(Relaxed);
            self.pass(passing);
            let error = coordinator.write(write).await.unwrap_err();
            if self.asked.load(Relaxed) > before {
                return error;
            }
            // The agent had not taken the line back from its last request yet, and opened another.
            self.pass(Passing::All);
        }
    }

    async fn before(config: &Config) -> Self {
        let url = config.cluster_url.clone();
        let server = format!("{}:{}", url.host().unwrap(), url.port_u16().unwrap_or(443));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here: SocketAddr = listener.local_addr().unwrap();
        let (passing, allowed) = watch::channel(Passing::All);
        let (mut work, asked) = (JoinSet::new(), Arc::default());
        work.spawn(accept(listener, server.into(), allowed, Arc::clone(&asked)));
        let mut config = config.clone();
        config.tls_server_name = config.tls_server_name.or(url.host().map(str::to_owned));
        config.cluster_url = format!("https://{here}").parse().unwrap();
        Self { config, passing, asked, _work: work }
    }

    fn pass(&self, passing: Passing) {
        self.passing.send_replace(passing);
    }
}

async fn accept(
    listener: TcpListener,
    server: Arc<str>,
    allowed: watch::Receiver<Passing>,
    asked: Arc<AtomicU64>,
) {
    let mut lines = JoinSet::new();
    while let Ok((agent, _)) = listener.accept().await {
        let (server, allowed, asked) = (Arc::clone(&server), allowed.clone(), Arc::clone(&asked));
        lines.spawn(async move {
            let Ok(server) = TcpStream::connect(&*server).await else { return };
            let ((from_agent, to_agent), (from_server, to_server)) =
                (agent.into_split(), server.into_split());
            let is_answered = AtomicBool::new(false);
            let (answered, told) = (
                || is_answered.store(true, Relaxed),
                || {
                    asked.fetch_add(u64::from(is_answered.load(Relaxed)), Relaxed);
                },
            );
            let requests = &[Passing::All, Passing::Requests];
            // Neither way ends the other: what the agent sent before it hung up still arrives.
            tokio::join!(
                pump((from_agent, told), (to_server, || ()), allowed.clone(), requests),
                pump((from_server, || ()), (to_agent, answered), allowed, &[Passing::All]),
            );
        });
    }
}

/// Calls what stands beside an end when something came from it, or went to it.
async fn pump(
    (mut from, came): (impl AsyncReadExt + Unpin, impl Fn()),
    (mut to, went): (impl AsyncWriteExt + Unpin, impl Fn()),
    mut allowed: watch::Receiver<Passing>,
    open: &[Passing],
) {
    let mut held = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut held).await {
        came();
        let passes = allowed.wait_for(|passing| open.contains(passing)).await.is_ok();
        if !passes || to.write_all(&held[..length]).await.is_err() {
            return;
        }
        went();
    }
    // The server must not learn that the agent has hung up: it could give up what it was asked.
    std::future::pending::<()>().await;
}
