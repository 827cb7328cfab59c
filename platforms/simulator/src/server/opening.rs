//! Opening a server for writing: promotion, gate, checkpoint.
//!
//! Never opens one on a timeline that PostgreSQL would not have chosen.

use crate::clock::{MILLISECOND, SECOND};
use crate::names::{CommitRule, NodeId};
use crate::node::{PrimaryProcess, PrimaryState, Process, TaskRun};
use crate::server::tasks::Progress;
use crate::wal::{Branch, LogEnd};
use crate::world::World;
use pgherd_core::plan::{Outcome, Task};
use pgherd_core::seen::{Gate, Obeyed};
use pgherd_core::units::{Lsn, Timeline};
use std::collections::{BTreeMap, VecDeque};

/// What the end-of-recovery record takes.
const RECOVERY_RECORD: u64 = 104;
/// How long a promotion may take.
const PATIENCE: u64 = 30 * SECOND;

impl World {
    pub fn promote_due(&mut self, id: NodeId, run: &TaskRun) -> Progress {
        let Task::Promote { timeline, .. } = &run.task else { return Progress::Again(1) };
        self.replay(id);
        let node = &self.nodes[id];
        let Some(standby) = node.standby() else { return Progress::server_gone() };
        let Some(folder) = &node.folder else { return Progress::server_gone() };
        if standby.replayed < folder.log.lsn {
            if self.now > run.began + PATIENCE {
                return Progress::failed("replay takes too long");
            }
            return Progress::Again(20 * MILLISECOND);
        }
        let chosen = self.open(id, run);
        if chosen == Some(*timeline) {
            Progress::End(Outcome::Done)
        } else {
            Progress::failed("promoted onto another timeline than the reserved one")
        }
    }

    /// The server leaves recovery and accepts writes.
    fn open(&mut self, id: NodeId, run: &TaskRun) -> Option<Timeline> {
        let Task::Promote { epoch, timeline, obey, gate } = &run.task else { return None };
        self.stop_receiving(id);
        let folder = self.nodes[id].folder.as_mut()?;
        // The highest it can see and one more; the reserved one's predecessors are made visible.
        let chosen = folder.visible.next().max(*timeline);
        folder.visible = chosen;
        let fork = folder.log;
        let system_id = folder.system_id;
        let branch = self.forest.plant(Branch {
            parent: Some(fork),
            timeline: chosen,
            system_id,
            epoch: *epoch,
            end: Lsn(fork.lsn.0 + RECOVERY_RECORD),
            promised: Lsn(0),
            hoped: Lsn(0),
            tainted: false,
        });
        let log = LogEnd { branch, lsn: Lsn(fork.lsn.0 + RECOVERY_RECORD) };
        let rule = obey.as_ref().map(CommitRule::of);
        let node = &mut self.nodes[id];
        if let Some(folder) = &mut node.folder {
            folder.log = log;
        }
        node.process = Process::Primary(PrimaryProcess {
            epoch: *epoch,
            branch,
            gate: *gate,
            obeys: Some(Obeyed { pair: obey.clone(), since: fork.lsn }),
            file_rule: rule,
            postmaster_rule: rule,
            file_version: 0,
            postmaster_version: 0,
            checkpointer_version: 0,
            waits: rule.is_some_and(|rule| !rule.is_solo()),
            senders: BTreeMap::new(),
            waiting: VecDeque::new(),
            checkpointed: false,
            state: PrimaryState::Running,
        });
        self.figures.promotions += 1;
        self.note(id, || format!("is open for writing on timeline {chosen}, epoch {epoch}"));
        self.check_opening(id, branch, fork);
        self.check_opening_rule(id);
        self.judge_writers();
        self.check_quorum();
        if *gate == Gate::Open {
            self.check_gate(id);
        }
        Some(chosen)
    }

    pub fn open_gate(&mut self, id: NodeId) {
        if let Some(primary) = self.nodes[id].primary_mut() {
            primary.gate = Gate::Open;
            self.check_gate(id);
        }
    }

    pub fn checkpoint(&mut self, id: NodeId) {
        if let Some(primary) = self.nodes[id].primary_mut() {
            primary.checkpointed = true;
            self.append(id, 120);
            self.send_to_all(id);
        }
    }
}
