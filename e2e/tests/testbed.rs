//! The testbed's promises: pods with volumes run, every fault is real, and nothing is left behind.
//!
//! Never runs beside another testbed: there is one on a machine.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test ends where it fails, and says what it skips"
)]

use anyhow::Result;
use pgherd_e2e::testbed::cgroup::Motion;
use pgherd_e2e::testbed::network::Ways;
use pgherd_e2e::testbed::{Machine, Node, Power, Testbed};
use pgherd_e2e::{run, wait};
use std::path::Path;
use std::time::Duration;

const REACHED_WITHIN: Duration = Duration::from_secs(5);
const ASK_WITHIN: Duration = Duration::from_secs(30);
const POD_WITHIN: Duration = Duration::from_mins(2);
/// A volume grows at its kubelet's next look.
const GROWN_WITHIN: Duration = Duration::from_mins(3);
const NOTICED_WITHIN: Duration = Duration::from_mins(2);

const POD: &str = r#"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: disk}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 400Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: one}
spec:
  # By label, since the scheduler chooses where a volume is made.
  nodeSelector: {kubernetes.io/hostname: n2}
  securityContext: {runAsUser: 26, runAsGroup: 26, fsGroup: 26}
  containers:
  - name: one
    image: localhost/postgresql:15
    command: [sleep, infinity]
    volumeMounts: [{name: disk, mountPath: /disk}]
  volumes: [{name: disk, persistentVolumeClaim: {claimName: disk}}]
"#;

struct Raised(Testbed);

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.down(|_| {}).expect("down works whatever happened");
    }
}

impl Raised {
    fn try_kubectl(&self, arguments: &[&str]) -> Result<run::Said> {
        run::run(self.0.kubectl(arguments)?, ASK_WITHIN)
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        run::succeed(self.0.kubectl(arguments).unwrap(), ASK_WITHIN).unwrap()
    }

    /// Whether the pod answers. Without a way to it the question has no end of its own.
    fn is_reached(&self) -> bool {
        let asked = self.0.kubectl(&["exec", "one", "--", "true"]).unwrap();
        run::run(asked, REACHED_WITHIN).is_ok_and(|said| said.succeeded)
    }

    fn inside(&self, words: &[&str]) -> run::Said {
        self.try_kubectl(&[&["exec", "one", "--"], words].concat()).unwrap()
    }

    fn wait_running(&self) {
        let phase = ["get", "pod", "one", "--output", "jsonpath={.status.phase}"];
        wait::until("the pod", POD_WITHIN, || {
            Ok(self.kubectl(&phase) == "Running" && self.is_reached())
        })
        .unwrap();
    }

    fn wait_ready(&self, node: &str, wanted: &str) {
        let path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
        wait::until(&format!("{node} to be {wanted}"), NOTICED_WITHIN, || {
            Ok(self.kubectl(&["get", "node", node, "--output", path]) == wanted)
        })
        .unwrap();
    }
}

#[test]
fn a_real_kubernetes_comes_up_is_hurt_and_leaves_nothing() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: only root can make a testbed, so it was not tried at all");
    }
    let testbed = Testbed::find(env!("CARGO_BIN_EXE_pgherd-e2e").into()).unwrap();
    testbed.up(|what| eprintln!("{what}")).unwrap();
    let raised = Raised(testbed);
    a_pod_gets_a_volume_of_its_own(&raised);
    a_full_volume_grows_in_use(&raised);
    a_node_without_power_comes_back_with_its_volume(&raised);
    a_frozen_node_stands_still(&raised);
    what_is_cut_does_not_pass(&raised);
    the_api_server_can_be_away(&raised);
    drop(raised);
    let testbed = Testbed::find(env!("CARGO_BIN_EXE_pgherd-e2e").into()).unwrap();
    assert!(!testbed.is_up());
    for leftover in ["/run/netns/pgherd-cp", "/run/netns/pgherd-lan", "/var/tmp/pgherd-testbed"] {
        assert!(!Path::new(leftover).exists(), "{leftover}");
    }
}

fn a_pod_gets_a_volume_of_its_own(raised: &Raised) {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("pod.yaml");
    std::fs::write(&manifest, POD).unwrap();
    raised.kubectl(&["apply", "--filename", manifest.to_str().unwrap()]);
    raised.wait_running();
    let said = raised.inside(&["sh", "-c", "id -u && touch /disk/here && stat -f -c %T /disk"]);
    assert_eq!(said.out, "26\nxfs\n", "{}", said.complaint);
}

fn a_full_volume_grows_in_use(raised: &Raised) {
    let full = raised.inside(&["dd", "if=/dev/zero", "of=/disk/all", "bs=1M"]);
    assert!(full.complaint.contains("No space left on device"), "{}", full.complaint);
    let patch = r#"{"spec":{"resources":{"requests":{"storage":"600Mi"}}}}"#;
    raised.kubectl(&["patch", "pvc", "disk", "--patch", patch]);
    wait::until("a larger volume", GROWN_WITHIN, || {
        Ok(raised.inside(&["dd", "if=/dev/zero", "of=/disk/more", "bs=1M", "count=100"]).succeeded)
    })
    .unwrap();
}

fn a_node_without_power_comes_back_with_its_volume(raised: &Raised) {
    let node: Node = "n2".parse().unwrap();
    raised.0.crash(node).unwrap();
    assert_eq!(raised.0.power(node).unwrap(), Power::Off);
    assert!(!raised.is_reached());
    raised.0.start(node).unwrap();
    raised.wait_running();
    assert!(raised.inside(&["test", "-e", "/disk/here"]).succeeded);
}

fn a_frozen_node_stands_still(raised: &Raised) {
    let node: Node = "n2".parse().unwrap();
    raised.0.set(node, Motion::Frozen).unwrap();
    assert_eq!(raised.0.power(node).unwrap(), Power::Frozen);
    raised.wait_ready("n2", "Unknown");
    raised.0.set(node, Motion::Running).unwrap();
    raised.wait_ready("n2", "True");
}

fn what_is_cut_does_not_pass(raised: &Raised) {
    let (cp, node): (Machine, Machine) = ("cp".parse().unwrap(), "n2".parse().unwrap());
    raised.0.cut(node, cp, Ways::Both).unwrap();
    assert!(!raised.is_reached());
    raised.0.heal().unwrap();
    raised.wait_running();
    raised.0.isolate(node).unwrap();
    assert!(!raised.is_reached());
    raised.0.heal().unwrap();
    raised.wait_running();
}

fn the_api_server_can_be_away(raised: &Raised) {
    raised.0.stop_api().unwrap();
    assert!(!raised.try_kubectl(&["get", "nodes"]).unwrap().succeeded);
    raised.0.start_api().unwrap();
    wait::until("the API server", POD_WITHIN, || {
        Ok(raised.try_kubectl(&["get", "nodes"])?.succeeded)
    })
    .unwrap();
}
