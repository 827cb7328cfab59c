//! A running instance whose folder somebody removes.

use super::home::Home;
use pgherd_local::processes;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_mins(1);

#[test]
fn an_instance_whose_folder_was_removed_is_copied_anew() {
    let mut home = Home::new();
    home.owns("local");
    let up = home.run(&["up", "--instances", "2"]);
    assert_eq!(up.code, Some(0), "{up:?}");
    let standby = home.standby();
    let folder = home.folder().canonicalize().unwrap().join("local").join(&standby);
    let before = processes::of(&folder).unwrap();
    let end = Instant::now() + LONG;
    // PostgreSQL may write a file into a folder that is just being emptied.
    while std::fs::remove_dir_all(&folder).is_err() {
        assert!(Instant::now() < end, "{folder:?} cannot be removed");
    }
    let is_ready = || {
        let status = home.json(&["status"]);
        let instances = status["instances"].as_array().unwrap();
        let now = processes::of(&folder).unwrap();
        let another = !now.is_empty() && now.iter().all(|process| !before.contains(process));
        another && instances.iter().all(|instance| instance["ready"] == true)
    };
    while !is_ready() {
        assert!(Instant::now() < end, "{}", home.run(&["status"]).told());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(processes::of(&folder).unwrap().iter().all(|process| !process.removed));
}
