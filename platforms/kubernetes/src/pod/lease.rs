//! Keeps a cluster's record in the annotation of a Lease, changed by compare-and-swap.
//!
//! Never says that a write was applied, or was not, unless the API server said so; never takes a
//! Lease that it cannot read for one without a record.

use super::request::{RequestError, answer};
use super::whose::Whose;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use pgherd_agent::chain::chain;
use pgherd_api::history::{End, Why};
use pgherd_core::ports::{Coordinator, CoordinatorError, Written};
use pgherd_core::record::{Phase, Record, Write};
use pgherd_core::units::Epoch;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Holds the record as JSON.
pub const RECORD: &str = "pgherd.dev/record";

/// When each term was written here for the first time, as JSON: for people, nothing is decided by it.
pub const TERMS: &str = "pgherd.dev/terms";

/// How terms came to their ends whose holders could say so, as JSON: for people, too.
pub const ENDS: &str = "pgherd.dev/ends";

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
    #[error(
        "the Lease {lease} is of another cluster of this name: the one that this instance belongs to was deleted"
    )]
    Another { lease: String },
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
    whose: Whose,
}

impl LeaseCoordinator {
    pub fn new(leases: Api<Lease>, name: &str, whose: Whose) -> Self {
        Self { leases, name: Arc::from(name), kept: Arc::default(), whose }
    }

    async fn get(&self) -> Result<Found, LeaseError> {
        let lease = answer(self.leases.get(&self.name)).await;
        let lease = lease.map_err(|source| LeaseError::Get { lease: self.called(), source })?;
        if self.whose.learn_and_refuse(&lease.metadata) {
            return Err(LeaseError::Another { lease: self.called() });
        }
        found(lease)
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

/// The record in a Lease that somebody else has read.
pub fn record(lease: &Lease) -> Result<Option<Record>, CoordinatorError> {
    record_in(lease).map_err(|error| failed("reading the record", &error))
}

/// What a Lease says. One that could be replaced without a condition is refused.
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
    noted_in(lease, TERMS)
}

/// How each term came to its end, as far as that was noted.
pub fn ended(lease: &Lease) -> BTreeMap<Epoch, End> {
    noted_in(lease, ENDS)
}

fn noted_in<T: DeserializeOwned>(lease: &Lease, annotation: &str) -> BTreeMap<Epoch, T> {
    let text = lease.metadata.annotations.as_ref().and_then(|all| all.get(annotation));
    // What somebody has damaged is begun anew.
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// The same version of the same Lease, with `record` in it.
fn with_record(found: &Found, record: &Record, now: Timestamp) -> Result<Lease, LeaseError> {
    let encoded = |source| LeaseError::Encode { source };
    let text = serde_json::to_string(record).map_err(encoded)?;
    // Of a term, seconds are enough.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let terms = serde_json::to_string(&noted(found, record, now)).map_err(encoded)?;
    let ends = ends(found, record, now);
    let told = serde_json::to_string(&ends).map_err(encoded)?;
    let mut next = found.lease.clone();
    let annotations = next.metadata.annotations.get_or_insert_default();
    annotations.extend([(RECORD.to_owned(), text), (TERMS.to_owned(), terms)]);
    if ends.is_empty() {
        annotations.remove(ENDS);
    } else {
        annotations.insert(ENDS.to_owned(), told);
    }
    // For people, who look at a Lease with kubectl.
    let spec = next.spec.get_or_insert_default();
    spec.holder_identity = Some(record.holder.instance.to_string());
    spec.lease_transitions = Some(i32::try_from(record.epoch.0).unwrap_or(i32::MAX));
    Ok(next)
}

/// The moments of those terms that the record keeps; of one that is new it is this one. A record that
/// had to be written anew does not tell when the terms before it began.
fn noted(found: &Found, record: &Record, now: Timestamp) -> BTreeMap<Epoch, Timestamp> {
    let mut noted = began(&found.lease);
    let epochs = |record: &Record| record.terms.iter().map(|term| term.epoch).collect();
    let kept: BTreeSet<Epoch> = epochs(record);
    let before: BTreeSet<Epoch> = found.record.as_ref().map(epochs).unwrap_or_default();
    let is_new = |epoch: &Epoch| found.record.is_some() || *epoch == record.epoch;
    let new = kept.difference(&before).copied().filter(is_new);
    noted.extend(new.map(|epoch| (epoch, now)));
    noted.retain(|epoch, _| kept.contains(epoch));
    noted
}

/// What is noted of ends, and that of the present term, if this write says that its holder leaves.
fn ends(found: &Found, record: &Record, now: Timestamp) -> BTreeMap<Epoch, End> {
    let mut ends = ended(&found.lease);
    let term = |record: &Record| record.terms.last().map(|term| term.epoch);
    if let (Some(before), Some(epoch)) = (&found.record, term(record))
        && term(before) == Some(epoch)
    {
        let why = |unless: Why| ends.get(&epoch).map_or(unless, |end| end.why);
        let end = match (&before.phase, &record.phase) {
            // It stays after all.
            (_, Phase::Serving) => None,
            (Phase::Serving | Phase::Vacant { .. }, Phase::HandingOver { .. }) => {
                let is_asked = record.switchover > before.switchover;
                Some(End { at: now, why: if is_asked { Why::Request } else { Why::Departure } })
            }
            (Phase::Serving, Phase::Vacant { .. }) => Some(End { at: now, why: Why::Stop }),
            (Phase::HandingOver { .. }, Phase::Vacant { .. }) => {
                Some(End { at: now, why: why(Why::Departure) })
            }
            (Phase::HandingOver { .. }, Phase::HandingOver { .. })
            | (Phase::Vacant { .. }, Phase::Vacant { .. }) => ends.get(&epoch).copied(),
        };
        match end {
            Some(end) => ends.insert(epoch, end),
            None => ends.remove(&epoch),
        };
    }
    let kept: BTreeSet<Epoch> = record.terms.iter().map(|term| term.epoch).collect();
    ends.retain(|epoch, _| kept.contains(epoch));
    ends
}

fn called(lease: &Lease) -> String {
    let of = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", of(&lease.metadata.namespace), of(&lease.metadata.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use pgherd_core::names::InstanceName;
    use pgherd_core::ports::contract;
    use pgherd_core::units::{Lsn, WalPosition};
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
        assert_eq!(write(&record, 10), [(1, 10)], "whatever was before began earlier");
        // A renewal.
        assert_eq!(write(&record, 20), [(1, 10)]);
        let mut term = record.terms[1].clone();
        term.epoch = Epoch(4);
        record.terms.push(term);
        record.terms.remove(0);
        assert_eq!(write(&record, 30), [(1, 10), (4, 30)]);
    }

    #[test]
    fn how_a_term_ends_is_noted_with_the_write_that_ends_it() {
        let first = contract::sample(1);
        let mut found = Found { lease: lease(json!({})), record: None };
        let mut write = |record: &Record, second: i64| {
            let now = Timestamp::from_second(second).unwrap();
            let lease = with_record(&found, record, now).unwrap();
            let has_any = lease.metadata.annotations.as_ref().unwrap().contains_key(ENDS);
            let told: Vec<_> = ended(&lease)
                .into_iter()
                .map(|(epoch, end)| format!("{epoch} {}s {:?}", end.at.as_second(), end.why))
                .collect();
            assert_eq!(has_any, !told.is_empty());
            found = Found { lease, record: Some(record.clone()) };
            told.join(", ")
        };
        let hands_over = |record: &Record, switchover| {
            let target = InstanceName::new(first.holder.instance.cluster(), 2);
            Record { phase: Phase::HandingOver { target }, switchover, ..record.clone() }
        };
        let end = WalPosition { timeline: first.timeline, lsn: Lsn(7) };
        let vacant = |record: &Record| Record { phase: Phase::Vacant { end }, ..record.clone() };
        let next = |record: &Record, epoch| {
            let mut next = Record { phase: Phase::Serving, ..record.clone() };
            let mut term = next.terms.last().unwrap().clone();
            term.epoch = Epoch(epoch);
            next.terms.push(term);
            next
        };
        assert_eq!(write(&first, 10), "");
        let asked = hands_over(&first, 1);
        assert_eq!(write(&asked, 20), "1 20s Request");
        assert_eq!(write(&asked, 21), "1 20s Request");
        // Given up: it stays.
        let stays = Record { phase: Phase::Serving, ..asked };
        assert_eq!(write(&stays, 22), "");
        let leaves = hands_over(&stays, 1);
        assert_eq!(write(&leaves, 30), "1 30s Departure");
        let second = next(&leaves, 2);
        assert_eq!(write(&second, 31), "1 30s Departure");
        assert_eq!(write(&second, 40), "1 30s Departure");
        let asleep = vacant(&second);
        assert_eq!(write(&asleep, 50), "1 30s Departure, 2 50s Stop");
        let mut third = next(&asleep, 3);
        third.terms.retain(|term| term.epoch > Epoch(1));
        assert_eq!(write(&third, 90), "2 50s Stop");
        let gone = hands_over(&third, 2);
        write(&gone, 95);
        assert_eq!(write(&vacant(&gone), 96), "2 50s Stop, 3 96s Request");
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
                  "pgherd.dev/terms": "{\"1\":\"2027-01-15T08:00:00Z\"}"
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
