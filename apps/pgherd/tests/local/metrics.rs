//! Metrics as others see them: scraped by Python's HTTP client, read by another library's parser.
//!
//! Never reads the text itself, and never believes a number that another command contradicts.

use super::archive::place::{Store, folder};
use super::archive::{sql, up, wait_for};
use super::home::Home;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

/// Debian's, for which `cargo xtask setup --stores` installs the parser.
const PYTHON: &str = "/usr/bin/python3";
/// Prints what was scraped as one document; the parser is another library's.
const SCRAPE: &str = r#"
import json, ssl, sys, time, urllib.request
from prometheus_client.parser import text_string_to_metric_families
context = None
if sys.argv[2:]:
    context = ssl.create_default_context(cafile=sys.argv[2])
    context.check_hostname = False
began = time.monotonic()
with urllib.request.urlopen(sys.argv[1], timeout=20, context=context) as answer:
    kind, text = answer.headers["Content-Type"], answer.read().decode()
took = time.monotonic() - began
samples = {}
for family in text_string_to_metric_families(text):
    assert family.type in ("gauge", "counter") and family.documentation, family
    for sample in family.samples:
        labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
        samples[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
print(json.dumps({"kind": kind, "took": took, "text": text, "samples": samples}))
"#;

/// What one instance told.
struct Scraped {
    took: f64,
    text: String,
    samples: BTreeMap<String, f64>,
}

impl Scraped {
    fn of(address: &str, authority: Option<&str>) -> Result<Self, String> {
        let mut command = Command::new(PYTHON);
        command.args(["-c", SCRAPE, address]).args(authority);
        let output = command.output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(told["kind"].as_str().unwrap().starts_with("text/plain; version=0.0.4"));
        Ok(Self {
            took: told["took"].as_f64().unwrap(),
            text: told["text"].as_str().unwrap().to_owned(),
            samples: serde_json::from_value(told["samples"].clone()).unwrap(),
        })
    }

    fn get(&self, name: &str) -> Option<f64> {
        self.samples.get(name).copied()
    }

    fn is(&self, name: &str, value: f64) -> bool {
        self.get(name).is_some_and(|told| (told - value).abs() < 0.001)
    }

    fn must(&self, name: &str) -> f64 {
        self.get(name).unwrap_or_else(|| panic!("no {name} in {}", self.text))
    }
}

fn addresses(home: &Home) -> BTreeMap<String, String> {
    let status = home.json(&["status"]);
    let instances = status["instances"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    instances.map(|it| (text(&it["name"]), text(&it["metrics"]))).collect()
}

fn primary(home: &Home) -> Scraped {
    let primary = home.primary();
    Scraped::of(&addresses(home)[&primary], None).unwrap()
}

fn fill_a_segment(home: &Home) {
    sql(home, "create table if not exists t (i int)");
    sql(home, "insert into t values (1)");
    sql(home, "select pg_switch_wal()");
}

#[test]
fn what_instances_tell_is_what_commands_say() {
    let mut home = Home::new();
    home.owns("local");
    let place = folder(&home);
    let spec = |more: &str| {
        format!(
            "instances: 2, enableSuperuserAccess: true, backup: {{retentionPolicy: 30d, \
             barmanObjectStore: {{destinationPath: '{}'}}}}{more}",
            place.display()
        )
    };
    up(&home, &home.manifest("local", &spec("")));
    for _ in 0..3 {
        fill_a_segment(&home);
    }
    wait_for("three segments in the archive", || {
        let told = primary(&home);
        told.must("pgherd_archive_segments_total") >= 3.0
            && told.is("pgherd_archive_queue_segments", 0.0)
    });
    the_office_and_the_archive(&home, &place.display().to_string());
    a_backup(&home);
    encrypted_when_asked(&home, &spec(", monitoring: {tls: {enabled: true}}"));
}

fn the_office_and_the_archive(home: &Home, place: &str) {
    let status = home.json(&["status"]);
    let told = primary(home);
    for (name, value) in [
        ("cnpg_collector_up{cluster=local}", 1.0),
        ("cnpg_collector_fencing_on", 0.0),
        ("cnpg_collector_last_available_backup_timestamp", 0.0),
        ("pgherd_office_held", 1.0),
        ("pgherd_epoch", status["epoch"].as_f64().unwrap()),
        ("pgherd_timeline", status["timeline"].as_f64().unwrap()),
        ("pgherd_archive_failing", 0.0),
        ("pgherd_archive_alarm", 0.0),
        ("pgherd_archive_failures_total", 0.0),
        ("pgherd_stream_failing", 0.0),
        ("pgherd_backup_running", 0.0),
    ] {
        assert!(told.is(name, value), "{name} is not {value}: {}", told.text);
    }
    let segments = told.must("pgherd_archive_segments_total");
    assert!(told.is("pgherd_archive_bytes_total", segments * f64::from(16 << 20)));
    assert!(told.must("cnpg_collector_pg_wal_archive_status{value=done}") >= 1.0);
    assert!(told.must("pgherd_archive_queue_limit_bytes") > 0.0);
    assert!(told.must("pgherd_stream_pieces_total") >= 1.0, "{}", told.text);
    assert!(told.must("pgherd_agent_status_age_seconds") < 5.0);
    assert!(!told.text.contains(place), "where it is archived to is nobody's business");

    let standby = home.standby();
    let told = Scraped::of(&addresses(home)[&standby], None).unwrap();
    assert!(told.is("cnpg_collector_up{cluster=local}", 1.0), "{}", told.text);
    assert!(told.is("pgherd_office_held", 0.0), "{}", told.text);
    assert_eq!(told.get("pgherd_archive_queue_segments"), None);
}

fn a_backup(home: &Home) {
    let taken = home.json(&["backup", "--immediate-checkpoint"]);
    let by = taken["instance"].as_str().unwrap();
    let address = addresses(home)[by].clone();
    let bytes = taken["taken"]["bytes"].as_f64().unwrap();
    // Whoever asks twice within half a second is told the same.
    wait_for("the backup", || {
        Scraped::of(&address, None).unwrap().is("pgherd_backup_last_size_bytes", bytes)
    });
    let told = Scraped::of(&address, None).unwrap();
    let at = told.must("cnpg_collector_last_available_backup_timestamp");
    let first = told.must("cnpg_collector_first_recoverability_point");
    assert!(first > 1.7e9 && first <= at + 1.0, "{first} {at}");
    assert!(told.must("pgherd_retention_last_run_timestamp_seconds") >= at - 1.0);
    assert!(told.is("cnpg_collector_last_failed_backup_timestamp", 0.0));
}

/// In place: nothing is restarted, and nobody is answered in the clear any more.
fn encrypted_when_asked(home: &Home, spec: &str) {
    let name = home.standby();
    let plain = addresses(home)[&name].clone();
    let agent = |home: &Home| {
        let status = home.json(&["status"]);
        let mut all = status["instances"].as_array().unwrap().iter();
        all.find(|it| it["name"] == *name).unwrap()["pid"].clone()
    };
    let before = agent(home);
    up(home, &home.manifest("local", spec));
    let address = addresses(home)[&name].clone();
    assert_eq!(address, plain.replace("http://", "https://"));
    let authority = home.folder().join("local").join(&name).join("tls/ca.crt");
    let authority = authority.to_str().unwrap();
    wait_for("encrypted metrics", || {
        let told = Scraped::of(&address, Some(authority));
        told.is_ok_and(|told| told.is("pgherd_office_held", 0.0))
    });
    assert!(Scraped::of(&plain, None).is_err());
    assert_eq!(agent(home), before);
}

#[test]
fn a_store_that_hangs_is_told_and_holds_up_no_scrape() {
    let mut home = Home::new();
    home.owns("local");
    let mut store = Store::start();
    let spec = format!("instances: 1, enableSuperuserAccess: true, {}", store.spec());
    let path = home.manifest("local", &spec);
    let text = std::fs::read_to_string(&path).unwrap() + &Store::secret();
    std::fs::write(&path, text).unwrap();
    up(&home, &path);
    fill_a_segment(&home);
    wait_for("the first segment", || primary(&home).must("pgherd_archive_segments_total") >= 1.0);

    store.freeze();
    fill_a_segment(&home);
    let mut slowest: f64 = 0.0;
    wait_for("a queue that fails", || {
        let told = primary(&home);
        slowest = slowest.max(told.took);
        told.is("pgherd_archive_failing", 1.0)
            && told.must("pgherd_archive_queue_segments") >= 1.0
            && told.must("pgherd_archive_queue_oldest_age_seconds") >= 1.0
    });
    assert!(slowest < 2.0, "a scrape took {slowest} seconds");

    store.stop();
    wait_for("attempts that fail", || {
        let told = primary(&home);
        told.must("pgherd_archive_failures_total") >= 1.0
            && told.get("pgherd_archive_last_failure_timestamp_seconds").is_some()
    });
    let told = primary(&home);
    assert!(told.must("cnpg_collector_pg_wal_archive_status{value=ready}") >= 1.0);
    assert!(told.is("pgherd_archive_alarm", 0.0), "two segments are not much: {}", told.text);

    store.resume();
    wait_for("an empty queue", || {
        let told = primary(&home);
        told.is("pgherd_archive_queue_segments", 0.0) && told.is("pgherd_archive_failing", 0.0)
    });
    let told = primary(&home);
    assert!(told.is("pgherd_archive_queue_oldest_age_seconds", 0.0));
    assert!(told.must("pgherd_archive_segments_total") >= 2.0);
    a_queue_grows_without_keys(&home);
}

/// An archive that cannot even be opened is no reason to call the queue empty.
fn a_queue_grows_without_keys(home: &Home) {
    let keys = home.folder().join("local/local-1/archive");
    std::fs::remove_file(keys.join("secret-access-key")).unwrap();
    for _ in 0..2 {
        fill_a_segment(home);
    }
    wait_for("a queue that cannot be opened", || {
        let told = primary(home);
        told.is("pgherd_archive_failing", 1.0)
            && told.must("pgherd_archive_queue_segments") >= 2.0
            && told.must("pgherd_archive_queue_bytes") >= f64::from(32 << 20)
    });
    let status = home.json(&["status"]);
    assert!(status["archive"]["waiting"].as_u64().unwrap() >= 2, "{status}");
}
