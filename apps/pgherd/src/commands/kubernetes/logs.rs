//! `pgherd logs`: what the agents and PostgreSQL of all pods said, in one stream.
//!
//! Never reads a whole log to show its end.

use super::super::local::place::duration;
use super::super::logs::{readable, stopped_watching};
use super::super::output::{Output, remark, say};
use super::place::{Place, Reached, lacking, refused, unread};
use futures_util::stream::{self, BoxStream};
use futures_util::{AsyncBufReadExt, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use pgherd_kubernetes::console::Part;
use pgherd_kubernetes::console::read::answer;
use pgherd_local::failure::{Failure, Kind};
use std::time::Duration;

/// Show what the agents and PostgreSQL said
#[derive(clap::Args)]
#[command(after_help = "\
One line a record: when, which instance, how grave, who said it, and what. With -o json records stay as
they are.

Examples:
  pgherd logs app-db
  pgherd logs app-db 1 --follow
  pgherd logs app-db --since 10m --tail 1000
  pgherd logs app-db -o json | jq 'select(.level == \"error\")'")]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Only this instance, by name or number
    #[arg(value_name = "INSTANCE")]
    instance: Option<String>,
    /// Go on as more is said, until the pods end
    #[arg(long, short)]
    follow: bool,
    /// Only what was said since so long ago, for example 10m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    since: Option<Duration>,
    /// How many of the last lines of each instance
    #[arg(long, value_name = "LINES", default_value_t = 100)]
    tail: u32,
}

impl Logs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let output = self.place.output();
        let Self { place, instance, follow, since, tail } = self;
        let wanted = LogParams {
            container: Some("postgres".to_owned()),
            follow,
            since_seconds: since.map(|it| i64::try_from(it.as_secs().max(1)).unwrap_or(i64::MAX)),
            tail_lines: Some(i64::from(tail)),
            timestamps: true,
            ..LogParams::default()
        };
        let ended = place.with(|reached| async move {
            let view = reached.look().await?;
            if view.is_asleep() && view.sees(Part::Pods) && view.pods.is_empty() {
                let what = format!(
                    "{} is hibernated: it has no pods, and their logs went with them",
                    view.name
                );
                return Err(Failure::new(Kind::Refused, what).fix(view.waking()));
            }
            let names: Vec<String> = match instance {
                Some(given) => vec![view.find(&given).map_err(refused)?.to_string()],
                None => view.instances().iter().map(ToString::to_string).collect(),
            };
            if follow {
                go_on(&reached, &names, (&wanted, output)).await
            } else {
                show(&reached, &names, (&wanted, output)).await
            }
        });
        ended.map_err(stopped_watching)
    }
}

/// One line, behind the time that the kubelet got it.
struct Said {
    pod: String,
    at: String,
    text: String,
}

impl Said {
    fn of(pod: &str, line: &str) -> Self {
        let (at, text) = line.split_once(' ').unwrap_or(("", line));
        Self { pod: pod.to_owned(), at: at.to_owned(), text: text.to_owned() }
    }

    fn tell(&self, output: Output) {
        let Self { pod, at, text } = self;
        match output {
            Output::Text => say(&readable(pod, text)),
            Output::Json => say(&as_one(pod, at, text)),
        }
    }
}

/// The object that a line is, with who said it; a line that is none becomes one.
fn as_one(pod: &str, at: &str, text: &str) -> String {
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Object(said)) => {
            let mut one = serde_json::Map::from_iter([("instance".to_owned(), pod.into())]);
            one.extend(said);
            serde_json::Value::Object(one).to_string()
        }
        Ok(_) | Err(_) => {
            serde_json::json!({ "instance": pod, "timestamp": at, "message": text }).to_string()
        }
    }
}

fn unheard(pod: &str, error: &(dyn std::error::Error + 'static)) {
    let lacking = lacking(error, "get pods/log");
    remark(&format!("note: the log of {pod} is not shown: {error}{lacking}"));
}

async fn show(
    reached: &Reached,
    names: &[String],
    (wanted, output): (&LogParams, Output),
) -> Result<(), Failure> {
    let pods: Api<Pod> = Api::namespaced(reached.client.clone(), &reached.namespace);
    let (mut said, mut failure) = (Vec::new(), None);
    for name in names {
        match answer(pods.logs(name, wanted)).await {
            Ok(log) => said.extend(log.lines().map(|line| Said::of(name, line))),
            Err(error) => {
                unheard(name, &error);
                let right = format!("get the right to get pods/log in {}", reached.namespace);
                failure = Some(unread(&error).fix(right));
            }
        }
    }
    // Times of one form and zone, whose order is that of their text. Stable: lines of one pod stay
    // in their order.
    said.sort_by(|one, other| one.at.cmp(&other.at));
    for line in &said {
        line.tell(output);
    }
    match failure {
        Some(failure) if said.is_empty() => Err(failure),
        Some(_) | None => Ok(()),
    }
}

async fn go_on(
    reached: &Reached,
    names: &[String],
    (wanted, output): (&LogParams, Output),
) -> Result<(), Failure> {
    let pods: Api<Pod> = Api::namespaced(reached.client.clone(), &reached.namespace);
    let mut streams: Vec<BoxStream<'_, Said>> = Vec::new();
    for name in names {
        match answer(pods.log_stream(name, wanted)).await {
            Ok(log) => {
                let lines = log.lines().filter_map(|line| std::future::ready(line.ok()));
                streams.push(lines.map(move |line| Said::of(name, &line)).boxed());
            }
            Err(error) => unheard(name, &error),
        }
    }
    let mut all = stream::select_all(streams);
    while let Some(line) = all.next().await {
        line.tell(output);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_one_object_for_programs() {
        let at = "2027-01-15T08:00:00Z";
        let told = [r#"{"level":"info","msg":"ready"}"#, "plain \"text\"", "7"]
            .map(|line| as_one("db-1", at, line) + "\n");
        expect_test::expect![[r#"
            {"instance":"db-1","level":"info","msg":"ready"}
            {"instance":"db-1","message":"plain \"text\"","timestamp":"2027-01-15T08:00:00Z"}
            {"instance":"db-1","message":"7","timestamp":"2027-01-15T08:00:00Z"}
        "#]]
        .assert_eq(&told.concat());
    }
}
