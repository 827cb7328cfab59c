//! Watches a world while a scenario plays: after everything that happens it looks once.
//!
//! Never changes what happens, except that a broken promise ends the run.

use crate::clock::Moment;
use crate::scenario::Reached;
use crate::scenario::words::Property;
use crate::world::World;

#[derive(Debug)]
pub struct Watch<'a> {
    always: &'a [Property],
    pending: Vec<(&'a Property, u64)>,
    sometimes: Vec<(&'a Property, Option<Moment>)>,
}

impl<'a> Watch<'a> {
    pub fn new(
        always: &'a [Property],
        eventually: &'a [(Property, u64)],
        sometimes: &'a [Property],
    ) -> Self {
        let pending = eventually.iter().map(|(property, within)| (property, *within)).collect();
        let sometimes = sometimes.iter().map(|property| (property, None)).collect();
        Self { always, pending, sometimes }
    }

    pub fn look(&mut self, world: &mut World) {
        let now = world.now;
        let Some(began) = world.struck else { return };
        for property in self.always {
            if !property.holds(world) {
                world.checker.fail(now, "always", || format!("no longer true: {property}"));
            }
        }
        self.pending.retain(|(property, within)| {
            if now > began + within {
                let late = || format!("not true in time: {property}");
                world.checker.fail(now, "eventually", late);
                return false;
            }
            !property.holds(world)
        });
        for (property, at) in &mut self.sometimes {
            if at.is_none() && property.holds(world) {
                *at = Some(now);
            }
        }
    }

    /// What has not come true by the end of the run comes too late.
    pub fn end(&mut self, world: &mut World) {
        if world.struck.is_none() {
            world.checker.fail(world.now, "eventually", || "nothing of it ever began".to_owned());
        }
        if let Some((property, _)) = self.pending.first() {
            let never = || format!("never true: {property}");
            world.checker.fail(world.now, "eventually", never);
        }
    }

    pub fn reached(&self) -> Vec<Reached> {
        let told = |(property, at): &(&Property, Option<Moment>)| Reached {
            what: property.to_string(),
            at: *at,
        };
        self.sometimes.iter().map(told).collect()
    }
}
