//! What can be true of a world, by name.
//!
//! Never true by what an agent believes: only by what is so.

use crate::clock::Moment;
use crate::faults::{Mark, TaskKind, seconds};
use crate::scenario::words::{Property, node};
use crate::world::World;
use pgherd_core::seen::Change;
use pgherd_core::units::Epoch;

/// Clients can write, and it is this instance that they write to.
pub fn primary(letter: &str) -> Property {
    let id = node(letter);
    Property::new(format!("{letter} is primary"), move |world| {
        world.writable_holder() == Some(id) && world.is_open()
    })
}

/// The record names this instance, whether it serves or not.
pub fn holds_office(letter: &str) -> Property {
    let id = node(letter);
    Property::new(format!("{letter} holds the office"), move |world| holder(world) == Some(id))
}

pub fn clients_can_write() -> Property {
    Property::new("clients can write", World::is_open)
}

/// A server accepts writes under an office that is its own.
pub fn writable(letter: &str) -> Property {
    let id = node(letter);
    Property::new(format!("{letter} is writable"), move |world| world.is_open_for_clients(id))
}

pub fn nobody_writable() -> Property {
    Property::new("nobody is writable", |world| {
        !crate::node::Nodes::ids().any(|id| world.is_open_for_clients(id))
    })
}

/// Everybody follows, and the record says so.
pub fn settled() -> Property {
    Property::new("the cluster is settled", World::is_settled)
}

pub fn streams(standby: &str, from: &str) -> Property {
    let (one, other) = (node(standby), node(from));
    Property::new(format!("{standby} streams from {from}"), move |world| {
        world.is_streaming(one, other)
    })
}

/// The record has gone on to at least this epoch.
pub fn epoch_reaches(epoch: u64) -> Property {
    Property::new(format!("the record reaches epoch {epoch}"), move |world| {
        world.store.current().is_some_and(|record| record.epoch >= Epoch(epoch))
    })
}

/// The record does not go beyond this epoch.
pub fn epoch_stays(epoch: u64) -> Property {
    Property::new(format!("the record stays at epoch {epoch}"), move |world| {
        world.store.current().is_none_or(|record| record.epoch <= Epoch(epoch))
    })
}

/// The record names so many members.
pub fn members(count: usize) -> Property {
    Property::new(format!("there are {count} members"), move |world| {
        world.store.current().is_some_and(|record| record.members.len() == count)
    })
}

/// This instance kills its server: by a plan, or because its time is over.
pub fn fences_itself(letter: &str) -> Property {
    let id = node(letter);
    Property::new(format!("{letter} fences itself"), move |world| {
        world.just_now(|mark, by| matches!(mark, Mark::Fences | Mark::TimeOver) && by == id)
    })
}

/// This instance does this task.
pub fn does(letter: &str, task: TaskKind) -> Property {
    let id = node(letter);
    Property::new(format!("{letter} does {task:?}"), move |world| {
        world.just_now(|mark, by| mark == Mark::Ends(task) && by == id)
    })
}

/// A write of the record for this purpose is applied.
pub fn records(change: Change) -> Property {
    Property::new(format!("the record changes by {change:?}"), move |world| {
        world.just_now(|mark, _| mark == Mark::Applied(change))
    })
}

/// This instance sends a write of the record for this purpose.
pub fn asks_for(letter: &str, change: Change) -> Property {
    let id = node(letter);
    Property::new(format!("{letter} asks for {change:?}"), move |world| {
        world.just_now(|mark, by| mark == Mark::Sends(change) && by == id)
    })
}

pub fn happens(mark: Mark) -> Property {
    Property::new(format!("{mark:?} happens"), move |world| world.just_now(|seen, _| seen == mark))
}

/// It is so until this moment, and may be so afterwards.
pub fn before(moment: Moment, property: Property) -> Property {
    let what = format!("before {:.1}s: {property}", seconds(moment));
    Property::new(what, move |world| world.now >= moment || property.holds(world))
}

/// It is so at this moment or later: what came before does not count.
pub fn after(moment: Moment, property: Property) -> Property {
    let what = format!("after {:.1}s: {property}", seconds(moment));
    Property::new(what, move |world| world.now >= moment && property.holds(world))
}

/// It is not so.
pub fn not(property: Property) -> Property {
    Property::new(format!("not: {property}"), move |world| !property.holds(world))
}

fn holder(world: &World) -> Option<crate::names::NodeId> {
    let record = world.store.current()?;
    Some(crate::names::NodeId::of(&record.holder.instance))
}
