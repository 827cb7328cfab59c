//! What people do to pods, volumes and nodes on purpose.
//!
//! Never what they could not do with kubectl or pgherd.

use super::cluster::HEALED_WITHIN;
use super::figures::Round;
use super::stage::Stage;
use crate::wait;
use anyhow::{Context, Result};
use serde_json::Value;
use std::time::Duration;

const DRAINED_WITHIN: Duration = Duration::from_secs(130);
const SWITCHED_OVER_WITHIN: Duration = Duration::from_mins(2);

impl Stage<'_> {
    pub(super) fn pod_deleted(&self) -> Result<Round> {
        self.delete_primary(&["--wait=false"])
    }

    pub(super) fn pod_force_deleted(&self) -> Result<Round> {
        self.delete_primary(&["--grace-period=0", "--force", "--wait=false"])
    }

    fn delete_primary(&self, how: &[&str]) -> Result<Round> {
        let cast = self.cast()?;
        let delete = [&["delete", "pod", &cast.primary], how].concat();
        self.round(
            &cast,
            |_| {
                self.place().kubectl(&delete)?;
                self.cluster.wait_later(cast.epoch).map(drop)
            },
            || Ok(()),
        )
    }

    pub(super) fn node_drained(&self) -> Result<Round> {
        let cast = self.cast()?;
        let node = self.cluster.node_of(&cast.primary)?.to_string();
        let drain = [
            "drain",
            &node,
            "--ignore-daemonsets",
            "--delete-emptydir-data",
            "--force",
            "--timeout=120s",
        ];
        let drained = self.round(
            &cast,
            |_| {
                self.place().kubectl_within(&drain, DRAINED_WITHIN)?;
                self.cluster.wait_later(cast.epoch).map(drop)
            },
            || self.place().kubectl(&["uncordon", &node]).map(drop),
        );
        if drained.is_err() {
            self.place().kubectl(&["uncordon", &node])?;
        }
        drained
    }

    /// By pgherd's own command; what it says of the time stands beside what the client saw.
    pub(super) fn switchover(&self) -> Result<Round> {
        let cast = self.cast()?;
        let mut said = String::new();
        let mut round = self.round(
            &cast,
            |_| {
                let words = ["switchover", self.cluster.name];
                said = self.place().pgherd(&words, SWITCHED_OVER_WITHIN)?;
                self.cluster.wait_later(cast.epoch).map(drop)
            },
            || Ok(()),
        )?;
        round.notes.extend(said.lines().last().map(str::to_owned));
        Ok(round)
    }

    pub(super) fn standby_volume_deleted(&self) -> Result<Round> {
        let cast = self.cast()?;
        let standby = self.cluster.standby()?;
        let identity = || {
            let claim = self.place().get("pvc", &standby)?;
            Some(claim.pointer("/metadata/uid").and_then(Value::as_str)?.to_owned())
        };
        let before = identity().with_context(|| format!("there is no volume {standby}"))?;
        self.round(
            &cast,
            |_| {
                self.place().kubectl(&["delete", "pvc", &standby, "--wait=false"])?;
                self.place().kubectl(&["delete", "pod", &standby, "--wait=false"])?;
                wait::find_seldom("another volume", HEALED_WITHIN, || {
                    Ok(identity().filter(|now| *now != before).map(drop))
                })
                .with_context(|| self.cluster.told())
            },
            || Ok(()),
        )
    }
}
