//! Tablespaces go where the map says, or nothing is written at all.
//!
//! Never touches a folder that was there before and holds something.

use super::folders::{Fake, Target, back_up, check, id, layout};
use super::trees::read;
use crate::servers::Server;
use pgherd_backup::base::{Options, Progress};
use pgherd_backup::restore::{self, Into, RestoreError, restore};
use pgherd_backup::store::Store;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokio::sync::watch;

async fn into(
    store: &Store,
    data: &Path,
    map: &[(&str, &Path)],
) -> Result<restore::Restored, RestoreError> {
    let map = map.iter().map(|(name, place)| ((*name).to_owned(), place.to_path_buf()));
    let (layout, id, map) = (layout(), id(), map.collect::<BTreeMap<_, _>>());
    let request = restore::Request {
        store,
        layout: &layout,
        id: &id,
        folder: data,
        tablespaces: &map,
        into: Into::Empty,
        options: restore::Options::default(),
    };
    restore(&request, watch::Sender::new(Progress::default())).await
}

#[tokio::test]
async fn a_map_that_cannot_be_is_refused_before_anything_is_written() {
    let mut fake = Fake::new();
    let server = Server::folder();
    let store = server.store();
    back_up(&store, &mut fake, Options::default()).await;
    let target = Target::new();
    let (root, data) = (target.folder.path(), target.data());
    for (name, place, words) in [
        ("other", target.space(), "no tablespace \"other\""),
        ("space", data.clone(), "in each other"),
        ("space", data.join("inside"), "in each other"),
        ("space", root.to_path_buf(), "in each other"),
        ("space", PathBuf::from("relative"), "an absolute folder"),
        ("space", root.join("a/../data"), "an absolute folder"),
    ] {
        let refused = into(&store, &data, &[(name, &place)]).await.unwrap_err();
        assert!(refused.to_string().contains(words), "{place:?}: {refused}");
        assert!(read(root).is_empty(), "{place:?}: something was written");
    }
}

#[tokio::test]
async fn without_a_map_the_place_where_they_were_is_left_alone_while_it_holds_something() {
    use std::os::unix::fs::PermissionsExt;
    let mut fake = Fake::new();
    let server = Server::folder();
    let store = server.store();
    back_up(&store, &mut fake, Options::default()).await;
    let open = std::fs::Permissions::from_mode(0o750);
    std::fs::set_permissions(fake.space(), open).unwrap();
    let before = read(&fake.space());
    let target = Target::new();
    let refused = into(&store, &target.data(), &[]).await.unwrap_err();
    assert!(
        matches!(&refused, RestoreError::NotEmpty { path } if *path == fake.space()),
        "{refused}"
    );
    assert_eq!(read(&fake.space()), before);
    let mode = fake.space().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o750);
    assert!(read(target.folder.path()).is_empty());
}

#[tokio::test]
async fn archives_of_others_that_do_not_fit_what_is_said_of_them_are_refused() {
    let mut fake = Fake::new();
    let server = Server::folder();
    let store = server.store();
    back_up(&store, &mut fake, Options::default()).await;
    // As barman leaves it.
    store.delete(vec![layout().index(&id())]).await.unwrap();
    let target = Target::new();
    let space = target.space();
    let folder = server.folder.path().join(layout().backup(&id()).as_str());
    let archive = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let is_of_it =
        |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("16384.tar");
    let mut archive = archive.filter(is_of_it);
    let archive = archive.next().unwrap();
    let name = archive.file_name().unwrap().to_string_lossy().into_owned();
    let stranger = folder.join(name.replacen("16384", "16999", 1));

    std::fs::copy(&archive, &stranger).unwrap();
    let refused = into(&store, &target.data(), &[("space", &space)]).await.unwrap_err();
    assert!(refused.to_string().contains("16999.tar of a tablespace"), "{refused}");
    assert!(read(target.folder.path()).is_empty());
    std::fs::remove_file(stranger).unwrap();

    let aside = server.folder.path().join("aside");
    std::fs::rename(&archive, &aside).unwrap();
    let refused = into(&store, &target.data(), &[("space", &space)]).await.unwrap_err();
    assert!(refused.to_string().contains("16384.tar of one of its tablespaces"), "{refused}");
    assert!(read(target.folder.path()).is_empty());
    std::fs::rename(&aside, &archive).unwrap();
    into(&store, &target.data(), &[("space", &space)]).await.unwrap();
    check(&fake, &target.data(), &space);
}
