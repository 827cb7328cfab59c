//! Wraps the keys of all objects of a server anew, so that older keys of its owner may go.
//!
//! Never opens or changes content, never remembers anything: each object says by itself by which key
//! it opens, so that what was broken off is gone on with wherever it stopped.

use crate::encryption::KeyId;
use crate::layout::{Form, Key, Layout};
use crate::store::{Retry, Rewrapped, Store, StoreError};
use futures_util::TryStreamExt;
use pgherd_core::units::Bytes;
use std::collections::BTreeSet;
use tokio::sync::watch;

/// Objects that are at work at once. Each holds two copies of 8 MiB, or four parts of 16 MiB.
const AT_ONCE: usize = 3;
/// All is looked through until nothing was left to do. Whoever still encrypts with an older key keeps
/// it from coming to an end.
const PASSES: u32 = 5;
/// So many objects that cannot be opened are named.
const NAMED: usize = 20;

/// How far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// How often all has been looked through.
    pub passes: u32,
    /// Objects that were looked at in this pass.
    pub looked_at: u64,
    /// Objects that were written anew in all.
    pub rewrapped: u64,
    /// What was moved for that.
    pub moved: Bytes,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// All that could be opened opens with this one now.
    pub key: KeyId,
    /// How many objects there are.
    pub objects: u64,
    /// How many were written anew.
    pub rewrapped: u64,
    pub moved: Bytes,
    /// Objects that none of the declared keys opens, and why; the first of them.
    pub unopened: Vec<String>,
    pub unopened_in_all: u64,
}

/// Why not everything opens with the key that encrypts now.
#[derive(Debug, thiserror::Error)]
pub enum RewrapError {
    #[error("what is there is not encrypted: there are no keys to wrap")]
    Clear,
    #[error("listing what is there")]
    List(#[source] StoreError),
    #[error("wrapping a key anew")]
    Rewrap(#[source] StoreError),
    #[error(
        "objects went on coming that an older key encrypts ({rewrapped} of them, such as {example}): let \
         everybody who writes there take up the new key first, then begin again"
    )]
    Restless { rewrapped: u64, example: Key },
}

impl RewrapError {
    /// When it makes sense to begin again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Clear => Retry::Never,
            Self::List(error) | Self::Rewrap(error) => error.retry(),
            Self::Restless { .. } => Retry::Later,
        }
    }
}

/// What one look at everything has shown.
#[derive(Debug, Default)]
struct Pass {
    objects: u64,
    rewrapped: u64,
    example: Option<Key>,
    gone: BTreeSet<Key>,
    unopened: Vec<String>,
    unopened_in_all: u64,
}

/// Goes through all objects until one look finds nothing more to do.
pub async fn rewrap(
    (store, layout): (&Store, &Layout),
    progress: watch::Sender<Progress>,
) -> Result<Outcome, RewrapError> {
    let key = match (layout.form(), store.encrypts_with()) {
        (Form::Encrypted, Some(key)) => key,
        (Form::Clear, _) | (Form::Encrypted, None) => return Err(RewrapError::Clear),
    };
    let root = layout.encrypted_root();
    let mut last = None;
    for _ in 0..PASSES {
        progress.send_modify(|now| (now.passes, now.looked_at) = (now.passes + 1, 0));
        let pass = pass(store, &root, &progress).await?;
        if pass.rewrapped > 0 {
            last = pass.example.map(|example| (pass.rewrapped, example));
            continue;
        }
        refuse_withheld(store, &root, &pass.gone).await?;
        let Progress { rewrapped, moved, .. } = *progress.borrow();
        let Pass { objects, unopened, unopened_in_all, .. } = pass;
        return Ok(Outcome { key, objects, rewrapped, moved, unopened, unopened_in_all });
    }
    let (rewrapped, example) = last.unwrap_or((0, root));
    Err(RewrapError::Restless { rewrapped, example })
}

async fn pass(
    store: &Store,
    root: &Key,
    progress: &watch::Sender<Progress>,
) -> Result<Pass, RewrapError> {
    let listed = store.list(root, None).map_err(RewrapError::List);
    let done = listed
        .map_ok(|object| async move {
            let done = store.rewrap(&object.key).await;
            Ok((object.key, done))
        })
        .try_buffer_unordered(AT_ONCE);
    let mut done = std::pin::pin!(done);
    let mut pass = Pass::default();
    while let Some((key, done)) = done.try_next().await? {
        pass.objects += 1;
        let mut now = Progress { looked_at: pass.objects, ..*progress.borrow() };
        match done {
            Ok(Rewrapped::Now(moved)) => {
                pass.rewrapped += 1;
                (now.rewrapped, now.moved) = (now.rewrapped + 1, Bytes(now.moved.0 + moved));
                pass.example = pass.example.or(Some(key));
            }
            Ok(Rewrapped::Before) => {}
            Ok(Rewrapped::Gone) => {
                pass.objects -= 1;
                pass.gone.insert(key);
            }
            Err(error) => match error.unopened() {
                Some(why) => {
                    pass.unopened_in_all += 1;
                    if pass.unopened.len() < NAMED {
                        pass.unopened.push(why);
                    }
                }
                None => return Err(RewrapError::Rewrap(error)),
            },
        }
        progress.send_replace(now);
    }
    Ok(pass)
}

/// Something in front of a store may say of what is there that it is not.
async fn refuse_withheld(
    store: &Store,
    root: &Key,
    gone: &BTreeSet<Key>,
) -> Result<(), RewrapError> {
    if gone.is_empty() {
        return Ok(());
    }
    let mut listed = std::pin::pin!(store.list(root, None));
    while let Some(object) = listed.try_next().await.map_err(RewrapError::List)? {
        if gone.contains(&object.key) && store.is_unreadable(&object.key).await {
            return Err(RewrapError::Rewrap(store.vanished(&object.key)));
        }
    }
    Ok(())
}
