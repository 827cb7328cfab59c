//! Writes pg_hba.conf and pg_ident.conf: who may connect, from where, and how they prove it.
//!
//! Never says `trust`, and never lets a user's line open the gate while it is closed.

mod lines;

use crate::postgres::config::quote::identifier;
use crate::postgres::config::{REPLICATION_ROLE, Settings, Transport};
use pgherd_core::seen::Gate;
use std::fmt::Write;

pub use lines::{Lines, RefusedLine};

/// Maps the agent's user of the operating system to the role `postgres`.
const MAP: &str = "pgherd";

pub(super) fn hba(settings: &Settings) -> String {
    let remote = match settings.transport {
        Transport::Tls(_) => "hostssl",
        Transport::Plain => "host",
    };
    let proof = match settings.transport {
        // A standby shows its certificate and knows the password.
        Transport::Tls(_) => "scram-sha-256 clientcert=verify-ca",
        Transport::Plain => "scram-sha-256",
    };
    let role = identifier(REPLICATION_ROLE);
    let mut lines = vec![
        "# Written by pgherd; changes are lost. The user's lines stand in the cluster's definition."
            .to_owned(),
        format!("local all postgres peer map={MAP}"),
        format!("local replication postgres peer map={MAP}"),
        format!("{remote} replication {role} all {proof}"),
        // pg_rewind reads files with ordinary queries, also while the gate is closed.
        format!("{remote} postgres {role} all {proof}"),
    ];
    if settings.gate == Gate::Closed {
        lines.push("# The gate is closed: what clients would read could still be lost.".to_owned());
        lines.push("local all all reject".to_owned());
        lines.push("host all all all reject".to_owned());
    } else {
        lines.extend(settings.hba.iter().map(str::to_owned));
    }
    lines.push(format!("{remote} all all all scram-sha-256"));
    lines.push(String::new());
    lines.join("\n")
}

pub(super) fn ident(settings: &Settings) -> String {
    let mut text = "# Written by pgherd; changes are lost.\n".to_owned();
    for user in &settings.agent_users {
        let _infallible = writeln!(text, "{MAP} {} postgres", identifier(user));
    }
    for line in settings.ident.iter().filter(|line| is_of_another_map(line)) {
        let _infallible = writeln!(text, "{}", line.replace(['\n', '\r'], " "));
    }
    text
}

/// Who could add to our map, or read one from elsewhere, could become `postgres`.
fn is_of_another_map(line: &str) -> bool {
    let map = line.split_whitespace().next().unwrap_or_default().trim_matches('"');
    ![MAP, "include", "include_if_exists", "include_dir"].contains(&map) && !map.starts_with('@')
}

#[cfg(test)]
mod tests {
    use super::is_of_another_map;

    #[test]
    fn nobody_adds_to_our_map() {
        assert!(is_of_another_map("office /^(.*)@example\\.com$ \\1"));
        for bad in ["pgherd eve postgres", "\"pgherd\" eve postgres", "include x", "@x a b"] {
            assert!(!is_of_another_map(bad), "{bad}");
        }
    }
}
