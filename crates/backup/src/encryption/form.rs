//! Refuses a place that is encrypted without a key, and one that is not with a key.
//!
//! Never lets both forms lie in one place: nobody could say any more what an outsider may read.

use crate::layout::{Form, Key, Layout};
use crate::store::{Store, StoreError};
use futures_util::StreamExt;

/// Why a place cannot be used as it is declared.
#[derive(Debug, thiserror::Error)]
pub enum FormError {
    #[error("looking whether what is there is encrypted")]
    Look(#[source] StoreError),
    #[error(
        "what is there is not encrypted ({key}), and a key is declared: choose another serverName for \
         what is to be encrypted, or remove the key"
    )]
    Clear { key: Key },
    #[error(
        "what is there is encrypted ({key}), and no key is declared: declare it (pgherd.dev/repositoryKey, \
         or pgherd.dev/sourceRepositoryKey for what a cluster begins with), or choose another serverName"
    )]
    Encrypted { key: Key },
}

/// An error when what is there is of the other form than is declared. A place that is empty, or
/// holds nothing of ours, is of both.
pub async fn refuse_other_form(store: &Store, layout: &Layout) -> Result<(), FormError> {
    match layout.form() {
        Form::Clear => match first(store, &layout.encrypted_root()).await? {
            Some(key) => Err(FormError::Encrypted { key }),
            None => Ok(()),
        },
        Form::Encrypted => match clear(store, layout).await? {
            Some(key) => Err(FormError::Clear { key }),
            None => Ok(()),
        },
    }
}

/// An object that is not encrypted.
async fn clear(store: &Store, layout: &Layout) -> Result<Option<Key>, FormError> {
    for folder in layout.barmans() {
        if let Some(key) = first(store, &folder).await? {
            return Ok(Some(key));
        }
    }
    let own = store.folder(&layout.clear_own()).await.map_err(FormError::Look)?;
    if let Some(object) = own.objects.into_iter().next() {
        return Ok(Some(object.key));
    }
    for folder in own.folders.iter().filter(|folder| **folder != layout.encrypted_root()) {
        if let Some(key) = first(store, folder).await? {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

async fn first(store: &Store, folder: &Key) -> Result<Option<Key>, FormError> {
    let mut objects = std::pin::pin!(store.list(folder, None));
    let first = objects.next().await.transpose().map_err(FormError::Look)?;
    Ok(first.map(|object| object.key))
}
