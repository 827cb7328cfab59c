//! Compares what agents are told with what they were told before.
//!
//! Never takes what nobody remembers for something that was just asked for.

use super::Done;
use pgherd_api::agent::Specification;
use pgherd_core::names::InstanceName;
use std::collections::BTreeSet;

/// What is asked of instances since `before`, if that is known.
pub(in crate::cluster) fn asked(
    before: Option<&Specification>,
    after: &Specification,
) -> Vec<Done> {
    let Some(before) = before else { return Vec::new() };
    let (specification, intent) = (after.number, &after.intent);
    // Whoever left the cluster takes no fence along.
    let stay: BTreeSet<&InstanceName> =
        before.intent.instances.intersection(&intent.instances).collect();
    let lost = before.intent.fenced.difference(&intent.fenced).filter(|name| stay.contains(name));
    let lost = lost.map(|name| Done::Unfenced { instance: name.clone(), specification });
    let got = intent.fenced.difference(&before.intent.fenced);
    let got = got.filter(|name| intent.instances.contains(*name));
    let got = got.map(|name| Done::Fenced { instance: name.clone(), specification });
    let known = before.intent.restart.as_ref().map_or(0, |last| last.number);
    let restart = intent.restart.iter().filter(|restart| restart.number > known);
    let restarts = restart.flat_map(|restart| {
        let request = restart.number;
        let named = restart.instances.iter();
        named.map(move |name| Done::AskedToRestart { instance: name.clone(), request })
    });
    lost.chain(got).chain(restarts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::manifests::fixtures::Sample;
    use expect_test::expect;
    use pgherd_core::names::ClusterName;
    use pgherd_core::wishes::{Shall, Wishes};

    fn names<const N: usize>(serials: [u32; N]) -> BTreeSet<InstanceName> {
        let cluster = ClusterName::parse("db").unwrap();
        serials.map(|serial| InstanceName::new(&cluster, serial)).into()
    }

    /// What agents are told under this number after these wishes.
    fn specification(number: u64, wish: impl FnOnce(&mut Wishes)) -> Specification {
        Sample::minimal().made(|it| {
            let mut wishes = Wishes::default();
            wishes.scale(&it.checked.name, 3, None);
            wish(&mut wishes);
            Specification::numbered(number, it.checked, &wishes, Shall::Run)
        })
    }

    fn told(before: Option<&Specification>, after: &Specification) -> String {
        let line = |done: &Done| match done {
            Done::Fenced { instance, specification } => format!("+{instance} ({specification})"),
            Done::Unfenced { instance, specification } => format!("-{instance} ({specification})"),
            Done::AskedToRestart { instance, request } => format!("restart {request} {instance}"),
            other => format!("{other:?}"),
        };
        asked(before, after).iter().map(line).collect::<Vec<_>>().join(", ") + "\n"
    }

    #[test]
    fn each_change_is_told_and_nothing_that_was_so_before() {
        let free = specification(3, |_| {});
        let fenced = specification(4, |wishes| wishes.fenced = names([1, 2, 7]));
        let other = specification(5, |wishes| wishes.fenced = names([2, 3]));
        let fewer =
            specification(6, |wishes| wishes.scale(&ClusterName::parse("db").unwrap(), 2, None));
        let restarted = specification(7, |wishes| _ = wishes.restart(names([1, 3])));
        let told = [
            told(None, &fenced),
            told(Some(&free), &free),
            told(Some(&free), &fenced),
            told(Some(&fenced), &fenced),
            told(Some(&fenced), &other),
            told(Some(&other), &fewer),
            told(Some(&free), &restarted),
            told(Some(&restarted), &restarted),
        ];
        expect![[r"


            +db-1 (4), +db-2 (4)

            -db-1 (5), +db-3 (5)
            -db-2 (6)
            restart 1 db-1, restart 1 db-3

        "]]
        .assert_eq(&told.concat());
    }
}
