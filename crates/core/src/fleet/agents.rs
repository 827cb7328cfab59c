//! Decides whose agent is given the operator's program next.
//!
//! Never gives it to one before all that were given it are heard to run it, and never ends a pod.

use super::{Place, Pod};
use crate::names::InstanceName;
use crate::record::Record;
use crate::wishes::{Wish, Wishes};
use std::collections::BTreeMap;

/// What is known of the program of an instance's agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    /// It has not said yet.
    Unknown,
    /// It runs the operator's.
    Current,
    /// It runs another one.
    Other,
    /// It was given the operator's, and has not been heard since.
    Given,
    /// It runs another one and goes on with it: what it was given it refused, a moment ago.
    Refuses,
}

/// All that the decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    pub wishes: &'a Wishes,
    pub record: Option<&'a Record>,
    pub places: &'a BTreeMap<InstanceName, Place>,
    /// Nothing is known of those that are missing.
    pub agents: &'a BTreeMap<InstanceName, Agent>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be given the program now.
    pub next: Option<InstanceName>,
    /// Who runs another one, or has not been heard since it was given this one.
    pub behind: Vec<InstanceName>,
}

/// Who is next: standbys first, the last ones before the others, the primary when no standby is
/// left; one at a time, and only while all are well.
pub fn plan(sight: &Sight<'_>) -> Plan {
    let running = sight.wishes.instances.iter().filter(|(_, wish)| **wish == Wish::Running);
    let running: Vec<&InstanceName> = running.map(|(name, _)| name).collect();
    let agent = |name: &InstanceName| sight.agents.get(name).copied().unwrap_or(Agent::Unknown);
    let is_behind = |name: &&&InstanceName| match agent(name) {
        Agent::Other | Agent::Given | Agent::Refuses => true,
        Agent::Current | Agent::Unknown => false,
    };
    let behind: Vec<InstanceName> =
        running.iter().filter(is_behind).map(|name| (*name).clone()).collect();
    let is_ready =
        |name: &InstanceName| sight.places.get(name).is_some_and(|it| it.pod == Pod::Ready);
    let may_go_on = running.iter().all(|name| is_ready(name) && agent(name) != Agent::Given);
    let holder = sight.record.map(|record| &record.holder.instance);
    let is_other = |name: &&InstanceName| agent(name) == Agent::Other;
    let mut standbys = behind.iter().rev().filter(|name| Some(*name) != holder);
    let next = match standbys.clone().find(is_other) {
        Some(standby) => Some(standby),
        // What a standby refuses is not tried on the primary.
        None if standbys.next().is_some() => None,
        None => behind.iter().find(is_other),
    };
    Plan { next: next.filter(|_| may_go_on).cloned(), behind }
}

#[cfg(test)]
mod tests {
    use super::super::{Form, Volumes};
    use super::*;
    use crate::names::ClusterName;
    use crate::record::{Holder, WriteId};
    use crate::units::{SystemId, Timeline};
    use expect_test::{Expect, expect};

    /// Words such as `1:other* 2:given 3:current/unready`: the number, its program, and after a
    /// slash its pod (ready, if not said); `*` for the holder, `-` for leaving.
    fn check(words: &str, expected: &Expect) {
        let cluster = ClusterName::parse("db").unwrap();
        let (mut wishes, mut places) = (Wishes::default(), BTreeMap::new());
        let (mut agents, mut record) = (BTreeMap::new(), None);
        for word in words.split_whitespace() {
            let (who, what) = word.split_once(':').unwrap();
            let name = InstanceName::new(&cluster, who.trim_matches('-').parse().unwrap());
            let wish = if who.contains('-') { Wish::Leaving } else { Wish::Running };
            wishes.instances.insert(name.clone(), wish);
            if what.ends_with('*') {
                let holder = Holder { instance: name.clone(), volume: 1, incarnation: 1 };
                record = Some(Record::first(holder, SystemId(7), Timeline(1), WriteId::default()));
            }
            let what = what.trim_end_matches('*');
            let (agent, pod) = what.split_once('/').unwrap_or((what, "ready"));
            let pod = if pod == "ready" { Pod::Ready } else { Pod::Unready };
            let place = Place { volumes: Volumes::There, pod, form: Form::Wanted };
            places.insert(name.clone(), place);
            let agent = match agent {
                "unknown" => continue,
                "current" => Agent::Current,
                "other" => Agent::Other,
                "given" => Agent::Given,
                "refuses" => Agent::Refuses,
                other => panic!("{other}"),
            };
            agents.insert(name, agent);
        }
        let (wishes, places, agents) = (&wishes, &places, &agents);
        let plan = plan(&Sight { wishes, record: record.as_ref(), places, agents });
        let behind: Vec<String> = plan.behind.iter().map(ToString::to_string).collect();
        let next = plan.next.map_or_else(|| "nobody".to_owned(), |next| next.to_string());
        expected.assert_eq(&format!("{next} of [{}]", behind.join(", ")));
    }

    #[test]
    fn standbys_come_first_and_the_primary_last() {
        check("1:other* 2:other 3:other", &expect!["db-3 of [db-1, db-2, db-3]"]);
        check("1:other* 2:other 3:current", &expect!["db-2 of [db-1, db-2]"]);
        check("1:other* 2:current 3:current", &expect!["db-1 of [db-1]"]);
        check("1:other 2:other 3:other*", &expect!["db-2 of [db-1, db-2, db-3]"]);
        check("1:current* 2:current 3:current", &expect!["nobody of []"]);
        check("1:other*", &expect!["db-1 of [db-1]"]);
    }

    #[test]
    fn one_comes_after_the_other() {
        check("1:other* 2:other 3:given", &expect!["nobody of [db-1, db-2, db-3]"]);
        check("1:other* 2:other 3:given/unready", &expect!["nobody of [db-1, db-2, db-3]"]);
    }

    #[test]
    fn nobody_is_given_it_while_one_is_not_well() {
        check("1:other* 2:other 3:current/unready", &expect!["nobody of [db-1, db-2]"]);
        check("1:other* 2:other/unready 3:other", &expect!["nobody of [db-1, db-2, db-3]"]);
    }

    #[test]
    fn who_refuses_holds_up_the_primary_alone() {
        check("1:other* 2:other 3:refuses", &expect!["db-2 of [db-1, db-2, db-3]"]);
        check("1:other* 2:current 3:refuses", &expect!["nobody of [db-1, db-3]"]);
        check("1:refuses* 2:current 3:current", &expect!["nobody of [db-1]"]);
    }

    #[test]
    fn who_says_nothing_or_leaves_is_left_alone() {
        check("1:other* 2:other 3:unknown", &expect!["db-2 of [db-1, db-2]"]);
        check("1:other* 2:current 3-:other/unready", &expect!["db-1 of [db-1]"]);
        check("1:other 2:other", &expect!["db-2 of [db-1, db-2]"]);
    }
}
