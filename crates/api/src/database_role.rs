//! The `DatabaseRole` manifest: a role of PostgreSQL, kept in an object of its own.
//!
//! Never holds a password.

use crate::cluster::defaults::{int64, yes};
use crate::cluster::managed::Ensure;
use crate::cluster::references::LocalObjectReference as SecretReference;
use crate::database::ReclaimPolicy;
use crate::kind::{AGE, Column, Kind, Rule, Scope, Source, Subresources, kind};
use k8s_openapi::api::core::v1::LocalObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A role of PostgreSQL. It is applied whenever this object or its Secret changes; what is changed
/// by SQL in between stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseRole {
    /// Always `postgresql.cnpg.io/v1`.
    pub api_version: String,
    /// Always `DatabaseRole`.
    pub kind: String,
    /// Name, labels and annotations.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: DatabaseRoleSpec,
    /// What was applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<DatabaseRoleStatus>,
}

kind!(DatabaseRole, "databaseroles", NamespaceResourceScope);

impl Kind for DatabaseRole {
    const SINGULAR: &'static str = "databaserole";
    const SCOPE: Scope = Scope::Namespaced;
    const SUBRESOURCES: Subresources = Subresources::Status;
    const COLUMNS: &'static [Column] = &[
        AGE,
        Column::new("Cluster", "string", ".spec.cluster.name"),
        Column::new("PG Name", "string", ".spec.name"),
        Column::new("Applied", "boolean", ".status.applied"),
        Column::new("Message", "string", ".status.message"),
    ];
    const RULES: &'static [Rule] = RULES;
}

/// What a role shall be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseRoleSpec {
    /// The cluster that has it, in the same namespace. It cannot be changed.
    pub cluster: LocalObjectReference,
    /// The role's name in PostgreSQL. It cannot be changed.
    pub name: String,
    /// Only `present` is accepted: delete the object to drop the role. Default: `present`.
    #[serde(default)]
    pub ensure: Ensure,
    /// What happens to the role when this object is deleted. Default: `retain`.
    #[serde(default)]
    pub database_role_reclaim_policy: ReclaimPolicy,
    /// A certificate to log in with; none is made when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
    /// The role's description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// A Secret with `username` and `password`. The password is left alone when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretReference>,
    /// Set the password to NULL. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_password: Option<bool>,
    /// May log in. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<bool>,
    /// Is superuser. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superuser: Option<bool>,
    /// May create databases. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub createdb: Option<bool>,
    /// May create roles. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub createrole: Option<bool>,
    /// Has the privileges of the roles it is a member of. Default: true.
    #[serde(default = "yes")]
    pub inherit: bool,
    /// May replicate. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication: Option<bool>,
    /// Is not bound by row-level security. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bypassrls: Option<bool>,
    /// How many connections it may have; -1 for no limit. Default: -1.
    #[serde(default = "int64::<-1>")]
    pub connection_limit: i64,
    /// Until when the password is valid; for ever when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Time>,
    /// The roles it is a member of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_roles: Vec<String>,
}

/// A certificate that a role can log in with, kept in the Secret `NAME-client-cert`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificate {
    /// Make the certificate. Default: true.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// What was applied to PostgreSQL.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct DatabaseRoleStatus {
    /// Whether PostgreSQL is as the specification says; absent before the first try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<bool>,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The generation of the specification that was applied last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The version of the Secret whose password was set last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_resource_version: Option<String>,
    /// The certificate that was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificateStatus>,
    /// What is true of the role.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A certificate that was made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ClientCertificateStatus {
    /// Until when it is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration: Option<String>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

const RULES: &[Rule] = &[
    Rule {
        name: "database-role-cluster-stays",
        at: "spec.cluster",
        rule: "self == oldSelf",
        message: "cluster cannot be changed: make a new object for another one",
        source: Source::Published,
    },
    Rule {
        name: "database-role-name-stays",
        at: "spec",
        rule: "self.name == oldSelf.name",
        message: "name cannot be changed: make a new object for another role",
        source: Source::Published,
    },
    Rule {
        name: "database-role-is-present",
        at: "spec",
        rule: "!has(self.ensure) || self.ensure != 'absent'",
        message: "ensure absent is not possible here: delete this object, with databaseRoleReclaimPolicy: delete",
        source: Source::Published,
    },
    Rule {
        name: "database-role-is-not-postgres",
        at: "spec",
        rule: "self.name != 'postgres'",
        message: "role postgres belongs to the cluster: use enableSuperuserAccess and superuserSecret of the Cluster",
        source: Source::Published,
    },
    Rule {
        name: "database-role-is-not-streaming-replica",
        at: "spec",
        rule: "self.name != 'streaming_replica'",
        message: "role streaming_replica belongs to the cluster: use another name",
        source: Source::Published,
    },
    Rule {
        name: "database-role-is-not-of-postgresql",
        at: "spec",
        rule: "!self.name.startsWith('pg_')",
        message: "names that begin with pg_ belong to PostgreSQL: use another name",
        source: Source::Published,
    },
    Rule {
        name: "database-role-is-not-of-the-operator",
        at: "spec",
        rule: "!self.name.startsWith('cnpg_')",
        message: "names that begin with cnpg_ belong to the operator: use another name",
        source: Source::Published,
    },
    Rule {
        name: "database-role-has-a-name",
        at: "spec",
        rule: "self.name.size() != 0",
        message: "name is empty: write the name of the role",
        source: Source::Published,
    },
    Rule {
        name: "database-role-password-or-none",
        at: "spec",
        rule: "!has(self.passwordSecret) || !has(self.disablePassword) || !self.disablePassword",
        message: "passwordSecret and disablePassword are both set, but only one of them can be meant: remove one",
        source: Source::Published,
    },
    Rule {
        name: "database-role-certificate-needs-login",
        at: "spec",
        rule: "!has(self.clientCertificate) || !self.clientCertificate.enabled || (has(self.login) && self.login)",
        message: "a certificate is of no use to a role that cannot log in: write login: true or remove clientCertificate",
        source: Source::Published,
    },
];
