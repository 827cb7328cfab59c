//! Says who we are to the one who stores, and how his certificate is known.
//!
//! Never reads the environment or a file: platforms hand in what they were given.

use crate::secret::Secret;
use std::path::PathBuf;

/// One for each kind of [`crate::destination::Destination`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    S3(S3),
    Azure(Azure),
    Google(Google),
    /// The permissions of the process decide.
    Folder,
}

/// How to speak to a store of S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    pub identity: S3Identity,
    /// Without one it is `us-east-1`, which is what others than Amazon expect.
    pub region: Option<String>,
    pub addressing: Addressing,
    pub encryption: Option<S3Encryption>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum S3Identity {
    Keys {
        access_key: Secret,
        secret_key: Secret,
        session_token: Option<Secret>,
    },
    /// A role that is taken on with a token of the cluster we run in.
    WebIdentity {
        role_arn: String,
        token_file: PathBuf,
        sts_endpoint: Option<String>,
    },
    /// Keys that a service on this machine gives out against a token, as on EKS.
    PodIdentity {
        address: String,
        token_file: PathBuf,
    },
    /// The role of the machine.
    Instance,
}

/// Where the name of the bucket stands in an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Addressing {
    /// In the path if there is an endpoint of one's own, otherwise in the host.
    #[default]
    Automatic,
    Path,
    Host,
}

/// What the store encrypts with; the way there is encrypted anyhow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum S3Encryption {
    /// `AES256`.
    Store,
    /// `aws:kms`, with this key or with the bucket's.
    Kms { key: Option<String> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Azure {
    AccountKey(Secret),
    /// A shared access signature, with or without the question mark.
    SharedAccess(Secret),
    /// `DefaultEndpointsProtocol=https;AccountName=..;AccountKey=..`.
    ConnectionString(Secret),
    /// The identity of the pod or of the machine.
    Workload {
        client_id: Option<String>,
        tenant_id: Option<String>,
        token_file: Option<PathBuf>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Google {
    /// The JSON document of a service account.
    ServiceAccount(Secret),
    /// The identity of the machine or of the workload on GKE.
    Workload,
}
