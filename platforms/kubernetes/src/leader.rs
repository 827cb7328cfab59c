//! Lets one of several operators work: the one whose name is in a Lease, while it renews that.
//!
//! Never compares the clocks of two machines: a holder is taken for gone once its Lease was not
//! seen to change for a while, on the own clock, and until then the holder itself has given up.

mod decide;

use decide::{Decision, Lead, Seen, Sight, decide};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Api;
use kube::api::PostParams;
use pgherd_agent::chain::chain;
use pgherd_agent::process::clock;
use pgherd_core::units::Time;
use std::collections::BTreeMap;
use std::time::Duration;
use tracing::{info, warn};

/// What the Lease is called, in the operator's namespace.
pub const LEASE: &str = "pgherd-operator";
/// Where the operator is told its namespace.
pub const NAMESPACE: &str = "POD_NAMESPACE";
/// Where the operator is told its name.
pub const NAME: &str = "POD_NAME";

/// For people and other tools: we go by what we see, not by what a Lease says of itself.
const LEASE_SECONDS: i32 = 15;
/// An API server that takes longer is out of reach for this time.
const DEADLINE: Duration = Duration::from_secs(2);
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// How often a release is tried, when the Lease changes beside it.
const RELEASES: usize = 3;

/// Why one request did not do what it was for.
#[derive(Debug, thiserror::Error)]
enum ElectError {
    #[error("the API server did not answer within {DEADLINE:?}")]
    Late,
    #[error("getting the Lease {LEASE}")]
    Get(#[source] kube::Error),
    #[error("making the Lease {LEASE}")]
    Create(#[source] kube::Error),
    #[error("replacing the Lease {LEASE}")]
    Replace(#[source] kube::Error),
}

/// Who stands for election, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub namespace: String,
    pub name: String,
}

/// This process as a candidate; none when it is not told who and where it is, as when a person
/// runs it.
pub fn candidate(environment: &BTreeMap<String, String>) -> Option<Candidate> {
    let find = |name| environment.get(name).filter(|value| !value.is_empty()).cloned();
    let namespace = find(NAMESPACE)?;
    Some(Candidate { namespace, name: find(NAME)? })
}

/// One operator in the election.
pub struct Elector {
    leases: Api<Lease>,
    me: String,
    seen: Seen,
    /// As it was last read: a write over another one is refused.
    lease: Option<Lease>,
    failing: bool,
}

impl Elector {
    pub fn new(leases: Api<Lease>, me: &str) -> Self {
        let seen = Seen::nothing(clock::now());
        Self { leases, me: me.to_owned(), seen, lease: None, failing: false }
    }

    /// Until this one leads. Others are waited for without end.
    pub async fn lead(&mut self) {
        while self.seen.lead.is_none() {
            match decide(&self.seen, &self.me, clock::now()) {
                Decision::Acquire => self.put(Hold::Anew).await,
                Decision::Wait(pause) => {
                    tokio::time::sleep(pause).await;
                    self.look().await;
                }
                // Only who leads is told so.
                Decision::Renew | Decision::Leave => self.look().await,
            }
        }
        info!(name = %self.me, "this operator leads");
    }

    /// Renews what `lead` has won, until it is lost: then nothing may be done any more.
    pub async fn keep(&mut self) {
        loop {
            match decide(&self.seen, &self.me, clock::now()) {
                Decision::Renew => self.put(Hold::On).await,
                Decision::Wait(pause) => tokio::time::sleep(pause).await,
                // Only a candidate is told to acquire.
                Decision::Leave | Decision::Acquire => return,
            }
        }
    }

    /// Makes room for another at once, after the work has ended.
    pub async fn release(mut self) {
        for _ in 0..RELEASES {
            if self.seen.lead.is_none() || self.seen.is_anothers(&self.me) {
                return;
            }
            self.put(Hold::NoMore).await;
        }
    }

    async fn look(&mut self) {
        let got = ask(self.leases.get(LEASE)).await;
        match got {
            Some(Ok(lease)) => self.sight(Some(lease)),
            Some(Err(error)) if code(&error) == Some(404) => self.sight(None),
            Some(Err(error)) => self.fail(&ElectError::Get(error)).await,
            None => self.fail(&ElectError::Late).await,
        }
    }

    async fn put(&mut self, hold: Hold) {
        let sent = clock::now();
        let next = self.next(hold);
        let term = term(&next);
        let (answer, told): (_, fn(kube::Error) -> ElectError) = if self.lease.is_some() {
            let parameters = PostParams::default();
            (ask(self.leases.replace(LEASE, &parameters, &next)).await, ElectError::Replace)
        } else {
            (ask(self.leases.create(&PostParams::default(), &next)).await, ElectError::Create)
        };
        match answer {
            Some(Ok(lease)) => {
                self.sight(Some(lease));
                self.seen.lead = hold.lead(term, sent);
            }
            // Somebody was faster, or this is an earlier write of ours that arrived late.
            Some(Err(error)) if matches!(code(&error), Some(404 | 409)) => self.look().await,
            Some(Err(error)) => self.fail(&told(error)).await,
            None => self.fail(&ElectError::Late).await,
        }
    }

    fn next(&self, hold: Hold) -> Lease {
        let now = MicroTime(Timestamp::now());
        let mut lease = self.lease.clone().unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(LEASE.to_owned()), ..ObjectMeta::default() },
            spec: None,
        });
        // Left out of a replacement, the API server takes its own.
        lease.metadata.managed_fields = None;
        let spec = lease.spec.get_or_insert_default();
        spec.lease_duration_seconds = Some(LEASE_SECONDS);
        spec.renew_time = Some(now.clone());
        match hold {
            Hold::Anew => {
                spec.holder_identity = Some(self.me.clone());
                spec.acquire_time = Some(now);
                let transitions = spec.lease_transitions.map_or(0, |many| many.saturating_add(1));
                spec.lease_transitions = Some(transitions);
            }
            Hold::On => {}
            Hold::NoMore => spec.holder_identity = Some(String::new()),
        }
        lease
    }

    fn sight(&mut self, lease: Option<Lease>) {
        if std::mem::take(&mut self.failing) {
            info!("the API server answers again");
        }
        let sight = lease.as_ref().map_or(Sight::Absent, |lease| sight(lease.spec.as_ref()));
        let holder = |sight: &Sight| match sight {
            Sight::Held { holder, .. } => Some(holder.clone()),
            Sight::Unread | Sight::Absent | Sight::Free { .. } => None,
        };
        let before = holder(&self.seen.sight);
        self.lease = lease;
        self.seen.notice(sight, clock::now());
        let holder = holder(&self.seen.sight).filter(|holder| *holder != self.me);
        if let Some(holder) = holder.filter(|holder| before.as_ref() != Some(holder)) {
            info!(%holder, "another operator leads; this one waits");
        }
    }

    async fn fail(&mut self, error: &ElectError) {
        if !std::mem::replace(&mut self.failing, true) {
            warn!(error = %chain(error), "the election is tried again");
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

/// What a write is to say of this operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    Anew,
    On,
    NoMore,
}

impl Hold {
    fn lead(self, term: i32, sent: Time) -> Option<Lead> {
        match self {
            // From when it was sent: others cannot have seen it earlier.
            Self::Anew | Self::On => Some(Lead { term, renewed: sent }),
            Self::NoMore => None,
        }
    }
}

fn sight(spec: Option<&LeaseSpec>) -> Sight {
    let Some(spec) = spec else { return Sight::Free { term: 0 } };
    let term = spec.lease_transitions.unwrap_or(0);
    match spec.holder_identity.clone().filter(|holder| !holder.is_empty()) {
        Some(holder) => {
            // Another one is a change; which of two is later says nothing.
            let renewed = spec.renew_time.as_ref().map(|time| time.0.to_string());
            Sight::Held { holder, term, renewed: renewed.unwrap_or_default() }
        }
        None => Sight::Free { term },
    }
}

fn term(lease: &Lease) -> i32 {
    lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0)
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

async fn ask<T>(request: impl Future<Output = kube::Result<T>>) -> Option<kube::Result<T>> {
    tokio::time::timeout(DEADLINE, request).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn who_is_not_told_its_name_does_not_stand() {
        let of = |pairs: &[(&str, &str)]| {
            candidate(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
        };
        assert_eq!(of(&[(NAMESPACE, ""), (NAME, "one")]), None);
        assert_eq!(of(&[(NAMESPACE, "ours")]), None);
        let named = Candidate { namespace: "ours".to_owned(), name: "one".to_owned() };
        assert_eq!(of(&[(NAMESPACE, "ours"), (NAME, "one")]), Some(named));
    }

    #[test]
    fn a_lease_is_read_without_trusting_its_clock() {
        let told = [
            r#"{}"#,
            r#"{"holderIdentity": "", "leaseTransitions": 3}"#,
            r#"{"holderIdentity": "one", "renewTime": "2026-01-02T03:04:05.000006Z"}"#,
        ]
        .map(|spec| format!("{:?}", sight(Some(&serde_json::from_str(spec).unwrap()))));
        expect![[r#"
            Free { term: 0 }
            Free { term: 3 }
            Held { holder: "one", term: 0, renewed: "2026-01-02T03:04:05.000006Z" }"#]]
        .assert_eq(&told.join("\n"));
    }
}
