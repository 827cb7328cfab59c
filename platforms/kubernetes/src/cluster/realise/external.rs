//! Looks for what opens the server, or the archive, that a cluster begins as a copy of.
//!
//! Never asks for it once the cluster exists.

use super::super::manifests::Blueprint;
use super::super::wanted::Wanted;
use super::RealiseError;
use super::ensure::Objects;
use k8s_openapi::api::core::v1::Secret;
use pgherd_api::field::FieldPath;

/// Secrets have to be there before a pod looks for their files.
pub(super) async fn keys(
    objects: &Objects<'_>,
    blueprint: &Blueprint<'_>,
    wanted: &Wanted,
) -> Result<(), RealiseError> {
    if wanted.wishes.exists {
        return Ok(());
    }
    for (place, name, key) in needed(blueprint) {
        let found = objects.find::<Secret>(&name).await.map_err(RealiseError::Ensure)?;
        if let Some(complaint) = complaint(found.as_ref(), &key) {
            return Err(RealiseError::Lack(format!(
                "Secret {name}, which {place} names, {complaint}, and the cluster goes on by itself"
            )));
        }
    }
    Ok(())
}

/// Which entries of which Secrets open the server, or the archive, and where they are named.
fn needed(blueprint: &Blueprint<'_>) -> Vec<(FieldPath, String, String)> {
    let mut needed = Vec::new();
    if let Some((place, entry)) = blueprint.cluster.copied() {
        let keys = entry.keys().into_iter();
        needed.extend(
            keys.map(|(field, _, kept)| (place.name(field), kept.name.clone(), kept.key.clone())),
        );
    }
    let keys = blueprint.cluster.recovered_archive_keys().into_iter();
    needed.extend(keys.map(|kept| (kept.named, kept.place.name, kept.place.key)));
    needed
}

fn complaint(secret: Option<&Secret>, key: &str) -> Option<String> {
    let Some(secret) = secret else {
        return Some(format!("does not exist: create it with key {key}"));
    };
    let content = secret.data.as_ref().and_then(|data| data.get(key));
    let lacks = content.is_none_or(|content| content.0.is_empty());
    lacks.then(|| format!("has nothing under key {key}: add it, or correct the key"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    #[test]
    fn a_missing_key_is_told_from_a_missing_secret() {
        let with = |key: &str, value: &[u8]| Secret {
            data: Some([(key.to_owned(), ByteString(value.to_vec()))].into()),
            ..Secret::default()
        };
        let told = |secret: Option<&Secret>| complaint(secret, "p").unwrap_or_default();
        assert_eq!(told(None), "does not exist: create it with key p");
        let lacks = "has nothing under key p: add it, or correct the key";
        assert_eq!(told(Some(&with("q", b"x"))), lacks);
        assert_eq!(told(Some(&with("p", b""))), lacks);
        assert_eq!(told(Some(&with("p", b"x"))), "");
    }
}
