//! Changing the rule for commits on a running primary: each process reads the new configuration
//! in its own time.
//!
//! Never pretends that a reload is one moment.

use crate::clock::{MILLISECOND, SECOND};
use crate::happening::{Happening, Reader};
use crate::names::{CommitRule, NodeId};
use crate::node::{PrimaryProcess, TaskRun};
use crate::server::stream::ConnectionId;
use crate::server::tasks::Progress;
use crate::world::World;
use pgherd_core::plan::Outcome;
use pgherd_core::record::Pair;
use pgherd_core::seen::Obeyed;

/// How long the task waits for every process.
const PATIENCE: u64 = 3 * SECOND;

impl World {
    /// Writes the configuration file and signals everybody who reads it.
    pub fn write_rule(&mut self, id: NodeId, rule: Option<CommitRule>) {
        let slow = self.nodes[id].trouble.slow_reload_until > self.now;
        let process_id = self.nodes[id].process_id;
        let Some(primary) = self.nodes[id].primary_mut() else { return };
        primary.file_rule = rule;
        primary.file_version += 1;
        let version = primary.file_version;
        let senders = primary.senders.values().map(|sender| Reader::Sender(*sender));
        let readers: Vec<Reader> =
            [Reader::Postmaster, Reader::Checkpointer].into_iter().chain(senders).collect();
        for reader in readers {
            let longest = if slow { 4 * SECOND } else { 60 * MILLISECOND };
            let delay = self.dice.server.between(MILLISECOND, longest);
            self.after(delay, Happening::Reloads { node: id, process_id, reader, version, rule });
        }
    }

    pub fn reloads(&mut self, id: NodeId, reader: Reader, version: u32, rule: Option<CommitRule>) {
        let Some(primary) = self.nodes[id].primary_mut() else { return };
        match reader {
            Reader::Postmaster if primary.postmaster_version < version => {
                primary.postmaster_version = version;
                primary.postmaster_rule = rule;
                // It passes the signal on to the children it has by now.
                let late: Vec<ConnectionId> = primary.senders.values().copied().collect();
                for sender in late {
                    let delay = self.dice.server.below(5 * MILLISECOND);
                    let process_id = self.nodes[id].process_id;
                    let reader = Reader::Sender(sender);
                    let reload = Happening::Reloads { node: id, process_id, reader, version, rule };
                    self.after(delay, reload);
                }
            }
            Reader::Checkpointer if primary.checkpointer_version < version => {
                primary.checkpointer_version = version;
                self.set_waiting(id, rule);
            }
            Reader::Sender(sender) => {
                let sender = self.connections.get_mut(sender);
                if let Some(sender) = sender.filter(|sender| sender.version < version) {
                    sender.rule = rule;
                    sender.version = version;
                }
            }
            Reader::Postmaster | Reader::Checkpointer => {}
        }
        self.check_quorum();
    }

    pub fn obey(&mut self, id: NodeId, pair: Option<&Pair>) {
        self.write_rule(id, pair.map(CommitRule::of));
    }

    pub fn obey_due(&mut self, id: NodeId, run: &TaskRun, pair: Option<&Pair>) -> Progress {
        if self.now > run.began + PATIENCE {
            return Progress::failed("not every process obeys the new rule yet");
        }
        if run.stage == 0 {
            self.end_former_voters(id, pair);
            return Progress::Next(5 * MILLISECOND);
        }
        let Some(primary) = self.nodes[id].primary() else { return Progress::server_gone() };
        if !self.everybody_obeys(primary) {
            // Something to reply to.
            self.append(id, 64);
            self.send_to_all(id);
            return Progress::Again(15 * MILLISECOND);
        }
        let since = self.append(id, 64);
        self.send_to_all(id);
        if let Some(primary) = self.nodes[id].primary_mut() {
            primary.obeys = Some(Obeyed { pair: pair.cloned(), since });
        }
        Progress::End(Outcome::Obeyed { since })
    }

    /// Senders to standbys that no longer count must not release anybody by an older rule.
    fn end_former_voters(&mut self, id: NodeId, pair: Option<&Pair>) {
        let Some(rule) = pair.map(CommitRule::of) else { return };
        let Some(primary) = self.nodes[id].primary_mut() else { return };
        let former: Vec<ConnectionId> = primary
            .senders
            .iter()
            .filter(|(standby, _)| !rule.voters.holds(**standby))
            .map(|(_, sender)| *sender)
            .collect();
        primary.senders.retain(|standby, _| rule.voters.holds(*standby));
        for sender in former {
            self.hang_up(sender, id);
        }
    }

    fn everybody_obeys(&self, primary: &PrimaryProcess) -> bool {
        let version = primary.file_version;
        let rule = primary.file_rule;
        let counts = |standby: NodeId| rule.is_some_and(|rule| rule.voters.holds(standby));
        primary.postmaster_version == version
            && primary.checkpointer_version == version
            && primary.senders.iter().all(|(standby, sender)| {
                let Some(sender) = self.connections.get(*sender) else { return true };
                let replied = sender.replied_version == version || !counts(*standby);
                sender.version == version && replied
            })
    }
}
