//! What is asked of a repository, and what it holds in answer: the same words wherever it is read.
//!
//! Never asks an agent or believes an object: what the repository holds is what counts.

pub(crate) mod annotate;
pub(crate) mod command;
pub(crate) mod delete;
pub(crate) mod details;
pub(crate) mod dump;
pub(crate) mod expire;
mod key;
pub(crate) mod list;
mod named;
mod opened;
pub(crate) mod plan;
pub(crate) mod rewrap;
pub(crate) mod vacant;
pub(crate) mod verify;
pub(crate) mod window;

pub(crate) use opened::{Around, Opened, open_with, open_with_keys};

use super::form::{Form, write};
use super::progress::Progress;
use jiff::Timestamp;
use pgherd_api::agent::ArchiveSpec;
use pgherd_core::units::Moment;
use pgherd_local::failure::{Failure, Kind};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::watch;

const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// A question; it also travels to a pod, where the repository can be opened.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Asked {
    List(list::List),
    Info(details::Details),
    Verify(verify::Verify),
    Annotate(annotate::Annotate),
    Expire(expire::Expire),
    Delete(delete::Delete),
    Window(window::Window),
    Plan(Box<plan::Plan>),
    Rewrap(rewrap::Rewrap),
    /// Whoever opens the repository has looked at that place before.
    Vacant(Box<vacant::Vacant>),
    DumpList(dump::list::List),
    DumpInfo(dump::details::Details),
    DumpExpire(dump::expire::Expire),
    DumpDelete(dump::delete::Delete),
}

/// The answer, which travels back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Told {
    List(list::Listing),
    Info(Box<list::Listed>),
    Verify(verify::Verified),
    Annotate(annotate::Annotated),
    Expire(expire::Expired),
    Delete(delete::Deleted),
    Window(window::Found),
    Plan(plan::Shown),
    Rewrap(rewrap::Rewrapped),
    Vacant(vacant::Free),
    DumpList(dump::list::Listing),
    DumpInfo(Box<dump::list::Listed>),
    DumpExpire(dump::expire::Expired),
    DumpDelete(dump::delete::Deleted),
}

/// How far the work is, in words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) step: String,
    pub(crate) detail: String,
}

pub(crate) type Teller = watch::Sender<Step>;

/// An answer that can be written in each form.
trait Answer {
    type Document: Serialize;

    fn document(&self) -> &Self::Document;
    /// What it is about, for other programs.
    fn names(&self) -> Vec<String>;
    /// For people; commands in it are those of local mode.
    fn lines(&self) -> Vec<String>;
    /// Why the command does not end well, although there is an answer.
    fn failure(&self) -> Option<Failure> {
        None
    }
}

/// What the repository says to it.
pub(crate) async fn answer(
    opened: &Opened,
    asked: &Asked,
    teller: &Teller,
) -> Result<Told, Failure> {
    Ok(match asked {
        Asked::List(list::List {}) => Told::List(list::answer(opened).await?),
        Asked::Info(info) => Told::Info(Box::new(info.answer(opened).await?)),
        Asked::Verify(verify) => Told::Verify(verify.answer(opened, teller).await?),
        Asked::Annotate(annotate) => Told::Annotate(annotate.answer(opened).await?),
        Asked::Expire(expire) => Told::Expire(expire.answer(opened).await?),
        Asked::Delete(delete) => Told::Delete(delete.answer(opened).await?),
        Asked::Window(window::Window {}) => Told::Window(window::answer(opened).await?),
        Asked::Plan(plan) => Told::Plan(plan.answer(opened).await?),
        Asked::Rewrap(rewrap) => Told::Rewrap(rewrap.answer(opened, teller).await?),
        Asked::Vacant(vacant) => Told::Vacant(vacant::Free { place: vacant.own.server.clone() }),
        Asked::DumpList(dump::list::List {}) => Told::DumpList(dump::list::answer(opened).await?),
        Asked::DumpInfo(info) => Told::DumpInfo(Box::new(info.answer(opened).await?)),
        Asked::DumpExpire(expire) => Told::DumpExpire(expire.answer(opened).await?),
        Asked::DumpDelete(delete) => Told::DumpDelete(delete.answer(opened).await?),
    })
}

/// The same, while people are told how far it is.
pub(crate) async fn follow(opened: &Opened, asked: &Asked) -> Result<Told, Failure> {
    let (teller, shown) = watch::channel(Step::default());
    let mut working = std::pin::pin!(answer(opened, asked, &teller));
    let mut progress = Progress::new();
    loop {
        tokio::select! {
            told = &mut working => return told,
            () = tokio::time::sleep(BETWEEN_LOOKS) => {
                let Step { step, detail } = shown.borrow().clone();
                if !step.is_empty() {
                    progress.tell_step(&step, &detail);
                }
            }
        }
    }
}

impl Asked {
    /// The place of a new cluster's own log, which has to be free.
    pub(crate) fn own(&self) -> Option<ArchiveSpec> {
        match self {
            Self::Plan(plan) => plan.own.clone(),
            Self::Vacant(vacant) => Some(vacant.own.clone()),
            Self::List(_)
            | Self::Info(_)
            | Self::Verify(_)
            | Self::Annotate(_)
            | Self::Expire(_)
            | Self::Delete(_)
            | Self::Window(_)
            | Self::Rewrap(_)
            | Self::DumpList(_)
            | Self::DumpInfo(_)
            | Self::DumpExpire(_)
            | Self::DumpDelete(_) => None,
        }
    }
}

impl Told {
    /// Writes it; `complete` makes the commands in texts those that work here.
    pub(crate) fn tell(
        &self,
        form: Form,
        complete: &dyn Fn(&str) -> String,
    ) -> Result<(), Failure> {
        match self {
            Self::List(told) => tell(told, form, complete),
            Self::Info(told) => tell(&**told, form, complete),
            Self::Verify(told) => tell(told, form, complete),
            Self::Annotate(told) => tell(told, form, complete),
            Self::Expire(told) => tell(told, form, complete),
            Self::Delete(told) => tell(told, form, complete),
            Self::Window(told) => tell(told, form, complete),
            Self::Plan(told) => tell(told, form, complete),
            Self::Rewrap(told) => tell(told, form, complete),
            Self::Vacant(told) => tell(told, form, complete),
            Self::DumpList(told) => tell(told, form, complete),
            Self::DumpInfo(told) => tell(&**told, form, complete),
            Self::DumpExpire(told) => tell(told, form, complete),
            Self::DumpDelete(told) => tell(told, form, complete),
        }
    }

    /// For people; commands in it are those of local mode.
    pub(crate) fn lines(&self) -> Vec<String> {
        match self {
            Self::List(told) => told.lines(),
            Self::Info(told) => told.lines(),
            Self::Verify(told) => told.lines(),
            Self::Annotate(told) => told.lines(),
            Self::Expire(told) => told.lines(),
            Self::Delete(told) => told.lines(),
            Self::Window(told) => told.lines(),
            Self::Plan(told) => told.lines(),
            Self::Rewrap(told) => told.lines(),
            Self::Vacant(told) => told.lines(),
            Self::DumpList(told) => told.lines(),
            Self::DumpInfo(told) => told.lines(),
            Self::DumpExpire(told) => told.lines(),
            Self::DumpDelete(told) => told.lines(),
        }
    }

    /// What kind of answer was to come instead.
    pub(crate) fn unexpected() -> Failure {
        Failure::new(Kind::Failed, "the repository was asked one thing and answered another")
            .fix("let the cluster's pods run the same version as this program")
    }
}

fn tell<A: Answer>(told: &A, form: Form, complete: &dyn Fn(&str) -> String) -> Result<(), Failure> {
    let lines: Vec<String> = told.lines().iter().map(|line| complete(line)).collect();
    write(form, (&told.names(), &lines), told.document())?;
    told.failure().map_or(Ok(()), Err)
}

pub(crate) fn timestamp(moment: Moment) -> Timestamp {
    Timestamp::from_microsecond(moment.0).unwrap_or_default()
}

/// To the second, in UTC.
pub(crate) fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// `1 backup`, `2 backups`.
pub(crate) fn counted(count: u64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}
