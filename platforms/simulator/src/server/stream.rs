//! Streaming replication: receivers that dial, senders that send, and how each side learns that
//! the other is gone.
//!
//! Never loses bytes of an open connection; a cut delays them until both sides give up.

use crate::clock::{MILLISECOND, Moment, SECOND};
use crate::happening::Happening;
use crate::names::{CommitRule, NodeId};
use crate::node::{FollowedBy, PrimaryState, Process};
use crate::wal::LogEnd;
use crate::world::World;
use pgherd_core::units::{Epoch, Lsn};
use std::collections::BTreeMap;

/// wal_receiver_timeout and wal_sender_timeout.
pub const SILENCE: u64 = 3 * SECOND;
/// wal_retrieve_retry_interval.
const RETRY: u64 = 100 * MILLISECOND;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(u32);

#[derive(Debug)]
pub struct Connection {
    pub primary: NodeId,
    pub standby: NodeId,
    pub primary_process: u32,
    pub standby_process: u32,
    /// The epoch the standby was told to follow.
    pub epoch: Epoch,
    /// Both sides know of their own end only.
    pub sender_open: bool,
    pub receiver_open: bool,
    in_flight: Option<LogEnd>,
    /// Flushed by the standby, as the sender knows.
    pub flushed: Lsn,
    /// The configuration as the sender has read it.
    pub rule: Option<CommitRule>,
    pub version: u32,
    /// The version that the sender had read when it last handled a reply.
    pub replied_version: u32,
}

#[derive(Debug, Default)]
pub struct Connections {
    open: BTreeMap<ConnectionId, Connection>,
    made: u32,
}

impl Connections {
    pub fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.open.get(&id)
    }

    pub fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.open.get_mut(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (ConnectionId, &Connection)> {
        self.open.iter().map(|(id, connection)| (*id, connection))
    }

    fn add(&mut self, connection: Connection) -> ConnectionId {
        self.made += 1;
        let id = ConnectionId(self.made);
        self.open.insert(id, connection);
        id
    }

    fn forget_if_closed(&mut self, id: ConnectionId) {
        let closed = |c: &Connection| !c.sender_open && !c.receiver_open;
        if self.open.get(&id).is_some_and(closed) {
            self.open.remove(&id);
        }
    }
}

impl World {
    /// The standby is told whom to receive from; it starts dialling.
    pub fn follow(&mut self, id: NodeId, follows: FollowedBy) {
        self.stop_receiving(id);
        let node = &mut self.nodes[id];
        let process_id = node.process_id;
        let Some(standby) = node.standby_mut() else { return };
        standby.follows = Some(follows);
        standby.follow_number += 1;
        let follow_number = standby.follow_number;
        let delay = self.dice.server.between(MILLISECOND, 10 * MILLISECOND);
        self.after(delay, Happening::Connects { node: id, process_id, follow_number });
    }

    /// The receiver ends, and will not dial again until it is told to follow somebody.
    pub fn stop_receiving(&mut self, id: NodeId) {
        let Some(standby) = self.nodes[id].standby_mut() else { return };
        standby.follows = None;
        standby.follow_number += 1;
        if let Some(connection) = standby.receiver.take() {
            self.hang_up(connection, id);
        }
    }

    /// One attempt to connect.
    pub fn connects(&mut self, id: NodeId, process_id: u32, follow_number: u32) {
        let node = &self.nodes[id];
        let Some(standby) = node.standby().filter(|standby| {
            node.process_id == process_id && standby.follow_number == follow_number
        }) else {
            return;
        };
        let Some(follows) = standby.follows.filter(|_| standby.receiver.is_none()) else { return };
        if self.accepts(id, follows.primary) {
            self.connect(id, follows);
        }
        let retry = RETRY + self.dice.server.below(RETRY / 2);
        let connected = self.nodes[id].standby().is_some_and(|s| s.receiver.is_some());
        if !connected {
            self.after(retry, Happening::Connects { node: id, process_id, follow_number });
        }
    }

    /// Whether the primary lets this standby start streaming.
    fn accepts(&mut self, id: NodeId, source: NodeId) -> bool {
        if self.network.is_cut(id, source) || self.network.is_cut(source, id) {
            return false;
        }
        let (node, other) = (&self.nodes[id], &self.nodes[source]);
        if !node.server_answers(self.now) || !other.server_answers(self.now) {
            return false;
        }
        let Some(primary) = other.primary() else { return false };
        // Its slot is taken until the sender of an earlier connection has ended.
        if primary.state != PrimaryState::Running || primary.senders.contains_key(&id) {
            return false;
        }
        let (Some(mine), Some(theirs)) = (&node.folder, &other.folder) else { return false };
        if mine.system_id != theirs.system_id || node.trouble.wal_gone {
            return false;
        }
        // A log that has left the primary's history cannot stream. PostgreSQL knows histories by
        // timeline numbers alone: the same number twice would be taken for the same history.
        let met = self.forest.meeting(mine.log, theirs.log);
        let same_number =
            self.forest[mine.log.branch].timeline == self.forest[theirs.log.branch].timeline;
        if met < mine.log.lsn && same_number {
            let timeline = self.forest[mine.log.branch].timeline;
            self.checker.fail(self.now, "S3", || {
                format!("{id} streams from {source} on timeline {timeline}, but each has its own")
            });
        }
        met == mine.log.lsn
    }

    fn connect(&mut self, id: NodeId, follows: FollowedBy) {
        let source = follows.primary;
        let Some(log) = self.nodes[id].log() else { return };
        let standby_process = self.nodes[id].process_id;
        let primary_process = self.nodes[source].process_id;
        let visible = self.nodes[source].folder.as_ref().map(|folder| folder.visible);
        let Some(primary) = self.nodes[source].primary() else { return };
        let connection = self.connections.add(Connection {
            primary: source,
            standby: id,
            primary_process,
            standby_process,
            epoch: follows.epoch,
            sender_open: true,
            receiver_open: true,
            in_flight: None,
            flushed: log.lsn,
            rule: primary.postmaster_rule,
            version: primary.postmaster_version,
            replied_version: primary.postmaster_version,
        });
        if let Some(primary) = self.nodes[source].primary_mut() {
            primary.senders.insert(id, connection);
        }
        if let Some(standby) = self.nodes[id].standby_mut() {
            standby.receiver = Some(connection);
        }
        // The receiver fetches the history file of the primary's timeline first.
        if let (Some(folder), Some(visible)) = (&mut self.nodes[id].folder, visible) {
            folder.visible = folder.visible.max(visible);
        }
        self.check_follows(id, follows);
        self.released_by(source, connection);
        self.check_quorum();
        self.send_log(connection);
    }

    /// Sends what is there, unless something is on its way already.
    pub fn send_log(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if !connection.sender_open || connection.in_flight.is_some() {
            return;
        }
        let (primary, standby) = (connection.primary, connection.standby);
        let Some(upto) = self.nodes[primary].log() else { return };
        if connection.flushed >= upto.lsn {
            return;
        }
        connection.in_flight = Some(upto);
        let delay = self.network.stream(primary, standby) + self.dice.server.below(MILLISECOND);
        self.after(delay, Happening::Received { standby, connection: id, upto });
    }

    pub fn received(&mut self, standby: NodeId, id: ConnectionId, upto: LogEnd) {
        let Some(connection) = self.connections.get(id) else { return };
        let (primary, epoch) = (connection.primary, connection.epoch);
        if !connection.receiver_open {
            return;
        }
        if self.network.is_cut(primary, standby) || self.nodes[standby].trouble.disk_full > 0 {
            self.after(RETRY, Happening::Received { standby, connection: id, upto });
            return;
        }
        let Some(mine) = self.nodes[standby].log() else { return };
        if upto.lsn > mine.lsn {
            self.check_receives(standby, primary, epoch);
            let log = self.forest.prefix(upto, upto.lsn);
            if let Some(folder) = &mut self.nodes[standby].folder {
                folder.log = log;
            }
            if let Some(process) = self.nodes[standby].standby_mut() {
                process.received = true;
            }
            self.replay(standby);
        }
        let delay = self.network.stream(standby, primary);
        self.after(delay, Happening::Acknowledged { primary, connection: id, upto });
    }

    pub fn acknowledged(&mut self, primary: NodeId, id: ConnectionId, upto: LogEnd) {
        let Some(connection) = self.connections.get(id) else { return };
        if !connection.sender_open {
            return;
        }
        if self.network.is_cut(connection.standby, primary) {
            self.after(RETRY, Happening::Acknowledged { primary, connection: id, upto });
            return;
        }
        if let Some(connection) = self.connections.get_mut(id) {
            connection.flushed = connection.flushed.max(upto.lsn);
            connection.replied_version = connection.version;
            connection.in_flight = None;
        }
        self.released_by(primary, id);
        self.send_log(id);
    }

    /// One side ends; the other learns it if the network lets it.
    pub fn hang_up(&mut self, id: ConnectionId, side: NodeId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let other =
            if connection.primary == side { connection.standby } else { connection.primary };
        if connection.primary == side {
            connection.sender_open = false;
        } else {
            connection.receiver_open = false;
        }
        self.connections.forget_if_closed(id);
        let delay = if self.network.is_cut(side, other) {
            SILENCE
        } else {
            self.dice.server.between(MILLISECOND / 5, 12 * MILLISECOND)
        };
        self.after(delay, Happening::Closes { connection: id });
    }

    /// Whichever side is still open notices that the other is gone.
    pub fn close(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let (primary, standby) = (connection.primary, connection.standby);
        let blocked = |until: Moment| (until > self.now).then_some(until + MILLISECOND);
        if connection.sender_open {
            if let Some(later) = blocked(self.nodes[primary].server_blocked_until()) {
                self.queue.add(later, Happening::Closes { connection: id });
                return;
            }
            connection.sender_open = false;
            if let Some(process) = self.nodes[primary].primary_mut() {
                process.senders.retain(|_, sender| *sender != id);
            }
        }
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.receiver_open {
            if let Some(later) = blocked(self.nodes[standby].server_blocked_until()) {
                self.queue.add(later, Happening::Closes { connection: id });
                return;
            }
            connection.receiver_open = false;
            self.receiver_ended(standby, id);
        }
        self.connections.forget_if_closed(id);
    }

    /// The receiver's connection is gone; it dials again if it still has somebody to follow.
    fn receiver_ended(&mut self, id: NodeId, connection: ConnectionId) {
        let node = &mut self.nodes[id];
        let process_id = node.process_id;
        let Some(standby) = node.standby_mut() else { return };
        if standby.receiver != Some(connection) {
            return;
        }
        standby.receiver = None;
        let follow_number = standby.follow_number;
        let delay = RETRY + self.dice.server.below(RETRY);
        self.after(delay, Happening::Connects { node: id, process_id, follow_number });
    }

    /// Something has stopped the traffic of this instance: its connections will time out if it
    /// lasts.
    pub fn watch_connections(&mut self, of: NodeId) {
        let ids: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, c)| c.primary == of || c.standby == of)
            .map(|(id, _)| id)
            .collect();
        for id in ids {
            let since = self.now;
            let delay = SILENCE + self.dice.server.below(200 * MILLISECOND);
            self.after(delay, Happening::FallsSilent { connection: id, since });
        }
    }

    pub fn falls_silent(&mut self, id: ConnectionId, since: Moment) {
        let Some(connection) = self.connections.get(id) else { return };
        let (primary, standby) = (connection.primary, connection.standby);
        let cut = |from, to| {
            let link = self.network.link(from, to);
            link.cuts > 0 && link.cut_since <= since
        };
        let still = |node: NodeId| {
            let node = &self.nodes[node];
            node.server_blocked_until() > self.now || node.trouble.hung_since.is_some()
        };
        if cut(primary, standby) || cut(standby, primary) || still(primary) || still(standby) {
            self.close(id);
        }
    }

    pub fn is_streaming(&self, standby: NodeId, primary: NodeId) -> bool {
        let Process::Standby(process) = &self.nodes[standby].process else { return false };
        let Some(id) = process.receiver else { return false };
        self.connections.get(id).is_some_and(|connection| {
            connection.primary == primary && connection.sender_open && connection.receiver_open
        })
    }
}
