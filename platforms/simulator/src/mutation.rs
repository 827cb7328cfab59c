//! The mutation gate: every rule of the protocol, and how its absence is noticed.
//!
//! Never lists a rule twice, and breaks the build when core has one that is not listed.

use pgherd_core::rules::Rule;

/// Every rule, in the order in which core lists them.
pub const ALL: [Rule; 40] = [
    Rule::Margin,
    Rule::CountFromSending,
    Rule::WriteCountsFromSending,
    Rule::GrantsNeeded,
    Rule::UnanimousWithoutRecord,
    Rule::ObeyBothSets,
    Rule::OwnGrantBindsVote,
    Rule::OwnGrantBindsClaim,
    Rule::NoGrantWhileClaiming,
    Rule::WaitAfterBoot,
    Rule::EnoughRevoked,
    Rule::FastOnlyForGrantors,
    Rule::WholeTermUnchanged,
    Rule::OnlyMembersClaim,
    Rule::PersistPromise,
    Rule::PromiseBinds,
    Rule::SealBinds,
    Rule::SealBeforeVote,
    Rule::EnoughVoters,
    Rule::EveryPair,
    Rule::NotBehind,
    Rule::TimelineFirst,
    Rule::KeepOldPairs,
    Rule::RecordBeforeObey,
    Rule::ConfirmBeforeNarrow,
    Rule::ObeyBeforePromote,
    Rule::ResendOutstanding,
    Rule::EpochBump,
    Rule::RetakeOnlySameVolume,
    Rule::ReleaseAfterReaping,
    Rule::ReserveTimeline,
    Rule::DropDeadGrantor,
    Rule::FenceOnHigherEpoch,
    Rule::FenceOnExpiry,
    Rule::RewindMarker,
    Rule::RewindWhenDiverged,
    Rule::GateUntilConfirmed,
    Rule::NeverLowerEpoch,
    Rule::SoloElectsNobody,
    Rule::MaxLag,
];
