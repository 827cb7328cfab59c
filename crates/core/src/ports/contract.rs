//! One suite that every keeper of the record must pass.
//!
//! Never assumes anything of a platform: it is handed an empty store, and panics where the
//! contract is broken.
#![expect(clippy::panic, reason = "a broken contract ends the test that runs it")]

use super::{Coordinator, CoordinatorError, Written};
use crate::names::{ClusterName, InstanceName};
use crate::record::{Holder, Record, Revision, Write, WriteId};
use crate::units::{SystemId, Timeline};

/// Runs the whole suite against an empty store.
pub async fn coordinator(store: &impl Coordinator) {
    an_empty_store_has_no_record(store).await;
    let first = sample(1);
    only_the_first_creation_applies(store, &first).await;
    a_write_applies_only_over_its_base(store, &first).await;
    a_repeated_write_does_not_apply_twice(store).await;
}

async fn an_empty_store_has_no_record(store: &impl Coordinator) {
    assert_eq!(must(store.read().await), None, "an empty store has a record");
}

async fn only_the_first_creation_applies(store: &impl Coordinator, first: &Record) {
    assert_eq!(must(store.write(&Write::over(None, first.clone())).await), Written::Applied);
    let other = Record { written: WriteId { incarnation: 2, number: 1 }, ..first.clone() };
    let conflict = must(store.write(&Write::over(None, other)).await);
    assert_eq!(conflict, Written::Conflict { current: Some(first.clone()) });
    assert_eq!(must(store.read().await), Some(first.clone()));
}

async fn a_write_applies_only_over_its_base(store: &impl Coordinator, first: &Record) {
    let second = first.rewritten(WriteId { incarnation: 1, number: 2 });
    let third = second.rewritten(WriteId { incarnation: 1, number: 3 });
    let early = must(store.write(&Write::over(Some(&second), third.clone())).await);
    assert_eq!(early, Written::Conflict { current: Some(first.clone()) });
    let applied = must(store.write(&Write::over(Some(first), second.clone())).await);
    assert_eq!(applied, Written::Applied);
    let late = first.rewritten(WriteId { incarnation: 3, number: 1 });
    let conflict = must(store.write(&Write::over(Some(first), late.clone())).await);
    assert_eq!(conflict, Written::Conflict { current: Some(second.clone()) });
    let other_past = must(store.write(&Write::over(Some(&late), third.clone())).await);
    assert_eq!(other_past, Written::Conflict { current: Some(second.clone()) });
    let applied = must(store.write(&Write::over(Some(&second), third.clone())).await);
    assert_eq!(applied, Written::Applied);
    assert_eq!(must(store.read().await), Some(third));
}

async fn a_repeated_write_does_not_apply_twice(store: &impl Coordinator) {
    let Some(current) = must(store.read().await) else { panic!("the record is gone") };
    let next = current.rewritten(WriteId { incarnation: 1, number: 9 });
    let write = Write::over(Some(&current), next.clone());
    assert_eq!(must(store.write(&write).await), Written::Applied);
    let again = must(store.write(&write).await);
    assert_eq!(again, Written::Conflict { current: Some(next.clone()) });
    assert_eq!(must(store.read().await), Some(next));
}

/// A first record of a cluster called `contract`.
pub fn sample(incarnation: u64) -> Record {
    let Ok(cluster) = ClusterName::parse("contract") else { panic!("the sample name is refused") };
    let holder = Holder { instance: InstanceName::new(&cluster, 1), volume: 1, incarnation };
    let written = WriteId { incarnation, number: 1 };
    let record = Record::first(holder, SystemId(7), Timeline(1), written);
    assert_eq!(record.revision, Revision(1));
    record
}

fn must<T>(result: Result<T, CoordinatorError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the store failed: {error}"),
    }
}
