//! Says what the API server has to know about a kind of object besides its fields.
//!
//! Never holds an object.

use k8s_openapi::Resource;
use schemars::JsonSchema;

/// The API group of the kinds that users know from CloudNativePG.
pub const GROUP: &str = "postgresql.cnpg.io";
/// The version of these.
pub const VERSION: &str = "v1";
/// The API group of the kinds that `CloudNativePG` has not.
pub const OWN_GROUP: &str = "pgherd.dev";
/// The version of these.
pub const OWN_VERSION: &str = "v1alpha1";
/// Both, as objects say it.
pub const OWN_API_VERSION: &str = "pgherd.dev/v1alpha1";

/// A kind of object that users write or read.
pub trait Kind: Resource + JsonSchema {
    /// The kind in lower case, for one object.
    const SINGULAR: &'static str;
    /// What `kubectl` also takes for it.
    const SHORT_NAMES: &'static [&'static str] = &[];
    /// Where its objects live.
    const SCOPE: Scope;
    /// What the API server serves besides the object itself.
    const SUBRESOURCES: Subresources;
    /// What `kubectl get` shows.
    const COLUMNS: &'static [Column];
    /// What the API server refuses beyond the fields' own limits.
    const RULES: &'static [Rule];
}

/// Where objects live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In a namespace.
    Namespaced,
    /// In the whole Kubernetes cluster.
    Cluster,
}

/// What the API server serves besides the object itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subresources {
    /// Nothing.
    None,
    /// The status, which only its owner writes.
    Status,
    /// The status, and the number of instances for `kubectl scale` and autoscalers. `selector` is
    /// where the status says which pods belong to it.
    Scale {
        /// A path such as `.status.selector`.
        selector: Option<&'static str>,
    },
}

/// A column of `kubectl get`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its heading.
    pub name: &'static str,
    /// `string`, `integer`, `boolean` or `date`.
    pub form: &'static str,
    /// Where the value is.
    pub path: &'static str,
    /// When it is shown.
    pub shown: Shown,
}

/// When a column is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Always.
    Always,
    /// With `-o wide`.
    Wide,
}

impl Column {
    /// A column that is always shown.
    pub const fn new(name: &'static str, form: &'static str, path: &'static str) -> Self {
        Self { name, form, path, shown: Shown::Always }
    }
}

/// The age of an object.
pub const AGE: Column = Column::new("Age", "date", ".metadata.creationTimestamp");

/// Something that the API server refuses, written in its expression language (CEL).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// What the rule wants, in a few words joined by hyphens; its examples have the same name.
    pub name: &'static str,
    /// The field it is about, such as `spec.storage`; items of a list are `[]`, entries of a map
    /// `{}`; the whole object when empty.
    pub at: &'static str,
    /// What has to be true of `self`, and of `oldSelf` when something is changed.
    pub rule: &'static str,
    /// What is wrong and how to fix it.
    pub message: &'static str,
    /// Where the rule comes from.
    pub source: Source,
}

/// Where a rule comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It is part of the published shape of the kind.
    Published,
    /// The published kind is checked so by a webhook, which we do without.
    Webhook,
    /// It follows from how our clusters work.
    Ours,
}

/// Makes a type known to Kubernetes' clients as a kind of ours.
macro_rules! kind {
    ($kind:ident, $plural:literal, $scope:ident) => {
        $crate::kind::kind!($kind, $plural, $scope, {
            const API_VERSION: &'static str = $crate::manifest::API_VERSION;
            const GROUP: &'static str = $crate::kind::GROUP;
            const VERSION: &'static str = $crate::kind::VERSION;
        });
    };
    ($kind:ident, $plural:literal, $scope:ident, own) => {
        $crate::kind::kind!($kind, $plural, $scope, {
            const API_VERSION: &'static str = $crate::kind::OWN_API_VERSION;
            const GROUP: &'static str = $crate::kind::OWN_GROUP;
            const VERSION: &'static str = $crate::kind::OWN_VERSION;
        });
    };
    ($kind:ident, $plural:literal, $scope:ident, { $($group:tt)* }) => {
        impl k8s_openapi::Resource for $kind {
            $($group)*
            const KIND: &'static str = stringify!($kind);
            const URL_PATH_SEGMENT: &'static str = $plural;
            type Scope = k8s_openapi::$scope;
        }

        impl k8s_openapi::Metadata for $kind {
            type Ty = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

            fn metadata(&self) -> &Self::Ty {
                &self.metadata
            }

            fn metadata_mut(&mut self) -> &mut Self::Ty {
                &mut self.metadata
            }
        }
    };
}

pub(crate) use kind;
