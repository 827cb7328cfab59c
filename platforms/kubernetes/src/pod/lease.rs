//! Keeps a cluster's record in the annotation of a Lease, changed by compare-and-swap.
//!
//! Never says that a write was applied, or was not, unless the API server said so; never takes a
//! Lease that it cannot read for one without a record.

use super::request::{RequestError, answer};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use pgherd_agent::chain::chain;
use pgherd_core::ports::{Coordinator, CoordinatorError, Written};
use pgherd_core::record::{Record, Write};
use pgherd_core::units::Epoch;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Holds the record as JSON.
pub const RECORD: &str = "pgherd.dev/record";

/// When each term was written here for the first time, as JSON: for people, nothing is decided by it.
pub const TERMS: &str = "pgherd.dev/terms";

/// How often one write is put over a Lease that changes beside its record, as when a person sets
/// a label.
const PUTS: usize = 3;

#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error("getting the Lease {lease}")]
    Get { lease: String, source: RequestError },
    #[error("replacing the Lease {lease}")]
    Replace { lease: String, source: RequestError },
    #[error(
        "annotation {RECORD} of the Lease {lease} is not a record: put back what it was, or use the version of pgherd that wrote it; if that is lost, remove the annotation, and the instances agree on another record"
    )]
    Decode { lease: String, source: serde_json::Error },
    #[error("turning the record into JSON")]
    Encode { source: serde_json::Error },
    #[error(
        "the Lease {lease} was given without its uid or version, so it cannot be changed safely"
    )]
    Identify { lease: String },
    #[error("the Lease {lease} was stored with another record than was sent: a webhook changes it")]
    Compare { lease: String },
    #[error(
        "the Lease {lease} was changed by others {PUTS} times, but not its record: find out who"
    )]
    Outrun { lease: String },
}

/// A Lease as the API server gave it, and the record found in it.
#[derive(Clone)]
struct Found {
    lease: Lease,
    record: Option<Record>,
}

/// Reads and writes the record of one cluster. Clones share what was last seen of the Lease.
#[derive(Clone)]
pub struct LeaseCoordinator {
    leases: Api<Lease>,
    name: Arc<str>,
    /// The last one read or written, so that an ordinary renewal costs one request. It may be
    /// behind: then the write over it is refused.
    kept: Arc<Mutex<Option<Found>>>,
}

impl LeaseCoordinator {
    pub fn new(leases: Api<Lease>, name: &str) -> Self {
        Self { leases, name: Arc::from(name), kept: Arc::default() }
    }

    async fn get(&self) -> Result<Found, LeaseError> {
        let lease = answer(self.leases.get(&self.name)).await;
        found(lease.map_err(|source| LeaseError::Get { lease: self.called(), source })?)
    }

    async fn current(&self) -> Result<Option<Record>, LeaseError> {
        match self.get().await {
            Ok(found) => Ok(self.keep(found)),
            Err(LeaseError::Get { source: RequestError::Missing, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn swap(&self, write: &Write) -> Result<Written, LeaseError> {
        // Taken, not lent: whatever goes wrong from here on, nothing doubtful is kept.
        let mut found = match self.take() {
            Some(kept) if write.applies_to(kept.record.as_ref()) => kept,
            Some(_) | None => self.get().await?,
        };
        let mut puts = 0;
        while write.applies_to(found.record.as_ref()) {
            if puts == PUTS {
                return Err(LeaseError::Outrun { lease: self.called() });
            }
            puts += 1;
            let next = with_record(&found, &write.record, Timestamp::now())?;
            match answer(self.leases.replace(&self.name, &PostParams::default(), &next)).await {
                Ok(stored) => return self.applied(stored, &write.record),
                // This put can never apply: the version it was for is gone.
                Err(RequestError::Changed) => found = self.get().await?,
                Err(source) => return Err(LeaseError::Replace { lease: self.called(), source }),
            }
        }
        // What is there may be this very write, sent before; its writer knows it by its id.
        Ok(Written::Conflict { current: self.keep(found) })
    }

    fn applied(&self, stored: Lease, record: &Record) -> Result<Written, LeaseError> {
        let stored = found(stored)?;
        if stored.record.as_ref() != Some(record) {
            return Err(LeaseError::Compare { lease: self.called() });
        }
        self.keep(stored);
        Ok(Written::Applied)
    }

    fn take(&self) -> Option<Found> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn keep(&self, found: Found) -> Option<Record> {
        let record = found.record.clone();
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        record
    }

    fn called(&self) -> String {
        format!("{}/{}", self.leases.namespace().unwrap_or_default(), self.name)
    }
}

impl Coordinator for LeaseCoordinator {
    async fn read(&self) -> Result<Option<Record>, CoordinatorError> {
        self.current().await.map_err(|error| failed("reading the record", &error))
    }

    async fn write(&self, write: &Write) -> Result<Written, CoordinatorError> {
        self.swap(write).await.map_err(|error| failed("writing the record", &error))
    }
}

fn failed(attempt: &'static str, error: &LeaseError) -> CoordinatorError {
    CoordinatorError { attempt, why: chain(error).to_string() }
}

/// What a Lease says. One that could be replaced without a condition is refused.
/// The record in a Lease that somebody else has read.
pub fn record(lease: &Lease) -> Result<Option<Record>, CoordinatorError> {
    record_in(lease).map_err(|error| failed("reading the record", &error))
}

fn found(mut lease: Lease) -> Result<Found, LeaseError> {
    let given = |value: Option<&String>| value.is_some_and(|value| !value.is_empty());
    let metadata = &mut lease.metadata;
    if !given(metadata.uid.as_ref()) || !given(metadata.resource_version.as_ref()) {
        return Err(LeaseError::Identify { lease: called(&lease) });
    }
    // Left out of a replacement, the API server takes its own.
    metadata.managed_fields = None;
    let record = record_in(&lease)?;
    Ok(Found { lease, record })
}

fn record_in(lease: &Lease) -> Result<Option<Record>, LeaseError> {
    let annotation = lease.metadata.annotations.as_ref().and_then(|all| all.get(RECORD));
    let record = annotation.map(|text| serde_json::from_str(text)).transpose();
    record.map_err(|source| LeaseError::Decode { lease: called(lease), source })
}

/// When each term began, as far as that was noted.
pub fn began(lease: &Lease) -> BTreeMap<Epoch, Timestamp> {
    let annotation = lease.metadata.annotations.as_ref().and_then(|all| all.get(TERMS));
    // What somebody has damaged is begun anew.
    annotation.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// The same version of the same Lease, with `record` in it.
fn with_record(found: &Found, record: &Record, now: Timestamp) -> Result<Lease, LeaseError> {
    let encoded = |source| LeaseError::Encode { source };
    let text = serde_json::to_string(record).map_err(encoded)?;
    let terms = serde_json::to_string(&noted(found, record, now)).map_err(encoded)?;
    let mut next = found.lease.clone();
    let annotations = next.metadata.annotations.get_or_insert_default();
    annotations.extend([(RECORD.to_owned(), text), (TERMS.to_owned(), terms)]);
    // For people, who look at a Lease with kubectl.
    let spec = next.spec.get_or_insert_default();
    spec.holder_identity = Some(record.holder.instance.to_string());
    spec.lease_transitions = Some(i32::try_from(record.epoch.0).unwrap_or(i32::MAX));
    Ok(next)
}

/// The moments of those terms that the record keeps; of one that is new it is this one.
fn noted(found: &Found, record: &Record, now: Timestamp) -> BTreeMap<Epoch, Timestamp> {
    let mut noted = began(&found.lease);
    let epochs = |record: &Record| record.terms.iter().map(|term| term.epoch).collect();
    let kept: BTreeSet<Epoch> = epochs(record);
    let before: BTreeSet<Epoch> = found.record.as_ref().map(epochs).unwrap_or_default();
    let second = Timestamp::from_second(now.as_second()).unwrap_or(now);
    noted.extend(kept.difference(&before).map(|epoch| (*epoch, second)));
    noted.retain(|epoch, _| kept.contains(epoch));
    noted
}

fn called(lease: &Lease) -> String {
    let of = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", of(&lease.metadata.namespace), of(&lease.metadata.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use pgherd_core::ports::contract;
    use serde_json::json;

    fn lease(metadata: serde_json::Value) -> Lease {
        let mut metadata = metadata;
        metadata["name"] = "orders".into();
        metadata["namespace"] = "shop".into();
        serde_json::from_value(json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata,
        }))
        .unwrap()
    }

    fn refusal(metadata: serde_json::Value) -> String {
        failed("reading the record", &found(lease(metadata)).err().unwrap()).to_string()
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    #[test]
    fn the_moment_of_a_term_is_noted_once_and_forgotten_with_it() {
        let mut record = contract::sample(3);
        let mut found = Found { lease: lease(json!({})), record: None };
        let mut write = |record: &Record, second: i64| {
            let now = Timestamp::from_second(second).unwrap();
            let lease = with_record(&found, record, now).unwrap();
            let told: Vec<_> =
                began(&lease).into_iter().map(|(e, at)| (e.0, at.as_second())).collect();
            found = Found { lease, record: Some(record.clone()) };
            told
        };
        assert_eq!(write(&record, 10), [(0, 10), (1, 10)]);
        // A renewal.
        assert_eq!(write(&record, 20), [(0, 10), (1, 10)]);
        let mut term = record.terms[1].clone();
        term.epoch = Epoch(4);
        record.terms.push(term);
        record.terms.remove(0);
        assert_eq!(write(&record, 30), [(1, 10), (4, 30)]);
    }

    #[test]
    fn a_record_reads_back_as_written_and_the_rest_stays() {
        let empty = lease(json!({
            "uid": "u", "resourceVersion": "7", "labels": {"a": "b"}, "annotations": {"c": "d"},
            "managedFields": [{"manager": "m", "operation": "Update"}],
        }));
        let empty = found(empty).unwrap();
        assert_eq!(empty.record, None);
        let record = contract::sample(3);
        let next = with_record(&empty, &record, now()).unwrap();
        assert_eq!(found(next.clone()).unwrap().record, Some(record));
        expect![[r#"
            {
              "apiVersion": "coordination.k8s.io/v1",
              "kind": "Lease",
              "metadata": {
                "annotations": {
                  "c": "d",
                  "pgherd.dev/record": "{\"revision\":1,\"written\":{\"incarnation\":3,\"number\":1},\"epoch\":1,\"holder\":{\"instance\":\"contract-1\",\"volume\":1,\"incarnation\":3},\"phase\":\"serving\",\"grantors\":[],\"members\":[\"contract-1\"],\"quorum\":[],\"timeline\":2,\"next_timeline\":3,\"terms\":[{\"epoch\":0,\"timeline\":1,\"parent\":1,\"holder\":\"contract-1\",\"cause\":\"initialised\",\"began\":\"0/0\"},{\"epoch\":1,\"timeline\":2,\"parent\":1,\"holder\":\"contract-1\",\"cause\":\"initialised\",\"began\":null}],\"system_id\":7,\"switchover\":0}",
                  "pgherd.dev/terms": "{\"0\":\"2027-01-15T08:00:00Z\",\"1\":\"2027-01-15T08:00:00Z\"}"
                },
                "labels": {
                  "a": "b"
                },
                "name": "orders",
                "namespace": "shop",
                "resourceVersion": "7",
                "uid": "u"
              },
              "spec": {
                "holderIdentity": "contract-1",
                "leaseTransitions": 1
              }
            }"#]].assert_eq(&serde_json::to_string_pretty(&next).unwrap());
    }

    #[test]
    fn an_epoch_beyond_what_a_lease_counts_is_kept_in_the_record() {
        let record = Record { epoch: Epoch(u64::MAX), ..contract::sample(1) };
        let empty = Found { lease: lease(json!({})), record: None };
        let next = with_record(&empty, &record, now()).unwrap();
        assert_eq!(next.spec.clone().unwrap().lease_transitions, Some(i32::MAX));
        assert_eq!(record_in(&next).unwrap(), Some(record));
    }

    #[test]
    fn what_is_no_record_is_never_taken_for_none() {
        let with = |text: &str| {
            refusal(json!({"uid": "u", "resourceVersion": "7", "annotations": {RECORD: text}}))
        };
        expect![[r#"
            reading the record: annotation pgherd.dev/record of the Lease shop/orders is not a record: put back what it was, or use the version of pgherd that wrote it; if that is lost, remove the annotation, and the instances agree on another record: EOF while parsing a value at line 1 column 0
            reading the record: annotation pgherd.dev/record of the Lease shop/orders is not a record: put back what it was, or use the version of pgherd that wrote it; if that is lost, remove the annotation, and the instances agree on another record: missing field `revision` at line 1 column 2
            reading the record: annotation pgherd.dev/record of the Lease shop/orders is not a record: put back what it was, or use the version of pgherd that wrote it; if that is lost, remove the annotation, and the instances agree on another record: invalid type: null, expected struct Record at line 1 column 4"#]].assert_eq(&[with(""), with("{}"), with("null")].join("\n"));
    }

    #[test]
    fn a_lease_that_could_only_be_replaced_blindly_is_refused() {
        let blind = [json!({"uid": "u"}), json!({"resourceVersion": "7", "uid": ""})];
        expect![[r#"
            reading the record: the Lease shop/orders was given without its uid or version, so it cannot be changed safely
            reading the record: the Lease shop/orders was given without its uid or version, so it cannot be changed safely"#]].assert_eq(&blind.map(refusal).join("\n"));
    }
}
