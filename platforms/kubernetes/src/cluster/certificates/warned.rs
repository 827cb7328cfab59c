//! Remembers which certificates of each cluster users were warned of.
//!
//! Never warns twice of the same while this operator leads, and always anew of a renewed one.

use super::Complaint;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// By the cluster's unique id.
#[derive(Debug, Default)]
pub struct Warned(Mutex<BTreeMap<String, Vec<Complaint>>>);

impl Warned {
    /// Those of `all` that were not among those of the last time.
    pub fn news(&self, cluster: &str, all: Vec<Complaint>) -> Vec<Complaint> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = if all.is_empty() {
            known.remove(cluster)
        } else {
            known.insert(cluster.to_owned(), all.clone())
        };
        let last = last.unwrap_or_default();
        all.into_iter().filter(|one| !last.contains(one)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_warned_of_once_for_as_long_as_it_lasts() {
        let warned = Warned::default();
        let of = |given: &str| Complaint::Name { given: given.to_owned() };
        assert_eq!(warned.news("a", vec![of("x")]), [of("x")]);
        assert_eq!(warned.news("a", vec![of("x"), of("y")]), [of("y")]);
        assert_eq!(warned.news("b", vec![of("x")]), [of("x")]);
        assert_eq!(warned.news("a", Vec::new()), []);
        assert_eq!(warned.news("a", vec![of("x")]), [of("x")]);
    }
}
