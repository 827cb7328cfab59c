//! Making a folder: initialise, clone, rewind, fetch the tail of a log.
//!
//! Never leaves a folder whole that the real tool would leave half-done.

use crate::clock::{MILLISECOND, SECOND};
use crate::names::NodeId;
use crate::node::{Control, Folder, PrimaryState, TaskRun};
use crate::server::tasks::Progress;
use crate::wal::{Branch, LogEnd};
use crate::world::World;
use pgherd_core::plan::Outcome;
use pgherd_core::units::{Epoch, Lsn, SystemId, Timeline, WalPosition};

impl World {
    pub fn initialise(&mut self, id: NodeId) -> Progress {
        let system_id = SystemId(self.dice.server.draw());
        let branch = self.forest.plant(Branch {
            parent: None,
            timeline: Timeline(1),
            system_id,
            epoch: Epoch(0),
            end: Lsn(0x0100_0028),
            promised: Lsn(0),
            hoped: Lsn(0),
            tainted: false,
        });
        let log = LogEnd { branch, lsn: Lsn(0x0100_0028) };
        self.nodes[id].folder = Some(Folder {
            system_id,
            log,
            visible: Timeline(1),
            control: Control::CleanPrimary,
            half_rewound: false,
        });
        Progress::End(Outcome::Done)
    }

    /// Each call copies a little more; the source must be there all the time.
    pub fn clone_due(&mut self, id: NodeId, run: &TaskRun, source: NodeId) -> Progress {
        if let Some(why) = self.cannot_copy(id, source) {
            return Progress::failed(why);
        }
        if run.stage < 8 {
            return Progress::Next(self.dice.server.between(30 * MILLISECOND, 400 * MILLISECOND));
        }
        let Some(theirs) = self.nodes[source].folder.clone() else {
            return Progress::failed("the source is gone");
        };
        let node = &mut self.nodes[id];
        node.folder = Some(Folder {
            control: Control::Crashed { scanned: false },
            half_rewound: false,
            ..theirs
        });
        node.trouble.wal_gone = false;
        node.redo = 100 * MILLISECOND;
        Progress::End(Outcome::Done)
    }

    pub fn rewind_due(&mut self, id: NodeId, run: &TaskRun, source: NodeId) -> Progress {
        if let Some(why) = self.cannot_copy(id, source) {
            return Progress::failed(why);
        }
        let checkpointed = self.nodes[source].primary().is_some_and(|p| p.checkpointed);
        let theirs = self.nodes[source].folder.clone();
        let node = &mut self.nodes[id];
        let (Some(theirs), Some(folder)) = (theirs, &mut node.folder) else {
            return Progress::failed("there is no folder to rewind");
        };
        if theirs.system_id != folder.system_id {
            return Progress::failed("source and target are from different systems");
        }
        if !checkpointed {
            // pg_rewind reads the source's control file: it finds the old timeline, and nothing
            // to do.
            return Progress::End(Outcome::Done);
        }
        folder.half_rewound = true;
        if run.stage < 5 {
            return Progress::Next(self.dice.server.between(30 * MILLISECOND, 300 * MILLISECOND));
        }
        if std::mem::take(&mut node.trouble.rewind_fails) {
            return Progress::failed("could not find the common checkpoint");
        }
        folder.half_rewound = false;
        folder.log = theirs.log;
        folder.visible = folder.visible.max(theirs.visible);
        folder.control = Control::Crashed { scanned: false };
        node.redo = 100 * MILLISECOND;
        Progress::End(Outcome::Done)
    }

    /// Whether `source` cannot be copied from, and why.
    fn cannot_copy(&self, id: NodeId, source: NodeId) -> Option<&'static str> {
        let other = &self.nodes[source];
        if self.nodes[id].trouble.disk_full > 0 {
            return Some("no space left on device");
        }
        // A short cut is bridged by resending; only a longer one ends the connection.
        let patience = self.now.saturating_sub(3 * SECOND);
        let cut = |from, to| {
            let link = self.network.link(from, to);
            link.cuts > 0 && link.cut_since <= patience
        };
        if cut(id, source) || cut(source, id) {
            return Some("the source is out of reach");
        }
        let running = other.primary().is_some_and(|p| p.state == PrimaryState::Running);
        (!running || !other.server_answers(self.now)).then_some("the source is not running")
    }

    /// The agent of a dead primary hands out what its log holds beyond ours.
    pub fn fetch_tail(&mut self, id: NodeId, from: NodeId, until: WalPosition) -> Progress {
        let other = &self.nodes[from];
        let reachable = !self.network.is_cut(id, from) && !self.network.is_cut(from, id);
        if other.agent.is_none() || other.agent_blocked_until() > self.now || !reachable {
            return Progress::failed("the agent that has the log is out of reach");
        }
        let (Some(mine), Some(theirs)) = (self.nodes[id].log(), other.log()) else {
            return Progress::failed("there is no log to fetch");
        };
        let continues = self.forest.meeting(mine, theirs) == mine.lsn;
        if !continues || theirs.lsn < until.lsn {
            return Progress::failed("that log does not continue ours");
        }
        let log = self.forest.prefix(theirs, until.lsn.max(mine.lsn));
        if let Some(folder) = &mut self.nodes[id].folder {
            folder.log = log;
        }
        self.replay(id);
        Progress::End(Outcome::Done)
    }
}
