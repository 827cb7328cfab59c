//! Opens a destination with the credentials that belong to it.
//!
//! Never asks the environment, and never sends a secret over a connection that is not encrypted
//! unless the endpoint says `http://` itself.

use super::encrypted::Encrypted;
use super::folder::Root;
use super::{Kind, Patience, Store, StoreError, Trouble};
use crate::credentials::{self, Addressing, Azure, Credentials, Google, S3Encryption, S3Identity};
use crate::destination::{Destination, Endpoint, Place, Prefix};
use crate::encryption::Keyring;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::{BackoffConfig, Certificate, ClientOptions, ObjectStore, RetryConfig};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Below what load balancers usually allow, so that we never send into a closed connection.
const IDLE: Duration = Duration::from_secs(20);
const IDLE_CONNECTIONS: usize = 16;

impl Store {
    /// Does not connect yet: whether somebody is there shows with the first request.
    pub fn open(
        destination: &Destination,
        credentials: &Credentials,
        patience: Patience,
    ) -> Result<Self, StoreError> {
        let place = destination.place.to_string();
        let failed = |source| StoreError::Open { place: place.clone(), source };
        let objects = objects(destination, credentials, patience).map_err(failed)?;
        let kind = match &destination.place {
            Place::Folder(folder) => {
                let root = Root::look(folder);
                Kind::Folder(root.map_err(|error| failed(Trouble::of_file(&error)))?)
            }
            Place::S3 { .. } => Kind::S3,
            Place::Azure { .. } | Place::Google { .. } => Kind::OtherServer,
        };
        let exclusive = Arc::new(OnceLock::new());
        Ok(Self { objects, place: place.into(), patience, exclusive, kind, encrypted: None })
    }

    /// The same with everything encrypted that is written, and nothing read that is not. Objects are
    /// bound to their keys below the prefix, so that a repository may be moved as a whole.
    pub fn encrypted(self, keys: Keyring, prefix: &Prefix) -> Self {
        Self { encrypted: Some(Arc::new(Encrypted::with(keys, prefix))), ..self }
    }
}

fn objects(
    destination: &Destination,
    credentials: &Credentials,
    patience: Patience,
) -> Result<Arc<dyn ObjectStore>, Trouble> {
    let endpoint = destination.endpoint.as_ref();
    let client = client(endpoint, patience)?;
    match (&destination.place, credentials) {
        (Place::S3 { bucket }, Credentials::S3(s3_as)) => {
            s3(bucket, s3_as, endpoint, client, retry(patience))
        }
        (Place::Azure { account, container }, Credentials::Azure(identity)) => {
            let builder = MicrosoftAzureBuilder::new()
                .with_account(account)
                .with_container_name(container)
                .with_client_options(client)
                .with_retry(retry(patience));
            azure(builder, identity, endpoint)
        }
        (Place::Google { bucket }, Credentials::Google(identity)) => {
            let builder = GoogleCloudStorageBuilder::new()
                .with_bucket_name(bucket)
                .with_client_options(client)
                .with_retry(retry(patience));
            google(builder, identity, endpoint)
        }
        (Place::Folder(folder), Credentials::Folder) => opened_folder(folder),
        (
            Place::S3 { .. } | Place::Azure { .. } | Place::Google { .. } | Place::Folder(_),
            Credentials::S3(_)
            | Credentials::Azure(_)
            | Credentials::Google(_)
            | Credentials::Folder,
        ) => Err(Trouble::OtherCredentials),
    }
}

fn client(endpoint: Option<&Endpoint>, patience: Patience) -> Result<ClientOptions, Trouble> {
    let is_plain = endpoint.is_some_and(|endpoint| !endpoint.url.is_encrypted());
    let mut client = ClientOptions::new()
        .with_allow_http(is_plain)
        .with_connect_timeout(patience.connect)
        .with_timeout(patience.request)
        .with_pool_idle_timeout(IDLE)
        .with_pool_max_idle_per_host(IDLE_CONNECTIONS);
    if let Some(pem) = endpoint.and_then(|endpoint| endpoint.authorities.as_deref()) {
        let unreadable = |error: object_store::Error| Trouble::Authorities(error.to_string());
        let certificates = Certificate::from_pem_bundle(pem).map_err(unreadable)?;
        if certificates.is_empty() {
            return Err(Trouble::Authorities("it holds no certificate".to_owned()));
        }
        for certificate in certificates {
            client = client.with_root_certificate(certificate);
        }
    }
    Ok(client)
}

fn retry(patience: Patience) -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(10),
        base: 2.0,
    };
    RetryConfig { backoff, max_retries: patience.retries, retry_timeout: patience.give_up }
}

fn s3(
    bucket: &str,
    s3_as: &credentials::S3,
    endpoint: Option<&Endpoint>,
    client: ClientOptions,
    retry: RetryConfig,
) -> Result<Arc<dyn ObjectStore>, Trouble> {
    // Hashing every byte for a signature costs more than compressing it. The encrypted connection
    // keeps it whole; without one the signature has to.
    let is_encrypted = endpoint.is_none_or(|endpoint| endpoint.url.is_encrypted());
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(s3_as.region.as_deref().unwrap_or("us-east-1"))
        .with_client_options(client)
        .with_retry(retry)
        .with_unsigned_payload(is_encrypted);
    let in_host = match (s3_as.addressing, endpoint) {
        // A certificate for all buckets does not cover a name with dots.
        (Addressing::Automatic, None) => !bucket.contains('.'),
        (Addressing::Automatic | Addressing::Path, _) => false,
        (Addressing::Host, _) => true,
    };
    builder = builder.with_virtual_hosted_style_request(in_host);
    if let Some(Endpoint { url, .. }) = endpoint {
        let url = url.as_str();
        let whole =
            if in_host { url.replacen("://", &format!("://{bucket}."), 1) } else { url.into() };
        builder = builder.with_endpoint(whole);
    }
    if let Some(encryption) = &s3_as.encryption {
        builder = encrypted(builder, encryption).map_err(|error| Trouble::of(&error))?;
    }
    let built = identified(builder, &s3_as.identity).build();
    Ok(Arc::new(built.map_err(|error| Trouble::of(&error))?))
}

fn encrypted(
    builder: AmazonS3Builder,
    encryption: &S3Encryption,
) -> object_store::Result<AmazonS3Builder> {
    // The crate exports no name for these settings, only their texts.
    let method: AmazonS3ConfigKey = "aws_server_side_encryption".parse()?;
    let key_id: AmazonS3ConfigKey = "aws_sse_kms_key_id".parse()?;
    Ok(match encryption {
        S3Encryption::Store => builder.with_config(method, "AES256"),
        S3Encryption::Kms { key: None } => builder.with_config(method, "aws:kms"),
        S3Encryption::Kms { key: Some(key) } => {
            builder.with_config(method, "aws:kms").with_config(key_id, key)
        }
    })
}

fn identified(builder: AmazonS3Builder, identity: &S3Identity) -> AmazonS3Builder {
    match identity {
        S3Identity::Keys { access_key, secret_key, session_token } => {
            let builder = builder
                .with_access_key_id(access_key.expose())
                .with_secret_access_key(secret_key.expose());
            match session_token {
                Some(token) => builder.with_token(token.expose()),
                None => builder,
            }
        }
        S3Identity::WebIdentity { role_arn, token_file, sts_endpoint } => {
            let builder = builder
                .with_config(AmazonS3ConfigKey::RoleArn, role_arn)
                .with_config(AmazonS3ConfigKey::WebIdentityTokenFile, text(token_file))
                .with_config(AmazonS3ConfigKey::RoleSessionName, "pgherd");
            match sts_endpoint {
                Some(sts) => builder.with_config(AmazonS3ConfigKey::StsEndpoint, sts),
                None => builder,
            }
        }
        S3Identity::PodIdentity { address, token_file } => builder
            .with_config(AmazonS3ConfigKey::ContainerCredentialsFullUri, address)
            .with_config(AmazonS3ConfigKey::ContainerAuthorizationTokenFile, text(token_file)),
        S3Identity::Instance => builder,
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn azure(
    builder: MicrosoftAzureBuilder,
    identity: &Azure,
    endpoint: Option<&Endpoint>,
) -> Result<Arc<dyn ObjectStore>, Trouble> {
    let builder = match endpoint {
        Some(endpoint) => builder.with_endpoint(endpoint.url.as_str().to_owned()),
        None => builder,
    };
    let builder = match identity {
        Azure::AccountKey(key) => builder.with_access_key(key.expose()),
        Azure::SharedAccess(signature) => {
            let signature = signature.expose().trim_start_matches('?');
            builder.with_config(AzureConfigKey::SasKey, signature)
        }
        Azure::ConnectionString(all) => connection_string(builder, all.expose())?,
        Azure::Workload { client_id, tenant_id, token_file } => {
            let mut builder = builder;
            if let Some(client_id) = client_id {
                builder = builder.with_client_id(client_id);
            }
            if let Some(tenant_id) = tenant_id {
                builder = builder.with_tenant_id(tenant_id);
            }
            if let Some(token_file) = token_file {
                builder = builder.with_federated_token_file(text(token_file));
            }
            builder
        }
    };
    Ok(Arc::new(builder.build().map_err(|error| Trouble::of(&error))?))
}

fn connection_string(
    mut builder: MicrosoftAzureBuilder,
    all: &str,
) -> Result<MicrosoftAzureBuilder, Trouble> {
    let mut is_identified = false;
    for part in all.split(';').filter(|part| !part.trim().is_empty()) {
        // A key ends with equals signs of its own.
        let (name, value) = part.split_once('=').ok_or(Trouble::ConnectionString)?;
        match name.trim() {
            "AccountKey" => builder = builder.with_access_key(value),
            "SharedAccessSignature" => {
                builder =
                    builder.with_config(AzureConfigKey::SasKey, value.trim_start_matches('?'));
            }
            "BlobEndpoint" => builder = builder.with_endpoint(value.to_owned()),
            _ => continue,
        }
        is_identified |= name.trim() != "BlobEndpoint";
    }
    if is_identified { Ok(builder) } else { Err(Trouble::ConnectionString) }
}

fn google(
    builder: GoogleCloudStorageBuilder,
    identity: &Google,
    endpoint: Option<&Endpoint>,
) -> Result<Arc<dyn ObjectStore>, Trouble> {
    let builder = match endpoint {
        Some(endpoint) => builder.with_base_url(endpoint.url.as_str()),
        None => builder,
    };
    let builder = match identity {
        Google::ServiceAccount(document) => builder.with_service_account_key(document.expose()),
        Google::Workload => builder,
    };
    Ok(Arc::new(builder.build().map_err(|error| Trouble::of(&error))?))
}

/// A folder that is not there is not made: it may be a disk that is not mounted.
fn opened_folder(folder: &Path) -> Result<Arc<dyn ObjectStore>, Trouble> {
    if !folder.is_dir() {
        return Err(Trouble::NoFolder);
    }
    let opened = LocalFileSystem::new_with_prefix(folder).map_err(|error| Trouble::of(&error))?;
    // A folder of each segment that was streamed would stay behind, and be listed for ever.
    Ok(Arc::new(opened.with_fsync(true).with_automatic_cleanup(true)))
}
