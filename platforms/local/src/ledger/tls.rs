//! Wraps a connection to PostgreSQL in TLS.
//!
//! Never accepts a certificate of another authority, or one for another name.

use super::address::Host;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("reading the certificate of the authority in {path:?}: is it a PEM file?")]
    ReadAuthority { path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("using the certificate of the authority in {path:?}")]
    UseAuthority { path: PathBuf, source: rustls::Error },
    #[error("{path:?} holds no certificate: name the authority's certificate in sslrootcert")]
    NoAuthority { path: PathBuf },
    #[error("setting up TLS")]
    SetUp(#[source] rustls::Error),
    #[error("{host} cannot stand in a certificate")]
    HostName { host: Host, source: InvalidDnsNameError },
}

/// The settings of every connection that trusts the authorities in a file.
pub(super) fn settings(path: &Path) -> Result<Arc<ClientConfig>, TlsError> {
    let reading = |source| TlsError::ReadAuthority { path: path.to_owned(), source };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(reading)? {
        let using = |source| TlsError::UseAuthority { path: path.to_owned(), source };
        roots.add(certificate.map_err(reading)?).map_err(using)?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoAuthority { path: path.to_owned() });
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(TlsError::SetUp)?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// Makes one TLS connection to one host.
pub(super) struct Handshake {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Handshake {
    pub(super) fn with(settings: &Arc<ClientConfig>, host: &Host) -> Result<Self, TlsError> {
        let name = ServerName::try_from(host.name.clone())
            .map_err(|source| TlsError::HostName { host: host.clone(), source })?;
        Ok(Self { connector: TlsConnector::from(Arc::clone(settings)), name })
    }
}

impl TlsConnect<TcpStream> for Handshake {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        Box::pin(async move {
            let stream = self.connector.connect(self.name, stream).await?;
            Ok(Encrypted(Box::new(stream)))
        })
    }
}

/// A connection inside TLS.
pub(super) struct Encrypted(Box<tokio_rustls::client::TlsStream<TcpStream>>);

impl TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        // The host's name was verified; binding adds nothing against our own authority.
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(context)
    }
}
