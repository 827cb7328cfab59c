//! What people change in a cluster that runs: its pods, its volumes, its size, and whether it runs.
//!
//! Never through anything but its manifest.

use super::cluster::{Cluster, HEALED_WITHIN, Operator};
use super::figures::Round;
use super::stage::Stage;
use crate::client::now_milliseconds;
use crate::wait;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Kubernetes grows a volume at the kubelet's next look.
const GROWN_WITHIN: Duration = Duration::from_mins(4);
/// Three pods, one after another.
const ROLLED_WITHIN: Duration = Duration::from_mins(6);
const GIBIBYTE: u64 = 1 << 30;
const HIBERNATION: &str = "cnpg.io/hibernation";
/// What the volume offers, and since when PostgreSQL runs.
const SIZE: &str = "df --output=size --block-size=1 $PGDATA | tail -1";
const CONNECTIONS: &str = "psql -U postgres -Atc 'show max_connections'";
const STARTED: &str = "psql -U postgres -Atc 'select pg_postmaster_start_time()'";

impl Stage<'_> {
    pub(super) fn rolled(&self) -> Result<Round> {
        let found =
            self.place().get("cluster", self.cluster.name).context("there is no cluster")?;
        let known = found.pointer("/spec/resources/requests/cpu").and_then(Value::as_str);
        let cpu = if known == Some("10m") { "11m" } else { "10m" };
        self.roll(|| self.cluster.change(&json!({"resources": {"requests": {"cpu": cpu}}})))
    }

    /// What is changed replaces every pod, the primary's after all others, and no volume.
    pub(super) fn roll(&self, change: impl FnOnce() -> Result<()>) -> Result<Round> {
        let cast = self.cast()?;
        let (pods, claims) = (self.cluster.identities("pods")?, self.cluster.identities("pvc")?);
        let mut order = Vec::new();
        let began = Instant::now();
        let mut round = self.round(
            &cast,
            |_| {
                change()?;
                wait::find_seldom("all pods to be replaced", ROLLED_WITHIN, || {
                    note_replaced(&pods, &self.cluster.identities("pods")?, &mut order);
                    Ok((order.len() == pods.len()).then_some(()))
                })
                .with_context(|| self.cluster.told())?;
                self.cluster.wait_later(cast.epoch).map(drop)
            },
            || Ok(()),
        )?;
        let seconds = began.elapsed().as_secs_f64();
        round.notes.push(format!("replaced in this order: {}; {seconds:.0} s", order.join(", ")));
        if order.last() != Some(&cast.primary) {
            round.broken.push(format!("{} was primary, and not the last one", cast.primary));
        }
        expect(&mut round, "volumes", &claims, &self.cluster.identities("pvc")?);
        Ok(round)
    }

    /// A setting that only a restart brings is taken up by itself: the primary hands over for it.
    pub(super) fn reconfigured(&self) -> Result<Round> {
        let cast = self.cast()?;
        let pods = self.cluster.identities("pods")?;
        let known = self.cluster.shell(&cast.primary, CONNECTIONS)?;
        let wanted = if known.trim() == "110" { "120" } else { "110" };
        let parameters = json!({"parameters": {"max_connections": wanted}});
        let began = Instant::now();
        let mut round = self.round(
            &cast,
            |_| {
                self.cluster.change(&json!({ "postgresql": parameters }))?;
                self.cluster.wait_later(cast.epoch)?;
                wait::find_seldom("all to have the setting", HEALED_WITHIN, || {
                    // One that is just being started says nothing.
                    let said = self.each(&pods, CONNECTIONS).ok();
                    let have_it = |all: &BTreeMap<_, String>| all.values().all(|it| it == wanted);
                    Ok(said.filter(have_it).map(drop))
                })
                .with_context(|| self.cluster.told())
            },
            || Ok(()),
        )?;
        let seconds = began.elapsed().as_secs_f64();
        round.notes.push(format!("max_connections = {wanted} everywhere; {seconds:.0} s"));
        expect(&mut round, "pods", &pods, &self.cluster.identities("pods")?);
        Ok(round)
    }

    /// Both what the claims say and what file systems offer.
    pub(super) fn grown(&self) -> Result<Round> {
        let cast = self.cast()?;
        let pods = self.cluster.identities("pods")?;
        let (before, started) = (self.each(&pods, SIZE)?, self.each(&pods, STARTED)?);
        let size = before.values().filter_map(|it| it.parse().ok()).max();
        // File systems keep some of their volume for themselves.
        let asked = size.map_or(2, |size: u64| size.div_ceil(GIBIBYTE) + 1);
        let began = Instant::now();
        let mut round = self.round(
            &cast,
            |_| {
                self.cluster.change(&json!({"storage": {"size": format!("{asked}Gi")}}))?;
                wait::find_seldom("all file systems to grow", GROWN_WITHIN, || {
                    let now = self.each(&pods, SIZE)?;
                    let has_grown = |(name, size): (&String, &String)| {
                        let size: Option<u64> = size.parse().ok();
                        let before = before.get(name).and_then(|it| it.parse().ok());
                        size > before && size > Some((asked - 1) * GIBIBYTE)
                    };
                    Ok(now.iter().all(has_grown).then_some(()))
                })
                .with_context(|| self.cluster.told())
            },
            || Ok(()),
        )?;
        let seconds = began.elapsed().as_secs_f64();
        round.notes.push(format!("{asked} GiB each; {seconds:.0} s"));
        expect(&mut round, "pods", &pods, &self.cluster.identities("pods")?);
        expect(&mut round, "starts", &started, &self.each(&pods, STARTED)?);
        for (name, claim) in self.cluster.objects("pvc")? {
            let capacity = claim.pointer("/status/capacity/storage").and_then(Value::as_str);
            if capacity != Some(&format!("{asked}Gi")) {
                let capacity = capacity.unwrap_or_default();
                round.broken.push(format!("{name} has {capacity}, asked were {asked}Gi"));
            }
        }
        Ok(round)
    }

    /// What this line of shell says in each pod.
    pub(super) fn each(
        &self,
        pods: &BTreeMap<String, String>,
        line: &str,
    ) -> Result<BTreeMap<String, String>> {
        let said = pods.keys().map(|pod| {
            let said = self.cluster.shell(pod, line).with_context(|| format!("asking {pod}"))?;
            Ok((pod.clone(), said.trim().to_owned()))
        });
        said.collect()
    }

    /// The highest that is not primary leaves first, and the lowest free number comes back.
    pub(super) fn scaled(&self) -> Result<Round> {
        let cast = self.cast()?;
        let claims = self.cluster.identities("pvc")?;
        let mut told = Vec::new();
        let mut round = self.round(
            &cast,
            |_| {
                for instances in [5, 2, 3] {
                    told.push(scale(&self.cluster, instances)?);
                }
                Ok(())
            },
            || Ok(()),
        )?;
        for step in told {
            round.notes.push(step.note);
            round.broken.extend(step.broken);
        }
        let kept = staying(claims.keys().cloned(), &cast.primary, 2);
        let own = |all: &BTreeMap<String, String>| {
            let mut own = all.clone();
            own.retain(|name, _| kept.contains(name));
            own
        };
        expect(&mut round, "volumes", &own(&claims), &own(&self.cluster.identities("pvc")?));
        Ok(round)
    }

    /// The pause is told from when it is woken.
    pub(super) fn hibernated(&self) -> Result<Round> {
        let cast = self.cast()?;
        let claims = self.cluster.identities("pvc")?;
        let annotate = |value: &str| {
            let name = self.cluster.name;
            let words = ["annotate", "cluster", name, "--overwrite"];
            self.place().kubectl(&[&words[..], &[value]].concat()).map(drop)
        };
        let (began, mut asleep, mut woken) = (Instant::now(), Duration::ZERO, 0);
        let mut round = self.round(
            &cast,
            |_| {
                annotate(&format!("{HIBERNATION}=on"))?;
                wait_asleep(&self.cluster)?;
                asleep = began.elapsed();
                woken = now_milliseconds();
                annotate(&format!("{HIBERNATION}=off"))?;
                self.cluster.wait_whole(Operator::Present, HEALED_WITHIN)
            },
            || Ok(()),
        )?;
        let awake = Duration::from_millis(round.until.saturating_sub(woken));
        round.seconds = Some(awake.as_secs_f64());
        round.notes.push(format!("asleep after {:.1} s", asleep.as_secs_f64()));
        expect(&mut round, "volumes", &claims, &self.cluster.identities("pvc")?);
        Ok(round)
    }
}

/// Nothing runs, and it says so.
fn wait_asleep(cluster: &Cluster<'_>) -> Result<()> {
    let asleep = wait::find_seldom("the cluster to sleep", HEALED_WITHIN, || {
        let condition = cluster.condition(HIBERNATION).unwrap_or_default();
        let is_told = condition.pointer("/status").and_then(Value::as_str) == Some("True");
        Ok((is_told && cluster.objects("pods")?.is_empty()).then_some(()))
    });
    asleep.with_context(|| cluster.told())
}

struct Scaled {
    note: String,
    broken: Option<String>,
}

fn scale(cluster: &Cluster<'_>, instances: u32) -> Result<Scaled> {
    let began = Instant::now();
    let primary = cluster.primary()?;
    let before = cluster.objects("pods")?.into_keys();
    let wanted = match usize::try_from(instances)? {
        count if count <= before.len() => staying(before, &primary, count),
        count => joined(before, cluster.name, count),
    };
    cluster.change(&json!({"instances": instances}))?;
    cluster.wait_whole(Operator::Present, HEALED_WITHIN)?;
    let [pods, claims] = ["pods", "pvc"].map(|kind| {
        let names = cluster.objects(kind)?.into_keys().collect::<BTreeSet<_>>();
        anyhow::Ok(names)
    });
    let (pods, claims) = (pods?, claims?);
    if pods.is_empty() {
        bail!("there are no pods");
    }
    let listed = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
    let is_so = pods == wanted && claims == wanted;
    Ok(Scaled {
        note: format!("{}: {:.1} s", listed(&pods), began.elapsed().as_secs_f64()),
        broken: (!is_so).then(|| {
            let (wanted, pods, claims) = (listed(&wanted), listed(&pods), listed(&claims));
            format!("instead of {wanted} there are pods {pods} and volumes {claims}")
        }),
    })
}

/// Who stays when so many do. Numbers have one digit.
fn staying(names: impl Iterator<Item = String>, primary: &str, count: usize) -> BTreeSet<String> {
    let others = names.filter(|name| name != primary).collect::<BTreeSet<_>>();
    let lowest = others.into_iter().take(count.saturating_sub(1));
    lowest.chain([primary.to_owned()]).collect()
}

/// Who is there when so many are.
fn joined(names: impl Iterator<Item = String>, cluster: &str, count: usize) -> BTreeSet<String> {
    let known: BTreeSet<String> = names.collect();
    let free = (1..).map(|serial| format!("{cluster}-{serial}"));
    let free = free.filter(|name| !known.contains(name)).take(count.saturating_sub(known.len()));
    let free: Vec<String> = free.collect();
    known.into_iter().chain(free).collect()
}

/// Adds those that are another one now, in the order in which that is seen.
fn note_replaced(
    before: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
    order: &mut Vec<String>,
) {
    for (name, identity) in before {
        let is_another = now.get(name).is_some_and(|now| now != identity);
        if is_another && !order.contains(name) {
            order.push(name.clone());
        }
    }
}

pub(super) fn expect(
    round: &mut Round,
    what: &str,
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) {
    if before != after {
        round.broken.push(format!("other {what} than before: {after:?} in place of {before:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(serials: &[u32]) -> BTreeSet<String> {
        serials.iter().map(|serial| format!("db-{serial}")).collect()
    }

    #[test]
    fn the_highest_leave_but_not_the_primary_and_the_lowest_free_ones_come() {
        let five = || names(&[1, 2, 3, 4, 5]).into_iter();
        assert_eq!(staying(five(), "db-1", 2), names(&[1, 2]));
        assert_eq!(staying(five(), "db-4", 2), names(&[1, 4]));
        assert_eq!(joined(names(&[1, 4]).into_iter(), "db", 3), names(&[1, 2, 4]));
        assert_eq!(joined(names(&[1, 2, 3]).into_iter(), "db", 5), names(&[1, 2, 3, 4, 5]));
    }

    #[test]
    fn who_is_replaced_is_noted_once_and_who_is_away_is_not() {
        let with = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, id)| ((*name).to_owned(), (*id).to_owned())).collect()
        };
        let before = with(&[("a", "1"), ("b", "2")]);
        let mut order = Vec::new();
        for now in [&[("a", "1")][..], &[("a", "1"), ("b", "3")], &[("a", "4"), ("b", "5")]] {
            note_replaced(&before, &with(now), &mut order);
        }
        assert_eq!(order, ["b", "a"]);
    }
}
