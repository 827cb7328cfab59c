//! Descriptions of several versions, read and written again.
//!
//! Never compares more than the text.

use super::literal::Literal;
use super::write::FIELDS;
use super::*;
use expect_test::expect;
use proptest::prelude::*;

/// What Debian's 3.4.0 writes, with a tablespace.
const DEBIAN: &str = include_str!("samples/3.4.0.info");
/// With the fields that later versions add.
const NEWER: &str = include_str!("samples/3.19.1.info");

#[test]
fn what_debian_writes_is_written_again_byte_for_byte() {
    let read = BackupInfo::read(DEBIAN);
    assert_eq!(read.problems, []);
    assert_eq!(read.write(), DEBIAN);
}

#[test]
fn what_decisions_need_is_found() {
    let read = BackupInfo::read(DEBIAN);
    let id = BackupId::parse("20261122T112233").unwrap();
    let backup = read.backup(id, None).unwrap();
    let extent = backup.done().unwrap();
    assert_eq!(Some(extent.first_segment()), read.begin.segment);
    assert_eq!(Some(extent.last_segment()), read.end.segment);
    expect!["0/2000028 to 0/2000100, 2026-11-29 13:04:21 UTC"]
        .assert_eq(&format!("{} to {}, {}", extent.begin, extent.end, extent.ended));
}

#[test]
fn fields_of_newer_versions_are_named_and_do_no_harm() {
    let read = BackupInfo::read(NEWER);
    let problems = read.problems.iter().map(|one| format!("{one}\n")).collect::<Vec<_>>().concat();
    expect![[r#"
        the field "children_backup_ids" is not known: a newer barman wrote it
        the field "cluster_size" is not known: a newer barman wrote it
        the field "data_checksums" is not known: a newer barman wrote it
        the field "encryption" is not known: a newer barman wrote it
        the field "parent_backup_id" is not known: a newer barman wrote it
        the field "summarize_wal" is not known: a newer barman wrote it
    "#]]
    .assert_eq(&problems);
    assert!(
        read.backup(BackupId::parse("20261122T112233").unwrap(), None).unwrap().done().is_some()
    );
}

#[test]
fn a_newer_time_notation_is_understood() {
    let moment = |text: &str| BackupInfo::read(&format!("end_time={text}")).end.time.unwrap().0;
    let expected = moment("2026-11-22 11:22:42.014538+00:00");
    for other in [
        "2026-11-22T11:22:42.014538Z",
        "2026-11-22 12:22:42.014538+01:00",
        "2026-11-22 11:22:42.014538",
        " 2026-11-22T11:22:42.014538+0000 ",
    ] {
        assert_eq!(moment(other), expected, "{other}");
    }
}

#[test]
fn little_is_enough_to_restore_and_more_is_asked_of_what_is_done() {
    let id = || BackupId::parse("20261122T112233").unwrap();
    let backup = |text: &str| BackupInfo::read(text).backup(id(), None);
    assert_eq!(backup("version=150018").unwrap_err().lacks, "status");
    assert_eq!(backup("status=STARTED").unwrap().status, Status::Unfinished);
    assert_eq!(backup("status=DONE\ntimeline=1").unwrap_err().lacks, "begin_xlog");
    let least = "status=DONE\nend_time=2026-11-22 11:22:42+00:00\nbegin_wal=000000010000000000000008\nend_wal=000000010000000000000009\n";
    assert_eq!(backup(least).unwrap().done().unwrap().begin, Lsn(0x800_0000));
}

#[test]
fn odd_lines_are_told() {
    let read =
        BackupInfo::read("# made by hand\n\nstatus = ASLEEP\nnonsense\ntimeline=one\nsize=None\n");
    assert_eq!(read.comments, ["made by hand"]);
    let problems = read.problems.iter().map(|one| format!("{one}\n")).collect::<Vec<_>>().concat();
    expect![[r#"
        the field "status" has a value that is not understood: "ASLEEP"
        line 4 is no field: it has no "="
        the field "timeline" has a value that is not understood: "one"
    "#]]
    .assert_eq(&problems);
}

#[test]
fn comments_come_first_and_values_stay_on_their_line() {
    let info = BackupInfo {
        comments: vec!["pgherd {\"a\":1}\nstatus=FAILED".to_owned()],
        error: Some("first\nstatus=DONE".to_owned()),
        status: Some(Status::Failed),
        ..BackupInfo::default()
    };
    let read = BackupInfo::read(&info.write());
    assert_eq!(read.status, Some(Status::Failed));
    assert_eq!(read.problems, []);
}

#[test]
fn literals_read_back_as_written() {
    for text in [
        "None",
        "True",
        "-12",
        "43.6",
        "'it is'",
        "\"it's\"",
        "'both \\' and \"'",
        "'a\\nb\\\\c\\x00\\t'",
        "[]",
        "[('ts1', 16384, '/a b'), ('ts2', 1, 'x')]",
        "(1,)",
        "()",
        "{'copy': {'16384': 0.5, 'data': 1e-05}, 'n': None}",
    ] {
        assert_eq!(Literal::read(text).unwrap().to_string(), text);
    }
    let same = [
        ("[1, 2,]", "[1, 2]"),
        ("(1)", "1"),
        ("'a' \"b\"", "'ab'"),
        ("'\\u00e9\\101\\0'", "'éA\\x00'"),
        ("7L", "7"),
    ];
    for (given, written) in same {
        assert_eq!(Literal::read(given).unwrap().to_string(), written);
    }
    for bad in [
        "",
        "[1 2]",
        "'a",
        "{1}",
        "nope",
        "1 2",
        "'\\q'",
        "'\\xzz'",
        "--1",
        "[,]",
        "__import__('os')",
    ] {
        assert!(Literal::read(bad).is_err(), "{bad:?} was accepted");
    }
    assert!(Literal::read(&"[".repeat(100_000)).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_it_fail(text in "\\PC*") {
        BackupInfo::read(&text).write();
        drop(Literal::read(&text));
    }

    #[test]
    fn no_value_of_a_field_makes_it_fail(field in 0..FIELDS.len(), value in ".*") {
        let text = format!("{}={value}", FIELDS[field]);
        BackupInfo::read(&text).write();
    }

    #[test]
    fn every_text_reads_back(text in ".*") {
        let literal = Literal::Text(text);
        prop_assert_eq!(Literal::read(&literal.to_string()), Ok(literal));
    }
}

#[test]
fn fuzzed() {
    let samples = [include_str!("samples/3.4.0.info"), include_str!("samples/3.19.1.info")];
    let feed = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let info = BackupInfo::read(&text);
        // The first time, what would not stay on its line is replaced.
        let written = info.write();
        let again = BackupInfo::read(&written);
        assert_eq!((again.write(), again.problems), (written, Vec::new()));
        let problems = info.problems;
        let literal = Literal::read(&text);
        if let Ok(literal) = &literal {
            assert_eq!(Literal::read(&literal.to_string()).as_ref(), Ok(literal));
        }
        let kinds = problems.iter().map(|one| crate::fuzz::outcome(&Err::<(), _>(one)));
        // Which kinds there are is enough: how often would always be something new.
        let kinds: std::collections::BTreeSet<String> = kinds.collect();
        format!("{kinds:?} {}", crate::fuzz::outcome(&literal))
    };
    let literals =
        ["[('ts1', 16384, '/a b'), ('ts2', 1, 'x\\n')]", "{'a': {'b': 1e-05}, 'n': None}"];
    let samples = samples.into_iter().chain(literals).map(Vec::from).collect();
    crate::fuzz::fuzz(2000, samples, feed);
}
