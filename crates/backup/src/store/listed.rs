//! What is believed only of a listing: that something is not there.
//!
//! Never believes a 404 before it removes or overlooks something: anything in front of a store says
//! that, too.

use super::{Store, StoreError, Trouble};
use crate::layout::Key;
use bytes::Bytes;
use futures_util::TryStreamExt;
use pgherd_core::units::Bytes as Size;

impl Store {
    /// Whether an object is in the listing of its folder.
    pub async fn is_listed(&self, folder: &Key, key: &Key) -> Result<bool, StoreError> {
        let listed = self.folder(folder).await?;
        Ok(listed.objects.iter().any(|object| object.key == *key))
    }

    /// A whole object of a folder, if there is one; one larger than the limit is an error.
    pub async fn get_listed(
        &self,
        folder: &Key,
        key: &Key,
        limit: Size,
    ) -> Result<Option<Bytes>, StoreError> {
        match self.get(key, limit).await? {
            None if self.is_listed(folder, key).await? => Err(self.vanished(key)),
            read => Ok(read),
        }
    }

    /// Deletes an object, so that nobody begins to read what it describes, and once it is gone all
    /// that `goes` of its folder.
    pub async fn delete_described(
        &self,
        folder: &Key,
        description: &Key,
        goes: impl Fn(&Key) -> bool,
    ) -> Result<(), StoreError> {
        self.delete(vec![description.clone()]).await?;
        let listed = self.list(folder, None).map_ok(|object| object.key);
        let mut keys: Vec<Key> = listed.try_collect().await?;
        if keys.contains(description) {
            return Err(self.writing(description, Trouble::Remains));
        }
        keys.retain(goes);
        self.delete(keys).await
    }

    /// What to say of an object that is there, as a listing or a refusal says, and that cannot be had.
    pub(crate) fn vanished(&self, key: &Key) -> StoreError {
        self.reading(key, Trouble::Vanished)
    }

    /// What to say when nothing can be had any more, not even what stays as long as a repository.
    pub(crate) fn gone(&self, witness: &Key) -> StoreError {
        self.reading(witness, Trouble::Gone)
    }
}
