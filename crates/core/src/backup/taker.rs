//! Chooses the instance that a base backup or a dump is taken from.
//!
//! Never chooses a standby that does not receive: what it lacks makes every recovery longer.

use crate::names::InstanceName;
use crate::units::Lsn;
use std::fmt;

/// Whom the user would rather burden with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefer {
    Primary,
    /// The primary is taken when no standby can do it.
    Standby,
}

/// An instance that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub name: InstanceName,
    pub part: Part,
    /// How much log it has.
    pub position: Option<Lsn>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Open for writing.
    Primary,
    /// Receives from the primary.
    Streams,
    /// Anything else.
    Other,
}

/// Who takes it, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taker<'a> {
    pub name: &'a InstanceName,
    pub because: Because,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// Somebody said so.
    Named,
    Primary,
    MostLog,
    NoStandbyStreams,
}

/// Nobody can take one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoTaker {
    #[error(
        "no instance can take it: there is no primary that is open, and no standby that receives"
    )]
    Nobody,
    #[error(
        "{name} cannot take it: it is neither a primary that is open nor a standby that receives"
    )]
    Named { name: InstanceName },
    /// It may be one of another cluster, or one that was removed.
    #[error("{name} is no instance of the cluster: name another one, or none")]
    Stranger { name: InstanceName },
}

/// The instance that somebody named, if it can take it.
pub fn named<'a>(name: &InstanceName, candidates: &'a [Candidate]) -> Result<Taker<'a>, NoTaker> {
    let able = |it: &&Candidate| match it.part {
        Part::Primary | Part::Streams => it.name == *name,
        Part::Other => false,
    };
    match candidates.iter().find(able) {
        Some(found) => Ok(Taker { name: &found.name, because: Because::Named }),
        None => Err(NoTaker::Named { name: name.clone() }),
    }
}

/// The standby with the most log, or the primary.
pub fn taker(prefer: Prefer, candidates: &[Candidate]) -> Result<Taker<'_>, NoTaker> {
    let of = |part| candidates.iter().filter(move |it| it.part == part);
    // Of two alike the first, so that the choice does not depend on the order of answers.
    let standby = of(Part::Streams).max_by(|one, other| {
        one.position.cmp(&other.position).then_with(|| other.name.cmp(&one.name))
    });
    let primary = of(Part::Primary).next();
    let (found, because) = match (prefer, standby, primary) {
        (Prefer::Standby, Some(standby), _) => (standby, Because::MostLog),
        (Prefer::Standby, None, Some(primary)) => (primary, Because::NoStandbyStreams),
        (Prefer::Primary, _, Some(primary)) => (primary, Because::Primary),
        (Prefer::Standby | Prefer::Primary, _, None) => return Err(NoTaker::Nobody),
    };
    Ok(Taker { name: &found.name, because })
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Named => "the one that was named",
            Self::Primary => "the primary",
            Self::MostLog => "the standby with the most log",
            Self::NoStandbyStreams => "the primary, because no standby receives",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn chosen(prefer: Prefer, given: &[(u32, Part, u64)]) -> String {
        let cluster = crate::names::ClusterName::parse("db").unwrap();
        let candidate = |(serial, part, position): &(u32, Part, u64)| Candidate {
            name: InstanceName::new(&cluster, *serial),
            part: *part,
            position: Some(Lsn(*position)),
        };
        let candidates: Vec<_> = given.iter().map(candidate).collect();
        match taker(prefer, &candidates) {
            Ok(Taker { name, because }) => format!("{name}, {because}\n"),
            Err(error) => format!("{error}\n"),
        }
    }

    #[test]
    fn one_that_is_named_takes_it_or_nobody_does() {
        let cluster = crate::names::ClusterName::parse("db").unwrap();
        let name = |serial| InstanceName::new(&cluster, serial);
        let parts = [(1, Part::Primary), (2, Part::Streams), (3, Part::Other)];
        let all =
            parts.map(|(serial, part)| Candidate { name: name(serial), part, position: None });
        for serial in [1, 2] {
            let (own, because) = (name(serial), Because::Named);
            assert_eq!(named(&own, &all), Ok(Taker { name: &own, because }));
        }
        for serial in [3, 4] {
            let refused = NoTaker::Named { name: name(serial) };
            assert_eq!(named(&name(serial), &all), Err(refused));
        }
    }

    #[test]
    fn a_standby_with_the_most_log_is_taken_before_the_primary() {
        use Part::{Other, Primary, Streams};
        let all = [(1, Primary, 9), (2, Streams, 7), (3, Streams, 8), (4, Other, 9)];
        let even = [(3, Streams, 7), (2, Streams, 7), (1, Primary, 9)];
        expect![[r#"
            db-3, the standby with the most log
            db-1, the primary
            db-2, the standby with the most log
            db-1, the primary, because no standby receives
            db-2, the standby with the most log
            no instance can take it: there is no primary that is open, and no standby that receives
            no instance can take it: there is no primary that is open, and no standby that receives
        "#]]
        .assert_eq(
            &[
                chosen(Prefer::Standby, &all),
                chosen(Prefer::Primary, &all),
                chosen(Prefer::Standby, &even),
                chosen(Prefer::Standby, &[(1, Primary, 9), (2, Other, 9)]),
                chosen(Prefer::Standby, &[(2, Streams, 7)]),
                chosen(Prefer::Primary, &[(2, Streams, 7)]),
                chosen(Prefer::Standby, &[]),
            ]
            .concat(),
        );
    }
}
