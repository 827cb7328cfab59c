//! What slices teach. Never needs an API server.

use super::*;
use expect_test::{Expect, expect};
use serde_json::json;

/// `a-1 10.0.0.1, b-1 10.0.0.2 leaving`: the endpoints of one slice.
fn slice(name: &str, endpoints: &str) -> EndpointSlice {
    let endpoint = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        json!({
            "hostname": words[0],
            "addresses": [words[1]],
            "conditions": {"terminating": words.get(2).is_some()},
        })
    };
    let endpoints: Vec<_> =
        endpoints.split(',').filter(|text| !text.is_empty()).map(endpoint).collect();
    serde_json::from_value(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name}, "addressType": "IPv4", "endpoints": endpoints,
    }))
    .unwrap()
}

fn check(own: &str, events: impl IntoIterator<Item = Event<EndpointSlice>>, expected: &Expect) {
    let cluster = ClusterName::parse("db").unwrap();
    let sought = Sought { cluster, own: own.parse().unwrap() };
    let (mut slices, mut known) = (Slices::default(), Addresses::new());
    let mut lines = Vec::new();
    for event in events {
        slices.notice(event, &sought);
        let changed = slices.tell(&mut known);
        let all: Vec<String> = known.iter().map(|(name, at)| format!("{name} {at}")).collect();
        let change = if changed { "changed" } else { "same" };
        lines.push(format!("{change} [{}]", all.join(", ")));
    }
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn only_instances_of_the_cluster_count() {
    let all =
        "db-1 10.0.0.1,db-2 10.0.0.2,other-1 10.0.0.3,db 10.0.0.4,db-01 10.0.0.5,db-3 fd00::3";
    let mut none = slice("b", "db-4 example.org");
    none.endpoints.get_or_insert_default().push(Endpoint::default());
    check(
        "10.0.0.9",
        [Event::Apply(slice("a", all)), Event::Apply(none)],
        &expect![[r#"
            changed [db-1 10.0.0.1, db-2 10.0.0.2]
            same [db-1 10.0.0.1, db-2 10.0.0.2]"#]],
    );
    check("fd00::9", [Event::Apply(slice("a", all))], &expect!["changed [db-3 fd00::3]"]);
}

#[test]
fn a_list_counts_once_it_is_complete() {
    let events = [
        Event::Init,
        Event::InitApply(slice("a", "db-1 10.0.0.1")),
        Event::InitApply(slice("b", "db-2 10.0.0.2")),
        Event::InitDone,
    ];
    check(
        "10.0.0.9",
        events,
        &expect![[r#"
            same []
            same []
            same []
            changed [db-1 10.0.0.1, db-2 10.0.0.2]"#]],
    );
}

#[test]
fn an_instance_that_is_away_keeps_its_last_address() {
    let events = [
        Event::Apply(slice("a", "db-1 10.0.0.1,db-2 10.0.0.2")),
        Event::Apply(slice("a", "db-1 10.0.0.1")),
        Event::Delete(slice("a", "")),
        Event::Init,
        Event::InitDone,
        Event::Apply(slice("a", "db-2 10.0.0.7")),
    ];
    check(
        "10.0.0.9",
        events,
        &expect![[r#"
            changed [db-1 10.0.0.1, db-2 10.0.0.2]
            same [db-1 10.0.0.1, db-2 10.0.0.2]
            same [db-1 10.0.0.1, db-2 10.0.0.2]
            same [db-1 10.0.0.1, db-2 10.0.0.2]
            same [db-1 10.0.0.1, db-2 10.0.0.2]
            changed [db-1 10.0.0.1, db-2 10.0.0.7]"#]],
    );
}

#[test]
fn an_instance_in_two_slices_is_where_it_stays() {
    let events = [
        Event::Apply(slice("a", "db-1 10.0.0.8")),
        Event::Apply(slice("b", "db-1 10.0.0.1")),
        Event::Apply(slice("a", "db-1 10.0.0.8 leaving")),
        Event::Apply(slice("b", "")),
    ];
    check(
        "10.0.0.9",
        events,
        &expect![[r#"
            changed [db-1 10.0.0.8]
            same [db-1 10.0.0.8]
            changed [db-1 10.0.0.1]
            changed [db-1 10.0.0.8]"#]],
    );
}
