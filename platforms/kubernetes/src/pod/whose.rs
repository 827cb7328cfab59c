//! Tells what belongs to this instance's cluster from what belongs to another one that has its name by
//! now.
//!
//! Never lets a cluster that was deleted write what the one made after it reads.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::sync::{Arc, OnceLock};

/// Which cluster this instance is of, once that was seen. Clones know the same.
#[derive(Debug, Clone, Default)]
pub struct Whose(Arc<OnceLock<String>>);

impl Whose {
    /// Whether an object is another cluster's. The owner of the first one is the own cluster: the
    /// operator makes no pod before the Lease is its cluster's.
    pub(super) fn learn_and_refuse(&self, object: &ObjectMeta) -> bool {
        owner(object).is_some_and(|owner| self.0.get_or_init(|| owner.to_owned()) != owner)
    }

    /// The same of an object that nothing is learnt from.
    pub(super) fn refuses(&self, object: &ObjectMeta) -> bool {
        let own = self.0.get();
        own.zip(owner(object)).is_some_and(|(own, owner)| own != owner)
    }
}

/// The unique id of what controls it; an object that a person made has none.
fn owner(object: &ObjectMeta) -> Option<&str> {
    let all = object.owner_references.iter().flatten();
    all.filter(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str()).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn owned(uid: &str) -> ObjectMeta {
        let owner = json!({"apiVersion": "a/v1", "kind": "Cluster", "name": "db", "uid": uid});
        let mut owners = vec![owner.clone(), owner];
        owners[0]["uid"] = "somebody".into();
        owners[1]["controller"] = true.into();
        serde_json::from_value(json!({"ownerReferences": owners})).unwrap()
    }

    #[test]
    fn the_first_owner_is_the_own_cluster_and_others_are_refused() {
        let whose = Whose::default();
        assert!(!whose.refuses(&owned("a")));
        assert!(!whose.learn_and_refuse(&ObjectMeta::default()));
        assert!(!whose.learn_and_refuse(&owned("a")));
        assert!(whose.clone().learn_and_refuse(&owned("b")) && whose.refuses(&owned("b")));
        assert!(!whose.learn_and_refuse(&owned("a")) && !whose.refuses(&owned("a")));
        assert!(!whose.refuses(&ObjectMeta::default()));
    }
}
