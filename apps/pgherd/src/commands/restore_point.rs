//! What people are told of a restore point that was made.
//!
//! Never told before it is in the log.

use super::form::{Form, write};
use pgherd_api::agent::{RestorePoint, RestorePointOrder};
use pgherd_core::names::InstanceName;
use pgherd_local::failure::Failure;

/// A name that PostgreSQL takes for a restore point.
pub(crate) fn name(given: &str) -> Result<String, String> {
    match RestorePointOrder::wrong(given) {
        Some(why) => Err(why.to_owned()),
        None => Ok(given.to_owned()),
    }
}

pub(crate) fn tell(
    form: Form,
    (cluster, primary): (&str, &InstanceName),
    point: &RestorePoint,
) -> Result<(), Failure> {
    let RestorePoint { name, lsn, wal } = point;
    let line =
        format!("restore point {name:?} of cluster/{cluster} is at {lsn} in {wal} (on {primary})");
    let document = serde_json::json!({
        "cluster": cluster, "instance": primary, "name": name, "lsn": lsn, "wal": wal,
    });
    write(form, (std::slice::from_ref(name), &[line]), &document)
}
