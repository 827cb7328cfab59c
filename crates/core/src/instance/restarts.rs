//! Decides who starts again, and when: one standby at a time while all others stream, then the
//! primary.
//!
//! Never two at once: while one is away, commits may need the others.

use super::View;
use crate::intent::{Intent, Restart};
use crate::message::Standing;
use crate::names::InstanceName;
use crate::plan::Task;
use crate::seen::{Answer, Heard, Pending, Seen};

/// The restart that this instance was asked for and has not begun.
pub(super) fn asked<'a>(intent: &'a Intent, seen: &Seen) -> Option<&'a Restart> {
    intent.restart.as_ref().filter(|restart| {
        restart.number > seen.durable.restarted && restart.instances.contains(seen.name())
    })
}

/// Whether this instance, as a standby, would start again if it were its turn.
pub(crate) fn is_wanted(intent: &Intent, seen: &Seen) -> bool {
    !intent.paused && (seen.health.pending == Pending::Some || asked(intent, seen).is_some())
}

/// Whether it has begun to: until the next look at it the server still seems to stream.
pub(crate) fn is_under_way(seen: &Seen) -> bool {
    let task = seen.task.as_ref().map(|running| &running.task);
    matches!(task, Some(Task::Stop { .. } | Task::Start { .. }))
}

/// Whether the primary said so. Who does not stream takes nothing away from anybody.
pub(super) fn is_my_turn(view: View<'_>, heard: &Heard) -> bool {
    !view.seen.server_streams() || heard.may_restart.as_ref() == Some(view.seen.name())
}

/// The holder says whose turn it is: the last one that wants to, while all stream.
///
/// One that does not come back, as with settings that it cannot start with, stops all others.
pub(super) fn turn(view: View<'_>) -> Option<InstanceName> {
    let mut turn = None;
    for name in view.seen.others(&view.intent.instances) {
        if view.intent.is_fenced(name) {
            continue;
        }
        let answer = answer(view, name)?;
        if !streams(answer) {
            return None;
        }
        if answer.wants_restart {
            turn = Some(name.clone());
        }
    }
    turn
}

/// Whether nobody else of `restart` that can be heard has it before them.
pub(super) fn is_last(view: View<'_>, restart: &Restart) -> bool {
    let others = view.seen.others(&restart.instances).filter(|name| !view.intent.is_fenced(name));
    let mut answers = others.filter_map(|name| answer(view, name));
    answers.all(|answer| {
        // One that does not want to may not have heard of it yet.
        let done = answer.restarted.is_none_or(|number| number >= restart.number);
        streams(answer) && !answer.wants_restart && done
    })
}

fn answer<'a>(view: View<'a>, name: &InstanceName) -> Option<&'a Answer> {
    let oldest = view.now.before(view.intent.timers.grantor_silence());
    view.seen.fresh_answer(name, oldest)
}

fn streams(answer: &Answer) -> bool {
    matches!(answer.standing, Standing::Streaming { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{
        NOW, asynchronous, intent, name, names, record, serving, streaming, told,
    };
    use crate::instance::plan;
    use crate::seen::Running;
    use crate::units::Epoch;
    use expect_test::expect;

    fn wants(seen: &mut Seen, serial: u32) {
        let answer = seen.peers.get_mut(&name(serial)).unwrap().answer.as_mut().unwrap();
        answer.wants_restart = true;
    }

    fn next(intent: &Intent, seen: &Seen) -> Option<InstanceName> {
        turn(View { intent, seen, now: NOW })
    }

    #[test]
    fn one_standby_at_a_time_has_its_turn_while_all_stream() {
        let three = intent(3, asynchronous());
        let mut seen = serving(&record(3));
        assert_eq!(next(&three, &seen), None);
        wants(&mut seen, 2);
        assert_eq!(next(&three, &seen), Some(name(2)));
        wants(&mut seen, 3);
        assert_eq!(next(&three, &seen), Some(name(3)));
        let answer = seen.peers.get_mut(&name(3)).unwrap().answer.as_mut().unwrap();
        answer.standing = Standing::Unready;
        assert_eq!(next(&three, &seen), None);
        seen.peers.remove(&name(3));
        assert_eq!(next(&three, &seen), None);
        let mut fenced = three;
        fenced.fenced = names([3]);
        assert_eq!(next(&fenced, &seen), Some(name(2)));
    }

    #[test]
    fn a_standby_waits_for_its_turn_and_a_paused_one_for_longer() {
        let mut intent = intent(3, asynchronous());
        let mut seen = streaming(2, &record(3));
        seen.health.pending = Pending::Some;
        let waits = expect!["following: waiting for its turn to restart"];
        waits.assert_eq(&told(&plan(&intent, &seen, NOW)));
        seen.grant.heard.as_mut().unwrap().may_restart = Some(name(3));
        waits.assert_eq(&told(&plan(&intent, &seen, NOW)));
        seen.grant.heard.as_mut().unwrap().may_restart = Some(name(2));
        expect![[r#"
            following: restarting in place
            perform Stop { epoch: Epoch(2) }"#]]
        .assert_eq(&told(&plan(&intent, &seen, NOW)));
        intent.paused = true;
        expect!["following: streaming"].assert_eq(&told(&plan(&intent, &seen, NOW)));
    }

    #[test]
    fn who_has_begun_to_start_again_is_not_done() {
        let mut intent = intent(3, asynchronous());
        intent.restart = Some(Restart { number: 1, instances: names([1, 2, 3]) });
        let mut seen = streaming(2, &record(3));
        assert!(is_wanted(&intent, &seen) && !is_under_way(&seen));
        // It is noted before the server is stopped, and that is before it is seen to be down.
        seen.durable.restarted = 1;
        seen.task = Some(Running { task: Task::Stop { epoch: Epoch(2) }, since: NOW });
        assert!(!is_wanted(&intent, &seen) && is_under_way(&seen));
        seen.task = None;
        assert!(!is_under_way(&seen));
    }

    #[test]
    fn the_primary_starts_again_when_all_others_have() {
        let mut intent = intent(3, asynchronous());
        intent.restart = Some(Restart { number: 1, instances: names([1, 2, 3]) });
        let mut seen = serving(&record(3));
        // Nobody else has heard of it yet.
        expect!["serving: nothing to do"].assert_eq(&told(&plan(&intent, &seen, NOW)));
        wants(&mut seen, 2);
        expect!["serving: nothing to do"].assert_eq(&told(&plan(&intent, &seen, NOW)));
        for serial in [2, 3] {
            let answer = seen.peers.get_mut(&name(serial)).unwrap().answer.as_mut().unwrap();
            (answer.wants_restart, answer.restarted) = (false, Some(1));
        }
        intent.paused = true;
        expect!["serving: nothing to do"].assert_eq(&told(&plan(&intent, &seen, NOW)));
        intent.paused = false;
        expect![[r#"
            serving: restarting in place
            persist promise 2 seal 0 served 2
            perform Stop { epoch: Epoch(2) }"#]]
        .assert_eq(&told(&plan(&intent, &seen, NOW)));
    }
}
