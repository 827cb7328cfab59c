//! Tasks on the server: begun by a step of a plan, ended here.
//!
//! Never lets a task outlive what it works on: one that was aborted leaves what it had done.

use crate::agent::Wake;
use crate::clock::{MILLISECOND, SECOND};
use crate::faults::{Mark, TaskKind};
use crate::happening::Happening;
use crate::names::NodeId;
use crate::node::{Control, FollowedBy, PrimaryState, Process, StandbyProcess, TaskRun};
use crate::world::World;
use pgherd_core::plan::{Outcome, Task};
use pgherd_core::seen::Pending;
use pgherd_core::units::Lsn;

/// How long a running server is waited for when it does not answer.
const PATIENCE: u64 = 3 * SECOND;

/// How a task stands when it is looked at.
#[derive(Debug)]
pub enum Progress {
    /// Look once more after this long.
    Again(u64),
    /// As above, one stage further.
    Next(u64),
    End(Outcome),
}

impl Progress {
    pub fn failed(why: &str) -> Self {
        Self::End(Outcome::Failed { why: why.to_owned() })
    }

    pub fn server_gone() -> Self {
        Self::failed("the server died")
    }
}

impl World {
    pub fn begin_task(&mut self, id: NodeId, task: Task) {
        let kind = TaskKind::of(&task);
        let first = self.first_look(id, kind);
        match &task {
            Task::Start { .. } => {
                self.check_start(id);
                self.start_server(id);
            }
            Task::Obey { pair, .. } => self.obey(id, pair.as_ref()),
            Task::Stop { .. } => self.begin_stop(id),
            Task::Promote { epoch, .. } => self.check_begins_to_open(id, *epoch),
            Task::Initialise
            | Task::Seal { .. }
            | Task::Follow { .. }
            | Task::OpenGate { .. }
            | Task::Checkpoint { .. }
            | Task::Reload { .. }
            | Task::ScanEnd
            | Task::FetchTail { .. }
            | Task::Rewind { .. }
            | Task::Clone { .. } => {}
        }
        self.note(id, || format!("begins {task:?}"));
        let began = self.now;
        let node = &mut self.nodes[id];
        node.runs += 1;
        let (number, process_id) = (node.runs, node.process_id);
        node.task = Some(TaskRun { number, task, began, process_id, stage: 0 });
        self.mark(Mark::Begins(kind), id);
        self.after(first, Happening::TaskDue { node: id, run: number });
    }

    pub fn abort_task(&mut self, id: NodeId) {
        self.nodes[id].task = None;
    }

    pub fn task_due(&mut self, id: NodeId, number: u32) {
        let Some(run) = self.nodes[id].task.clone().filter(|run| run.number == number) else {
            return;
        };
        match self.progress(id, &run) {
            Progress::Again(pause) => self.again(id, number, pause),
            Progress::Next(pause) => {
                if let Some(run) = &mut self.nodes[id].task {
                    run.stage += 1;
                }
                self.again(id, number, pause);
            }
            Progress::End(outcome) => self.end_task(id, run.task, outcome),
        }
    }

    fn again(&mut self, id: NodeId, run: u32, pause: u64) {
        self.after(pause, Happening::TaskDue { node: id, run });
    }

    fn end_task(&mut self, id: NodeId, task: Task, outcome: Outcome) {
        self.nodes[id].task = None;
        let kind = TaskKind::of(&task);
        self.note(id, || format!("ends {kind:?}: {outcome:?}"));
        self.mark(Mark::Ends(kind), id);
        self.wake(id, Wake::Ended { task, outcome });
    }

    fn first_look(&mut self, id: NodeId, kind: TaskKind) -> u64 {
        let redo = match self.nodes[id].folder.as_ref().map(|folder| folder.control) {
            Some(Control::Crashed { .. }) => self.nodes[id].redo,
            Some(Control::CleanPrimary | Control::CleanStandby) | None => 0,
        };
        let (low, high) = match kind {
            TaskKind::Initialise => (400, 900),
            TaskKind::Seal => (4, 15),
            TaskKind::Follow => (2, 10),
            TaskKind::Promote => (40, 180),
            TaskKind::Obey => (1, 5),
            TaskKind::OpenGate => (2, 20),
            TaskKind::Checkpoint => (30, 600),
            TaskKind::Start | TaskKind::Stop => (40, 150),
            TaskKind::Reload => (5, 30),
            TaskKind::ScanEnd => (20, 150),
            TaskKind::FetchTail => (20, 200),
            TaskKind::Rewind | TaskKind::Clone => (30, 200),
        };
        let base = self.dice.server.between(low * MILLISECOND, high * MILLISECOND);
        base + if kind == TaskKind::Start { redo } else { 0 }
    }

    fn progress(&mut self, id: NodeId, run: &TaskRun) -> Progress {
        match &run.task {
            Task::Initialise => self.initialise(id),
            Task::Rewind { primary, .. } => self.rewind_due(id, run, NodeId::of(primary)),
            Task::Clone { primary, .. } => self.clone_due(id, run, NodeId::of(primary)),
            Task::ScanEnd => self.scan_end(id),
            Task::Start { .. }
            | Task::Seal { .. }
            | Task::Follow { .. }
            | Task::Promote { .. }
            | Task::Obey { .. }
            | Task::OpenGate { .. }
            | Task::Checkpoint { .. }
            | Task::Stop { .. }
            | Task::Reload { .. }
            | Task::FetchTail { .. } => self.server_progress(id, run),
        }
    }

    /// A task that needs the very server it began with.
    fn server_progress(&mut self, id: NodeId, run: &TaskRun) -> Progress {
        let node = &self.nodes[id];
        let orphaned = node.primary().is_some_and(|p| p.state == PrimaryState::Orphaned);
        if node.process_id != run.process_id || orphaned {
            return Progress::server_gone();
        }
        if !node.server_answers(self.now) {
            return self.unanswered(id, run);
        }
        if node.trouble.disk_full > 0 && !matches!(run.task, Task::Seal { .. } | Task::Stop { .. })
        {
            if matches!(run.task, Task::Start { .. }) {
                self.kill_tree(id);
            }
            return Progress::failed("no space left on device");
        }
        match &run.task {
            Task::Start { .. } => self.started(id),
            Task::Seal { .. } => self.stop_receiving(id),
            Task::Follow { epoch, primary } => {
                let follows = FollowedBy { primary: NodeId::of(primary), epoch: *epoch };
                self.follow(id, follows);
            }
            Task::Promote { .. } => return self.promote_due(id, run),
            Task::Obey { pair, .. } => return self.obey_due(id, run, pair.as_ref()),
            Task::OpenGate { .. } => self.open_gate(id),
            Task::Checkpoint { .. } => self.checkpoint(id),
            Task::Stop { .. } => return self.stop_due(id, run),
            Task::Reload { configuration } => {
                let node = &mut self.nodes[id];
                node.configuration = *configuration;
                // Every other change counts only from the next start on.
                if configuration.is_multiple_of(2) {
                    node.pending = Pending::Some;
                }
            }
            Task::FetchTail { from, until, .. } => {
                return self.fetch_tail(id, NodeId::of(from), *until);
            }
            Task::Initialise | Task::ScanEnd | Task::Rewind { .. } | Task::Clone { .. } => {}
        }
        Progress::End(Outcome::Done)
    }

    fn unanswered(&mut self, id: NodeId, run: &TaskRun) -> Progress {
        if self.now <= run.began + PATIENCE {
            return Progress::Again(50 * MILLISECOND);
        }
        if matches!(run.task, Task::Stop { .. } | Task::Start { .. }) {
            self.kill_tree(id);
        }
        Progress::failed("the server does not answer")
    }

    fn start_server(&mut self, id: NodeId) {
        let node = &mut self.nodes[id];
        if node.folder.is_some() && matches!(node.process, Process::None) {
            node.process_id += 1;
            node.process = Process::Starting;
        }
        node.configuration = node.intent.configuration;
        node.pending = Pending::Nothing;
    }

    fn started(&mut self, id: NodeId) {
        let left = self.dice.server.below(1 << 16);
        let replays_by = self.now + self.dice.server.below(200 * MILLISECOND);
        let node = &mut self.nodes[id];
        let end = node.log().map_or(Lsn(0), |log| log.lsn);
        let replayed = Lsn(end.0.saturating_sub(left));
        if matches!(node.process, Process::Starting) {
            node.process =
                Process::Standby(StandbyProcess { replayed, replays_by, ..Default::default() });
        }
    }

    fn scan_end(&mut self, id: NodeId) -> Progress {
        match &mut self.nodes[id].folder {
            Some(folder) => {
                if matches!(folder.control, Control::Crashed { .. }) {
                    folder.control = Control::Crashed { scanned: true };
                }
                Progress::End(Outcome::Done)
            }
            None => Progress::failed("there is no folder"),
        }
    }

    /// All sessions end; nobody who waited for standbys is told that it worked.
    fn begin_stop(&mut self, id: NodeId) {
        if let Some(primary) = self.nodes[id].primary_mut() {
            if primary.state == PrimaryState::Running {
                primary.state = PrimaryState::Stopping;
            }
            primary.waiting.clear();
        }
    }

    /// A primary stops once its connected standbys have all of its log; a standby at once.
    fn stop_due(&mut self, id: NodeId, run: &TaskRun) -> Progress {
        let clean = match &self.nodes[id].process {
            Process::None | Process::Starting => return Progress::server_gone(),
            Process::Standby(_) => Control::CleanStandby,
            Process::Primary(_) => Control::CleanPrimary,
        };
        if clean == Control::CleanPrimary {
            if run.stage == 0 {
                self.append(id, 120);
                self.send_to_all(id);
                return Progress::Next(MILLISECOND);
            }
            if !self.everybody_has_all(id) {
                let patience = self.nodes[id].intent.stop_delay;
                let patience = u64::try_from(patience.as_micros()).unwrap_or(u64::MAX);
                if self.now > run.began.saturating_add(patience) {
                    self.kill_tree(id);
                    return Progress::failed("the stop took too long and became an immediate one");
                }
                return Progress::Again(5 * MILLISECOND);
            }
        }
        self.kill_tree(id);
        if let Some(folder) = &mut self.nodes[id].folder {
            folder.control = clean;
        }
        Progress::End(Outcome::Done)
    }

    fn everybody_has_all(&self, id: NodeId) -> bool {
        let node = &self.nodes[id];
        let end = node.log().map_or(Lsn(0), |log| log.lsn);
        node.primary().is_none_or(|primary| {
            primary
                .senders
                .values()
                .filter_map(|sender| self.connections.get(*sender))
                .all(|sender| sender.flushed >= end)
        })
    }
}
