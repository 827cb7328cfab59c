//! Stories of schedules: what is due when, and what becomes of it. No clock and no agent takes part.

use super::*;
use expect_test::expect;
use pgherd_api::manifest::schedules::schedules;
use pgherd_api::schedule::planned::planned;
use pgherd_core::backup::taker::NoTaker;
use std::fmt::Write as _;

fn plan(kind: &str, name: &str, spec: &str) -> Planned {
    let version = match kind {
        "ScheduledBackup" => "postgresql.cnpg.io/v1",
        _ => "pgherd.dev/v1alpha1",
    };
    let text = format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{cluster: {{name: db}}, {spec}}}\n"
    );
    planned(&schedules(&text).unwrap(), "db").unwrap().remove(0)
}

fn backup(spec: &str) -> Planned {
    plan("ScheduledBackup", "nightly", spec)
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// One schedule, looked at again and again.
struct Story {
    planned: Planned,
    page: Page,
    told: String,
}

impl Story {
    fn of(planned: Planned) -> Self {
        Self { planned, page: Page::default(), told: String::new() }
    }

    /// Looks at it at these moments. What is due is done at once.
    fn looked_at(mut self, moments: &[&str]) -> Self {
        for text in moments {
            let now = time(text);
            let step = self.page.look(&self.planned, now);
            let told = match step {
                None => "nothing comes any more".to_owned(),
                Some(schedule::Step::Rest) => "rest".to_owned(),
                Some(schedule::Step::WaitForLast) => "the last one goes on".to_owned(),
                Some(schedule::Step::Note { until }) => format!("seen first, next {until}"),
                Some(schedule::Step::NoteAnew { until }) => format!("counted anew, next {until}"),
                Some(schedule::Step::Wait { until }) => format!("next {until}"),
                Some(schedule::Step::Take { .. }) => {
                    let name = self.page.errand.as_ref().unwrap().session();
                    self.page.note((&course::Step::Complete, &Told::default()), now);
                    format!("take {name}")
                }
            };
            writeln!(self.told, "{text} {told}").unwrap();
        }
        self
    }
}

#[test]
fn each_occurrence_is_taken_once_and_those_that_were_missed_once_together() {
    let story = Story::of(backup("schedule: 0 0 3 * * *")).looked_at(&[
        "2026-11-27T12:00:00Z",
        "2026-11-28T02:59:59Z",
        "2026-11-28T03:00:00Z",
        "2026-11-28T03:00:00.5Z",
        "2026-11-28T09:00:00Z",
        // Nobody was there for days.
        "2026-12-02T10:00:00Z",
        "2026-12-02T10:00:01Z",
        // The clock was set back.
        "2026-12-02T02:59:00Z",
        "2026-12-03T03:00:02Z",
    ]);
    expect![[r#"
        2026-11-27T12:00:00Z seen first, next 2026-11-28 03:00:00 UTC
        2026-11-28T02:59:59Z next 2026-11-28 03:00:00 UTC
        2026-11-28T03:00:00Z take nightly-20261128030000
        2026-11-28T03:00:00.5Z next 2026-11-29 03:00:00 UTC
        2026-11-28T09:00:00Z next 2026-11-29 03:00:00 UTC
        2026-12-02T10:00:00Z take nightly-20261129030000
        2026-12-02T10:00:01Z next 2026-12-03 03:00:00 UTC
        2026-12-02T02:59:00Z counted anew, next 2026-12-02 03:00:00 UTC
        2026-12-03T03:00:02Z take nightly-20261202030000
    "#]]
    .assert_eq(&story.told);
}

#[test]
fn the_first_one_may_be_taken_at_once_and_is_not_taken_again() {
    let at_once = backup("schedule: 0 0 3 * * *, immediate: true");
    let moments = ["2026-11-27T12:00:07Z", "2026-11-27T12:00:08Z", "2026-11-28T03:00:00Z"];
    expect![[r#"
        2026-11-27T12:00:07Z take nightly-20261127120007
        2026-11-27T12:00:08Z next 2026-11-28 03:00:00 UTC
        2026-11-28T03:00:00Z take nightly-20261128030000
    "#]]
    .assert_eq(&Story::of(at_once).looked_at(&moments).told);
}

#[test]
fn a_suspended_one_rests_and_has_one_to_make_up_for_when_it_goes_on() {
    let mut story = Story::of(backup("schedule: '@hourly'")).looked_at(&["2026-11-27T12:30:00Z"]);
    story.planned.begins = Begins::Suspended;
    let mut story = story.looked_at(&["2026-11-27T13:00:00Z", "2026-11-27T19:10:00Z"]);
    story.planned.begins = Begins::Scheduled;
    let story = story.looked_at(&["2026-11-27T19:30:00Z", "2026-11-27T19:30:01Z"]);
    expect![[r#"
        2026-11-27T12:30:00Z seen first, next 2026-11-27 13:00:00 UTC
        2026-11-27T13:00:00Z rest
        2026-11-27T19:10:00Z rest
        2026-11-27T19:30:00Z take nightly-20261127130000
        2026-11-27T19:30:01Z next 2026-11-27 20:00:00 UTC
    "#]]
    .assert_eq(&story.told);
}

#[test]
fn clocks_that_are_set_forward_and_back_are_those_of_the_zone() {
    let rome = || backup("schedule: TZ=Europe/Rome 0 30 2 * * *");
    // The 29th of March 2026 has no half past two: it is taken at three. The 25th of October has it twice: it
    // is taken the first time.
    let spring = [
        "2026-03-27T12:00:00Z",
        "2026-03-28T01:30:00Z",
        "2026-03-28T02:00:00Z",
        "2026-03-29T01:30:00Z",
        "2026-03-30T00:30:00Z",
    ];
    let autumn = [
        "2026-10-23T12:00:00Z",
        "2026-10-24T00:30:00Z",
        "2026-10-25T00:30:00Z",
        "2026-10-25T01:30:00Z",
        "2026-10-26T01:30:00Z",
    ];
    expect![[r#"
        2026-03-27T12:00:00Z seen first, next 2026-03-28 01:30:00 UTC
        2026-03-28T01:30:00Z take nightly-20260328013000
        2026-03-28T02:00:00Z next 2026-03-29 01:00:00 UTC
        2026-03-29T01:30:00Z take nightly-20260329010000
        2026-03-30T00:30:00Z take nightly-20260330003000
    "#]]
    .assert_eq(&Story::of(rome()).looked_at(&spring).told);
    expect![[r#"
        2026-10-23T12:00:00Z seen first, next 2026-10-24 00:30:00 UTC
        2026-10-24T00:30:00Z take nightly-20261024003000
        2026-10-25T00:30:00Z take nightly-20261025003000
        2026-10-25T01:30:00Z next 2026-10-26 01:30:00 UTC
        2026-10-26T01:30:00Z take nightly-20261026013000
    "#]]
    .assert_eq(&Story::of(rome()).looked_at(&autumn).told);
}

fn begun(attempt: u32) -> course::Step {
    course::Step::Begin { instance: InstanceName::parse("db-2").unwrap(), attempt }
}

#[test]
fn each_attempt_has_a_name_of_its_own_and_time_counts_while_it_is_its_turn() {
    let planned = backup("schedule: '@every 1h'");
    let mut page = Page::default();
    let at =
        |minute: i64| time("2026-11-27T12:00:00Z") + Duration::from_mins(minute.unsigned_abs());
    for minute in [0, 60] {
        page.look(&planned, at(minute));
    }
    let told = |page: &Page, minute| {
        let errand = page.errand.as_ref().unwrap();
        let instance = errand.instance.as_ref().map_or("-".to_owned(), ToString::to_string);
        let minutes = errand.turn(at(minute)).as_secs() / 60;
        let waits = errand.waits.as_deref().unwrap_or("-");
        format!("{} {instance} {:?} {minutes} {waits}\n", errand.session(), errand.at())
    };
    let mut all = String::new();
    let begins = Told { begun: true, ..Told::default() };
    let none = Told::default();
    let behind = Wait::ForTurn { behind: "backup other".to_owned() };
    let nobody = Wait::ForTaker { why: NoTaker::Nobody };
    let lost = course::Step::Anew {
        attempt: 2,
        lost: "it was lost".to_owned(),
        pause: Duration::from_secs(10),
    };
    for (minute, step, said) in [
        (61, course::Step::Wait(behind), &none),
        (62, course::Step::Wait(nobody), &none),
        (63, begun(1), &none),
        (64, course::Step::Follow, &begins),
        (65, course::Step::Follow, &none),
        (66, lost, &none),
        (67, begun(2), &none),
    ] {
        page.note((&step, said), at(minute));
        all += &told(&page, minute + 1);
    }
    expect![[r#"
        nightly-20261127130000 - Begin 1 it waits for the end of backup other
        nightly-20261127130000 - Begin 2 no instance can take it: there is no primary that is open, and no standby that receives
        nightly-20261127130000 db-2 Begin 3 -
        nightly-20261127130000 db-2 End 4 -
        nightly-20261127130000 db-2 End 5 -
        nightly-20261127130000.2 - Begin 1 begun anew in 10 s, because it was lost
        nightly-20261127130000.2 db-2 Begin 2 -
    "#]].assert_eq(&all);
    let id = Some("20261127T130700".to_owned());
    page.note((&course::Step::Complete, &Told { id, ..Told::default() }), at(69));
    assert_eq!(page.errand, None);
    let kept = serde_json::to_string(&page).unwrap();
    expect![[r#"{"checked":"2026-11-27T13:00:00Z","errand":null,"last":{"name":"nightly-20261127130000.2","due":"2026-11-27T13:00:00Z","at":"2026-11-27T13:09:00Z","instance":"db-2","id":"20261127T130700","failure":null,"warnings":[]}}"#]].assert_eq(&kept);
    assert_eq!(serde_json::from_str::<Page>(&kept).unwrap(), page);
}

#[test]
fn one_waits_for_those_of_its_kind_that_began_or_were_due_before() {
    let of = |kind: &str, name: &str| plan(kind, name, "schedule: '@hourly', immediate: true");
    let all = [of("ScheduledBackup", "b"), of("ScheduledBackup", "a"), of("ScheduledDump", "d")];
    let mut book = Book::default();
    for (one, second) in all.iter().zip([1, 2, 0]) {
        let now = time("2026-11-27T12:30:00Z") + Duration::from_secs(second);
        book.open(&one.key()).look(one, now);
    }
    let told = |book: &Book| {
        all.each_ref().map(|one| book.behind(one).unwrap_or_else(|| "-".to_owned())).join(", ")
    };
    expect![[r#"-, backup b-20261127123001, -"#]].assert_eq(&told(&book));
    book.open("backup/a").note((&begun(1), &Told::default()), time("2026-11-27T12:31:00Z"));
    expect![[r#"backup a-20261127123002, -, -"#]].assert_eq(&told(&book));
    book.keep_only(&all[..1]);
    assert_eq!(told(&book), "-, -, -");
}

#[test]
fn a_failure_is_told_until_one_is_completed() {
    let planned = backup("schedule: '@hourly', immediate: true");
    let mut book = Book::default();
    let now = time("2026-11-27T12:30:00Z");
    let views = |book: &Book, now| book.views(std::slice::from_ref(&planned), now).remove(0);
    assert_eq!((complaint(&views(&book, now)), hindrance(&views(&book, now))), (None, None));
    book.open("backup/nightly").look(&planned, now);
    let wait = course::Step::Wait(Wait::ForTaker { why: NoTaker::Nobody });
    book.open("backup/nightly").note((&wait, &Told::default()), now);
    expect![[r#"backup/nightly-20261127123000 of 2026-11-27 12:30:00Z waits: no instance can take it: there is no primary that is open, and no standby that receives"#]].assert_eq(&hindrance(&views(&book, now)).unwrap());
    let failed = course::Step::Fail("no such bucket".to_owned());
    book.open("backup/nightly").note((&failed, &Told::default()), now);
    expect![[r#"backup/nightly-20261127123000 of 2026-11-27 12:30:00Z failed: no such bucket"#]]
        .assert_eq(&complaint(&views(&book, now)).unwrap());
    let later = time("2026-11-27T13:00:00Z");
    assert_eq!(views(&book, now).next, Some(later));
    book.open("backup/nightly").look(&planned, later);
    book.open("backup/nightly").note((&course::Step::Complete, &Told::default()), later);
    assert_eq!(complaint(&views(&book, later)), None);
}
