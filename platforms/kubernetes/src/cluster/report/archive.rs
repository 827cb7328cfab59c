//! Says whether the log goes to the archive, in the condition that people and their tools wait for.
//!
//! Never before something was stored or could not be: a silent primary changes nothing.

use super::super::heard::Archive;
use super::conditions::{Told, dated, told};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use pgherd_api::agent::ArchiveStatus;

/// The name of the condition.
pub(crate) const KIND: &str = "ContinuousArchiving";

pub(super) fn condition(
    archive: &Archive,
    before: &[Condition],
    about: (Option<i64>, Timestamp),
) -> Option<Condition> {
    let known = || before.iter().find(|it| it.type_ == KIND).cloned();
    match archive {
        Archive::None => None,
        Archive::Unknown => known(),
        Archive::Known(status) => match said(status) {
            Some(told) => Some(dated(&told, before, about)),
            None => known(),
        },
    }
}

fn said(status: &ArchiveStatus) -> Option<Told> {
    if let Some(failing) = &status.failing {
        return Some(told(KIND, ["False", "ContinuousArchivingFailing"], &failing.why));
    }
    if let Some(alarm) = &status.alarm {
        return Some(told(KIND, ["False", "ContinuousArchivingBehind"], alarm));
    }
    let works = ["True", "ContinuousArchivingSuccess"];
    let streamed = status.stream.as_ref().and_then(|stream| stream.failing.as_ref());
    let streamed =
        streamed.map(|failing| format!(", but the log is not streamed: {}", failing.why));
    let message = format!("Continuous archiving is working{}", streamed.unwrap_or_default());
    status.last.as_ref().map(|_| told(KIND, works, &message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use pgherd_api::agent::{ArchiveFailure, Archived, StreamStatus};
    use pgherd_core::units::{Bytes, Lsn};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn status(last: Option<&str>, failing: Option<&str>) -> Archive {
        let last = last.map(|file| Archived { file: file.to_owned(), at: at(5) });
        let failing = failing.map(|why| ArchiveFailure { since: at(5), why: why.to_owned() });
        let (waiting, waiting_bytes) = (0, Bytes(0));
        let destination = "s3://b".to_owned();
        Archive::Known(Box::new(ArchiveStatus {
            destination,
            last,
            waiting,
            waiting_bytes,
            waiting_since: None,
            waiting_limit: Bytes(1 << 30),
            alarm: None,
            failing,
            stream: None,
        }))
    }

    fn with(change: impl FnOnce(&mut ArchiveStatus)) -> Archive {
        let mut archive = status(Some("000000010000000000000003"), None);
        if let Archive::Known(status) = &mut archive {
            change(status);
        }
        archive
    }

    #[test]
    fn what_is_behind_or_not_streamed_is_told_too() {
        let alarm = with(|it| it.alarm = Some("2.0 GiB of log wait".to_owned()));
        let stream = with(|it| {
            it.stream = Some(StreamStatus {
                stored: Lsn(5),
                lag_bytes: Bytes(0),
                lag_milliseconds: 0,
                pieces: 1,
                took_milliseconds: None,
                failing: Some(ArchiveFailure { since: at(5), why: "it is slow".to_owned() }),
            });
        });
        let said = [alarm, stream].map(|archive| {
            let told = condition(&archive, &[], (Some(1), at(9))).unwrap();
            format!("{} {}: {}\n", told.status, told.reason, told.message)
        });
        expect![[r#"
            False ContinuousArchivingBehind: 2.0 GiB of log wait
            True ContinuousArchivingSuccess: Continuous archiving is working, but the log is not streamed: it is slow
        "#]]
        .assert_eq(&said.concat());
    }

    #[test]
    fn it_is_told_once_something_is_stored_or_cannot_be() {
        let heard = [
            Archive::Unknown,
            status(None, None),
            status(None, Some("no such bucket")),
            // Its agent was started again.
            status(None, None),
            Archive::Unknown,
            status(Some("000000010000000000000001"), None),
            status(Some("000000010000000000000002"), None),
            status(Some("000000010000000000000002"), Some("nobody answers")),
            Archive::None,
        ];
        let mut before = Vec::new();
        let told = (10..).zip(&heard).map(|(second, archive)| {
            before = condition(archive, &before, (Some(1), at(second))).into_iter().collect();
            let told = before.iter().map(|it: &Condition| {
                let since = it.last_transition_time.0.as_second();
                format!("{} {} {since}: {}", it.status, it.reason, it.message)
            });
            told.collect::<String>() + "\n"
        });
        let told: String = told.collect();
        expect![[r#"


            False ContinuousArchivingFailing 12: no such bucket
            False ContinuousArchivingFailing 12: no such bucket
            False ContinuousArchivingFailing 12: no such bucket
            True ContinuousArchivingSuccess 15: Continuous archiving is working
            True ContinuousArchivingSuccess 15: Continuous archiving is working
            False ContinuousArchivingFailing 17: nobody answers

        "#]]
        .assert_eq(&told);
    }
}
