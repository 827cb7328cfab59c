//! A disk on which one instance has room and a second has not: told in a sentence, and removed.

use super::home::Home;
use pgherd_local::processes;
use std::io::Write;
use std::process::Command;

#[test]
fn a_disk_without_room_for_a_copy_is_told() {
    let Some(mut home) = Home::on_a_disk_of(200) else {
        let told = "the tests of a full disk are left out: only root may mount a small one";
        // Not captured: whoever runs the tests shall see it.
        writeln!(std::io::stderr(), "{told}").unwrap();
        return;
    };
    home.owns("local");
    let up = home.run(&["up", "--instances", "1"]);
    assert_eq!(up.code, Some(0), "{up:?}");

    let second = ["up", "--instances", "2", "--timeout", "10s"];
    let refused = home.run(&second);
    assert_eq!(refused.code, Some(5), "{refused:?}");
    let (_, last) = refused.err.split_once("error: gave up waiting after 10s").unwrap();
    assert!(last.contains("the disk is too small for the copy: it takes "), "{refused:?}");
    assert!(last.contains("make room or use a larger disk"), "{refused:?}");
    let one = home.run(&["psql", "--", "-XAtqc", "select 1"]);
    assert_eq!(one.out, "1\n", "the first goes on: {one:?}");

    // Now there is hardly room for the log, and the primary itself may crash for it.
    let disk = rustix::fs::statvfs(home.folder()).unwrap();
    let left = (disk.f_bavail * disk.f_frsize) >> 20;
    let (filler, count) =
        (home.folder().join("filler"), format!("count={}", left.saturating_sub(20)));
    let of = format!("of={}", filler.display());
    let filled = Command::new("dd").args(["if=/dev/zero", "bs=1M", &of, &count]).output().unwrap();
    assert!(filled.status.success(), "{filled:?}");
    let refused = home.run(&second);
    assert_eq!(refused.code, Some(5), "{refused:?}");
    let sentence = "error: gave up waiting after 10s: the disk of local-1";
    assert!(refused.err.contains(sentence), "{refused:?}");
    assert!(refused.err.contains("is full or nearly so: make room in HOME/local"), "{refused:?}");

    let destroyed = home.run(&["destroy", "--yes"]);
    assert_eq!(destroyed.code, Some(0), "{destroyed:?}");
    assert!(!home.folder().join("local").exists());
    assert!(processes::anybodys(&home.folder()).unwrap().is_empty());
}
