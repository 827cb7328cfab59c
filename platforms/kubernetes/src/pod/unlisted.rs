//! Watches what exists without listing it first.
//!
//! Never waits on a connection that may be dead: the API server ends a watch before that.

use futures_util::Stream;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// How long the API server is asked to tell of changes; then it is asked again. Without bookmarks, which
/// from any version need an etcd that tells of its progress, nothing may arrive for so long, and after a
/// little longer the connection would be taken for a dead one.
const SECONDS: u32 = 140;
/// A watch from any version begins with what exists, from the API server's memory. It may be older
/// than what was seen before.
const ANY_VERSION: &str = "0";

pub(super) async fn from_any_version<K: Clone + DeserializeOwned + Debug>(
    api: &Api<K>,
    only: WatchParams,
) -> kube::Result<impl Stream<Item = kube::Result<WatchEvent<K>>> + use<K>> {
    let only = only.timeout(SECONDS).disable_bookmarks();
    api.watch(&only, ANY_VERSION).await
}
