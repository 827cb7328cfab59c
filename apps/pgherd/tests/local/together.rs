//! Clusters side by side on one machine, also in folders that know nothing of each other.

use super::home::Home;
use std::collections::BTreeSet;
use std::process::Stdio;

#[test]
fn clusters_that_are_made_at_the_same_moment_have_ports_of_their_own() {
    let mut homes: Vec<Home> = (0..2).map(|_| Home::new()).collect();
    let names = ["app", "shop"];
    for home in &mut homes {
        for name in names {
            home.owns(name);
        }
    }
    let each = || homes.iter().flat_map(|home| names.map(|name| (home, name)));
    let ups: Vec<_> = each()
        .map(|(home, name)| {
            let mut up = home.command(&["up", "--name", name, "--instances", "1", "--no-wait"]);
            (home, up.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        })
        .collect();
    for (home, up) in ups {
        let said = home.said(&up.wait_with_output().unwrap());
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    // It waits until the cluster is ready, and would be told of a port that is taken.
    let ports = each().map(|(home, name)| {
        let up = home.json(&["up", "--name", name]);
        up["instances"][0]["port"].as_u64().unwrap()
    });
    assert_eq!(ports.collect::<BTreeSet<_>>().len(), homes.len() * names.len());
}
