//! What an instance's folder holds.

use super::rig::{Rig, new_cluster};
use pgherd_agent::postgres::folder::{self, Folder, FolderError, Rewind};
use pgherd_agent::postgres::initdb::{self, Patience};
use pgherd_agent::process::owner::Owner;
use pgherd_core::names::InstanceName;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

#[tokio::test(flavor = "current_thread")]
async fn a_folder_is_empty_then_half_made_then_ours() {
    let rig = Rig::new();
    let instance = rig.instance("db-1");
    let name = instance.settings.instance.clone();
    let companions = BTreeSet::from(["state.json".to_owned()]);
    let look = || async { folder::inspect(&instance.site, &name, &companions).await };
    assert_eq!(look().await.unwrap(), Folder::Empty);
    folder::claim(&instance.site, &name).unwrap();
    std::fs::write(instance.site.base.join("state.json"), "{}").unwrap();
    assert_eq!(look().await.unwrap(), Folder::Empty);
    folder::begin_staging(&instance.site).unwrap();
    assert_eq!(look().await.unwrap(), Folder::HalfMade);
    let new = new_cluster();
    let control = initdb::create(&instance.site, &new, &instance.settings, Patience::default())
        .await
        .unwrap();
    let Folder::Ours(ours) = look().await.unwrap() else { panic!("not ours") };
    assert_eq!((ours.control.system_id, ours.rewind), (control.system_id, Rewind::None));
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_not_ours_is_refused_in_one_clear_sentence() {
    let rig = Rig::new();
    let instance = rig.stopped("db-1").await;
    let site = &instance.site;
    let base = site.base.to_str().unwrap();
    let refusal = async |name: &str| {
        let name = InstanceName::parse(name).unwrap();
        let error = folder::inspect(site, &name, &BTreeSet::new()).await.unwrap_err();
        error.to_string().replace(base, "")
    };
    let mut said = vec![refusal("db-1").await];
    folder::claim(site, &instance.settings.instance).unwrap();
    said.push(refusal("other-1").await);

    std::fs::set_permissions(&site.data, PermissionsExt::from_mode(0o755)).unwrap();
    said.push(refusal("db-1").await);
    std::fs::set_permissions(&site.data, PermissionsExt::from_mode(0o700)).unwrap();
    let version = std::fs::read(site.data.join("PG_VERSION")).unwrap();
    std::fs::write(site.data.join("PG_VERSION"), "9.6\n").unwrap();
    let installed = site.installation.version.major.to_string();
    said.push(refusal("db-1").await.replace(&installed, "NN"));
    std::fs::write(site.data.join("PG_VERSION"), version).unwrap();
    expect_test::expect![[r#"
        "" holds "pgdata" and does not belong to pgherd: choose an empty folder, or move its content away
        "" belongs to instance db-1 of another pgherd cluster, and not to other-1: choose another folder
        "/pgdata" has mode 755 and PostgreSQL accepts 700 or 750: chmod 700 it
        "/pgdata" was made by PostgreSQL 9.6 and the installation is NN: install PostgreSQL 9.6 or name its programs' folder"#]]
    .assert_eq(&said.join("\n"));
}

#[tokio::test(flavor = "current_thread")]
async fn a_folder_of_another_user_is_refused() {
    let rig = Rig::new();
    let instance = rig.stopped("db-1").await;
    folder::claim(&instance.site, &instance.settings.instance).unwrap();
    let mut site = instance.site.clone();
    site.owner = Some(Owner { user: 64_000, group: 64_000 });
    let name = &instance.settings.instance;
    let error = folder::inspect(&site, name, &BTreeSet::new()).await.unwrap_err();
    assert!(matches!(error, FolderError::MatchOwner { expected: 64_000, .. }), "{error}");
}
