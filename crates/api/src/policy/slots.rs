//! Refuses wishes for logical slots on standbys that nobody would keep.
//!
//! Never knows which slots there are.

use super::Check;

pub(super) const CHECKS: &[Check] = &[
    Check::new(
        "cluster-copied-slots-need-feedback",
        "spec: ",
        r"['pg_failover_slots', 'synchronizeLogicalDecoding'].filter(wish, (wish == 'pg_failover_slots' ? variables.failover_slots : variables.slots[?wish].orValue(false)) && !variables.parameters.exists(name, name.lowerAscii() == 'hot_standby_feedback' && variables.parameters[name].matches(r'(?i)^\s*(1|on|t|tr|tru|true|y|ye|yes)\s*$')))",
        "needs what logical slots need kept: add hot_standby_feedback: 'on' to spec.postgresql.parameters",
    ),
    Check::new(
        "cluster-copied-slots-need-a-copier",
        "spec.replicationSlots.highAvailability.",
        r"['synchronizeLogicalDecoding'].filter(wish, variables.slots[?wish].orValue(false) && !variables.failover_slots && !variables.parameters.exists(name, name.lowerAscii() == 'sync_replication_slots' && variables.parameters[name].matches(r'(?i)^\s*(1|on|t|tr|tru|true|y|ye|yes)\s*$')))",
        "needs someone to copy slots: add sync_replication_slots: 'on' to spec.postgresql.parameters, or, before PostgreSQL 17, use pg_failover_slots",
    ),
    Check::new(
        "cluster-failover-slots-follow-ours",
        "spec.replicationSlots.highAvailability.",
        "['enabled'].filter(field, variables.failover_slots && !variables.slots[?field].orValue(true))",
        "has to be true for pg_failover_slots: write it, or remove the parameters of pg_failover_slots",
    ),
];
