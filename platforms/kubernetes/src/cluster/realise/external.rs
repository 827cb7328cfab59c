//! Looks for what opens the server that a cluster begins as a copy of.
//!
//! Never asks for it once the cluster exists.

use super::super::manifests::Blueprint;
use super::super::wanted::Wanted;
use super::RealiseError;
use super::ensure::Objects;
use k8s_openapi::api::core::v1::Secret;

/// Secrets have to be there before a pod looks for their files.
pub(super) async fn keys(
    objects: &Objects<'_>,
    blueprint: &Blueprint<'_>,
    wanted: &Wanted,
) -> Result<(), RealiseError> {
    let copied = blueprint.cluster.copied().filter(|_| !wanted.wishes.exists);
    let Some((place, entry)) = copied else { return Ok(()) };
    for (field, _, kept) in entry.keys() {
        let found = objects.find::<Secret>(&kept.name).await.map_err(RealiseError::Ensure)?;
        if let Some(complaint) = complaint(found.as_ref(), &kept.key) {
            let (name, place) = (&kept.name, place.name(field));
            return Err(RealiseError::Lack(format!(
                "Secret {name}, which {place} names, {complaint}, and the cluster goes on by itself"
            )));
        }
    }
    Ok(())
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
