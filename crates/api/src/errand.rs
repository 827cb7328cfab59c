//! What objects have in common that ask an agent for long work, and tell how it goes.
//!
//! Never says what the work is.

use crate::cluster::backup::BackupTarget;
use crate::kind::Kind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pgherd_core::names::InstanceName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The phase of what is done.
pub const COMPLETED: &str = "completed";
/// The phase of what came to nothing.
pub const FAILED: &str = "failed";

/// A kind whose objects ask for long work of an agent, once.
pub trait Errand: Kind {
    /// How it goes.
    type Status: Told;

    /// The name of the cluster that it is about, in the same namespace.
    fn cluster(&self) -> &str;
    /// How it goes, if anything is known.
    fn told(&self) -> Option<&Self::Status>;
    /// Which instance is to do it; as the cluster says when absent.
    fn target(&self) -> Option<BackupTarget>;
    /// The one instance that is to do it; whoever suits the target when absent.
    fn instance(&self) -> Option<InstanceName> {
        None
    }

    /// What is known of every such work.
    fn going(&self) -> Going {
        self.told().map(Told::going).unwrap_or_default()
    }
}

/// A status that tells of long work.
pub trait Told: Clone + Default + PartialEq + Serialize + Send + Sync {
    /// What every such status tells.
    fn going(&self) -> Going;
    /// The same status, which tells this instead.
    #[must_use]
    fn with(self, going: Going) -> Self;
}

/// How far long work of an agent is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Going {
    /// How far it is: `pending`, `started`, `running`, `completed` or `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Why it failed, or what it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The instance that does it.
    #[serde(rename = "instanceID", skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<InstanceId>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When work on this object began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconciliation_started_at: Option<Time>,
    /// When work on this object ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconciliation_terminated_at: Option<Time>,
}

impl Going {
    /// Whether nothing more will become of it.
    pub fn is_over(&self) -> bool {
        matches!(self.phase.as_deref(), Some(COMPLETED | FAILED))
    }

    /// Who was asked for it.
    pub fn taker(&self) -> Option<InstanceName> {
        InstanceName::parse(self.instance_id.as_ref()?.pod_name.as_ref()?).ok()
    }

    /// Under which name.
    pub fn session(&self) -> Option<&str> {
        self.instance_id.as_ref()?.session_id.as_deref()
    }
}

/// The instance that does long work.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct InstanceId {
    /// The pod's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// The container's id; another one means that the instance was restarted.
    #[serde(rename = "ContainerID", skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// The name under which it was asked for it.
    #[serde(rename = "sessionID", skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
}
