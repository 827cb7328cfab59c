//! Lays cables between the testbed's machines, cuts them, and mends them.
//!
//! Never has an uplink: nothing that is sent here reaches another host.

use super::layout::{LAN_NAMESPACE, Machine, Node, SERVICES};
use crate::{run, wait};
use anyhow::Result;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(10);
const DEAD_WITHIN: Duration = Duration::from_secs(20);
const BRIDGE: &str = "br0";
/// The table of everything that is cut.
const TABLE: [&str; 2] = ["bridge", "cut"];

/// Which way nothing passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ways {
    Both,
    /// Only what the first sends to the second is lost.
    One,
}

/// Makes the bridge and all machines' namespaces.
pub fn lay() -> Result<()> {
    ip(&["netns", "add", LAN_NAMESPACE])?;
    in_lan(&["link", "set", "lo", "up"])?;
    in_lan(&["link", "add", BRIDGE, "type", "bridge"])?;
    in_lan(&["link", "set", BRIDGE, "up"])?;
    for machine in Machine::all() {
        attach(machine)?;
    }
    for machine in Machine::all() {
        route(machine)?;
    }
    Ok(())
}

fn attach(machine: Machine) -> Result<()> {
    let (space, port) = (machine.namespace(), machine.port());
    ip(&["netns", "add", &space])?;
    let cable = ["link", "add", "eth0", "netns", &space, "type", "veth"];
    ip(&[&cable[..], &["peer", "name", &port, "netns", LAN_NAMESPACE]].concat())?;
    in_lan(&["link", "set", &port, "master", BRIDGE, "up"])?;
    let address = format!("{}/24", machine.address());
    ip(&["-n", &space, "link", "set", "lo", "up"])?;
    ip(&["-n", &space, "address", "add", &address, "dev", "eth0"])?;
    ip(&["-n", &space, "link", "set", "eth0", "up"])?;
    let mut forward = within(machine);
    forward.args(["sysctl", "--quiet", "--write", "net.ipv4.ip_forward=1"]);
    run::succeed(forward, WITHIN).map(drop)
}

/// Pods have addresses that all machines reach, without any translation.
fn route(machine: Machine) -> Result<()> {
    let space = machine.namespace();
    for node in Node::all().filter(|node| Machine::Node(*node) != machine) {
        let gateway = Machine::Node(node).address();
        ip(&["-n", &space, "route", "add", &node.pods(), "via", &gateway])?;
    }
    match machine {
        // A route has to exist before kube-proxy's rules can rewrite the address.
        Machine::ControlPlane => ip(&["-n", &space, "route", "add", SERVICES, "dev", "eth0"]),
        Machine::Node(_) => {
            let gateway = Machine::ControlPlane.address();
            ip(&["-n", &space, "route", "add", "default", "via", &gateway])
        }
    }
}

/// A command that shall run in the network of that machine. The rest of its arguments is the
/// program's name and arguments. (`ip netns exec` would hide the cgroups from it.)
pub fn within(machine: Machine) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", path(&machine.namespace())));
    command
}

/// Kills whatever runs in our namespaces, and removes them.
pub fn remove() -> Result<()> {
    let all = Machine::all().map(Machine::namespace).chain([LAN_NAMESPACE.to_owned()]);
    for space in all.filter(|space| Path::new(&path(space)).exists()) {
        wait::until(&format!("the end of all in {space}"), DEAD_WITHIN, || {
            let running = processes(&space)?;
            for id in &running {
                let mut kill = Command::new("kill");
                kill.args(["-KILL", id]);
                // It may have ended meanwhile.
                let _said = run::run(kill, WITHIN)?;
            }
            Ok(running.is_empty())
        })?;
        ip(&["netns", "delete", &space])?;
    }
    Ok(())
}

/// Nothing passes to or from the machine.
pub fn isolate(machine: Machine) -> Result<()> {
    in_lan(&["link", "set", &machine.port(), "down"])
}

/// Nothing passes from `from` to `to`, nor back if both ways are meant.
pub fn cut(from: Machine, to: Machine, ways: Ways) -> Result<()> {
    let chain = [&TABLE[..], &["f"]].concat();
    nft(&[&["add", "table"], &TABLE[..]].concat())?;
    let hook = "{ type filter hook forward priority 0; }";
    nft(&[&["add", "chain"], &chain[..], &[hook]].concat())?;
    let mut cuts = vec![(from, to)];
    if ways == Ways::Both {
        cuts.push((to, from));
    }
    for (from, to) in cuts {
        // What pods send carries their own addresses.
        let (from, to) = (ranges(from), ranges(to));
        let rule = ["ether", "type", "ip", "ip", "saddr", &from, "ip", "daddr", &to, "drop"];
        nft(&[&["add", "rule"], &chain[..], &rule[..]].concat())?;
    }
    Ok(())
}

/// Everything passes again.
pub fn heal() -> Result<()> {
    // Adding it first makes removing it work whether it was there or not.
    nft(&[&["add", "table"], &TABLE[..]].concat())?;
    nft(&[&["delete", "table"], &TABLE[..]].concat())?;
    for machine in Machine::all() {
        in_lan(&["link", "set", &machine.port(), "up"])?;
    }
    Ok(())
}

fn ranges(machine: Machine) -> String {
    match machine {
        Machine::ControlPlane => machine.address(),
        Machine::Node(node) => format!("{{ {}, {} }}", machine.address(), node.pods()),
    }
}

fn processes(space: &str) -> Result<Vec<String>> {
    let mut command = Command::new("ip");
    command.args(["netns", "pids", space]);
    let said = run::run(command, WITHIN)?;
    // A file that an interrupted `ip` left is no namespace, and nobody is in it.
    let all = if said.succeeded { said.out } else { String::new() };
    Ok(all.split_whitespace().map(str::to_owned).collect())
}

fn path(space: &str) -> String {
    format!("/run/netns/{space}")
}

fn in_lan(arguments: &[&str]) -> Result<()> {
    ip(&[&["-n", LAN_NAMESPACE], arguments].concat())
}

fn ip(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(arguments);
    run::succeed(command, WITHIN).map(drop)
}

fn nft(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", path(LAN_NAMESPACE))).arg("nft").args(arguments);
    run::succeed(command, WITHIN).map(drop)
}
