//! Tells how far a switchover is that was asked for, from the record before it and the one of now.
//!
//! Never takes a failover for it.

use crate::names::InstanceName;
use crate::record::{Cause, Phase, Record};

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Nothing has begun.
    Asked,
    HandingOver {
        target: InstanceName,
    },
    /// The primary has stopped, and nobody holds its office.
    Vacant,
    Over {
        to: InstanceName,
    },
    Failed(Why),
}

/// Why it came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Nobody was ready in time.
    GivenUp { stays: InstanceName },
    /// It was handed over, and another one than the one that was asked for took it.
    Elsewhere { to: InstanceName, asked: InstanceName },
    /// Somebody took the office before it was handed over as asked.
    Overtaken { by: InstanceName, cause: Cause },
}

/// How far the request of this number is; `target` is whom it asked for, if anybody.
pub fn stage(
    (number, target): (u64, Option<&InstanceName>),
    before: &Record,
    now: &Record,
) -> Stage {
    let old = &before.holder.instance;
    let mut since = now.terms.iter().filter(|term| term.epoch > before.epoch);
    let successor = since.find(|term| term.holder != *old);
    match (&now.phase, successor) {
        (_, Some(term)) => {
            let to = term.holder.clone();
            let is_ours = term.cause == Cause::HandedOver && now.switchover >= number;
            match (is_ours, target) {
                (false, _) => Stage::Failed(Why::Overtaken { by: to, cause: term.cause }),
                (true, Some(asked)) if *asked != to => {
                    Stage::Failed(Why::Elsewhere { to, asked: asked.clone() })
                }
                (true, Some(_) | None) => Stage::Over { to },
            }
        }
        (Phase::HandingOver { target }, None) => Stage::HandingOver { target: target.clone() },
        (Phase::Vacant { .. }, None) => Stage::Vacant,
        (Phase::Serving, None) if now.switchover >= number => {
            Stage::Failed(Why::GivenUp { stays: old.clone() })
        }
        (Phase::Serving, None) => Stage::Asked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{name, record};
    use crate::record::{Holder, Takeover, WriteId};
    use crate::units::{Epoch, Lsn};
    use expect_test::expect;

    /// This one takes the office, in the next epoch.
    fn taken(record: &Record, serial: u32, cause: Cause) -> Record {
        let takeover = Takeover {
            holder: Holder { instance: name(serial), ..record.holder.clone() },
            epoch: Epoch(record.epoch.0 + 1),
            parent: record.timeline,
            parent_began: Lsn(1),
            began: None,
            cause,
            pair: None,
        };
        record.taken_over(WriteId::default(), takeover)
    }

    fn begun(record: &Record) -> Record {
        Record { switchover: 1, ..record.clone() }
    }

    #[test]
    fn only_what_was_handed_over_as_asked_is_a_switchover() {
        let before = record(3);
        let handing = |target| Record {
            phase: Phase::HandingOver { target: name(target) },
            ..begun(&before)
        };
        let failed = taken(&before, 3, Cause::GrantsLost);
        let records = [
            before.clone(),
            handing(2),
            taken(&begun(&before), 2, Cause::HandedOver),
            taken(&begun(&before), 3, Cause::HandedOver),
            // It was shut down by somebody else at the same time.
            taken(&before, 2, Cause::HandedOver),
            begun(&before),
            failed.clone(),
            // It has been told since that the request is over.
            begun(&failed),
            taken(&begun(&failed), 2, Cause::HandedOver),
            // PostgreSQL died, and was started again in its place.
            taken(&before, 1, Cause::Retaken),
            taken(&begun(&before), 1, Cause::Retaken),
            // Some member had promised a higher epoch in vain.
            before.bumped(WriteId::default(), Epoch(9)),
        ];
        let told = records.map(|now| {
            let stage = stage((1, Some(&name(2))), &before, &now);
            format!("{stage:?}\n").replace("InstanceName { cluster: ClusterName(\"db\"), ", "{ ")
        });
        expect![[r#"
            Asked
            HandingOver { target: { serial: 2 } }
            Over { to: { serial: 2 } }
            Failed(Elsewhere { to: { serial: 3 }, asked: { serial: 2 } })
            Failed(Overtaken { by: { serial: 2 }, cause: HandedOver })
            Failed(GivenUp { stays: { serial: 1 } })
            Failed(Overtaken { by: { serial: 3 }, cause: GrantsLost })
            Failed(Overtaken { by: { serial: 3 }, cause: GrantsLost })
            Failed(Overtaken { by: { serial: 3 }, cause: GrantsLost })
            Asked
            Failed(GivenUp { stays: { serial: 1 } })
            Asked
        "#]]
        .assert_eq(&told.concat());
    }

    #[test]
    fn whoever_is_ready_will_do_if_nobody_is_named() {
        let before = record(3);
        let over = taken(&begun(&before), 3, Cause::HandedOver);
        let stage = stage((1, None), &before, &over);
        assert_eq!(stage, Stage::Over { to: name(3) });
    }

    #[test]
    fn an_office_that_its_holder_took_back_has_not_changed_hands() {
        let before = record(3);
        let back = taken(&before, 1, Cause::Retaken);
        assert!(!back.has_changed_hands_since(before.epoch));
        let other = taken(&back, 2, Cause::Released);
        assert!(other.has_changed_hands_since(before.epoch));
        assert!(!other.has_changed_hands_since(other.epoch));
        // It went to another one and came back.
        assert!(taken(&other, 1, Cause::HandedOver).has_changed_hands_since(before.epoch));
    }
}
