//! What happened, line by line, as the product's log would tell it.
//!
//! Never written unless asked for: a thousand silent runs must stay fast.

use crate::faults::seconds;
use crate::names::NodeId;
use crate::world::{Traced, World};
use pgherd_core::plan::Verdict;
use pgherd_core::record::Record;
use pgherd_core::seen::Change;
use std::fmt::Write;

#[derive(Debug, Default)]
pub struct Trace {
    pub lines: Vec<String>,
}

impl World {
    /// Writes down what an instance does.
    pub fn note(&mut self, id: NodeId, text: impl FnOnce() -> String) {
        if self.config.traced == Traced::Yes {
            let name = self.nodes[id].name.to_string();
            self.line(&name, &text());
        }
    }

    /// Writes down what happens to the world.
    pub fn tell(&mut self, text: impl FnOnce() -> String) {
        if self.config.traced == Traced::Yes {
            self.line("*", &text());
        }
    }

    pub fn trace_verdict(&mut self, id: NodeId, verdict: &Verdict) {
        if self.config.traced == Traced::No {
            return;
        }
        let before = self.nodes[id].agent.as_ref().and_then(|agent| agent.verdict.as_ref());
        let (text, kind) = (described(verdict), without_numbers(&described(verdict)));
        if before.is_none_or(|before| without_numbers(&described(before)) != kind) {
            self.note(id, || text);
        }
    }

    pub fn trace_record(&mut self, by: NodeId, change: Change) {
        if self.config.traced == Traced::Yes {
            let text = self.store.current().map_or_else(|| "nothing".to_owned(), summary);
            self.note(by, || format!("wrote the record ({change:?}): {text}"));
        }
    }

    fn line(&mut self, who: &str, text: &str) {
        let at = seconds(self.now);
        self.trace.lines.push(format!("{at:>10.4}s {who:<6} {text}"));
    }
}

/// A verdict in the words of the log.
pub fn described(verdict: &Verdict) -> String {
    let state = match verdict {
        Verdict::Serving { epoch, .. } => format!("serving epoch {epoch}"),
        Verdict::Opening { epoch, .. } => format!("opening epoch {epoch}"),
        Verdict::Following { primary, .. } => format!("following {primary}"),
        Verdict::Claiming { .. } => "claiming".to_owned(),
        Verdict::Rejoining { .. } => "rejoining".to_owned(),
        Verdict::Leaving { .. } => "leaving".to_owned(),
        Verdict::Fencing { .. } => "fencing".to_owned(),
        Verdict::Waiting { .. } => "waiting".to_owned(),
    };
    format!("{state}: {}", verdict.because())
}

/// Counting down is not a change of verdict.
fn without_numbers(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// A record in one line.
pub fn summary(record: &Record) -> String {
    let mut text = format!(
        "revision {}, epoch {}, {} {:?}, timeline {}, G(",
        record.revision.0, record.epoch, record.holder.instance, record.phase, record.timeline
    );
    let list = |names: &std::collections::BTreeSet<pgherd_core::names::InstanceName>| {
        names.iter().map(|name| NodeId::of(name).letter()).collect::<String>()
    };
    let pairs: Vec<String> = record
        .quorum
        .iter()
        .map(|pair| format!("{} of {}", pair.acks, list(&pair.voters)))
        .collect();
    let (grantors, members) = (list(&record.grantors), list(&record.members));
    // Writing to a string cannot fail.
    let _written = write!(text, "{grantors}), M({members}), Q({})", pairs.join(", "));
    text
}
