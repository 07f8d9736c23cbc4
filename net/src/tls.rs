//! TLS by rustls: what we show as a server, whom we trust as a client.

use std::{fmt, io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use shards::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::connection::Connection;

/// Why TLS could not be set up; names the file or the step.
#[derive(Debug)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

/// What clients show of themselves.
#[derive(Clone, Copy, Debug)]
pub struct ClientAuth<'a> {
    /// The certificates, in PEM, of those who sign for clients.
    pub authorities: &'a Path,
    /// No connection comes about without a certificate.
    pub required: bool,
}

/// Accepts TLS on incoming connections. Cheap to clone, shared by all shards.
#[derive(Clone)]
pub struct Acceptor(TlsAcceptor);

impl Acceptor {
    /// Reads the certificate chain and the private key, both PEM. With `clients`, asks clients for
    /// a certificate of their own; one that the authorities did not sign ends the handshake.
    ///
    /// # Errors
    ///
    /// [`TlsError`] naming the file that cannot be read or the pair that does not fit.
    pub fn from_files(
        certificates: &Path,
        key: &Path,
        clients: Option<ClientAuth<'_>>,
    ) -> Result<Acceptor, TlsError> {
        let chain = read_certificates(certificates)?;
        let key_der = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| TlsError(format!("private key {}: {error}", key.display())))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError(error.to_string()))?
            .with_client_cert_verifier(client_verifier(clients)?)
            .with_single_cert(chain, key_der)
            .map_err(|error| {
                let (certificates, key) = (certificates.display(), key.display());
                TlsError(format!("certificate {certificates} with key {key}: {error}"))
            })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Acceptor(TlsAcceptor::from(Arc::new(config))))
    }

    /// Shakes hands as the server. Bound it by the connection's watch.
    ///
    /// # Errors
    ///
    /// What rustls or the socket answered.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Connection> {
        let stream = self.0.accept(stream.into_poll()?).await?;
        Ok(Connection::TlsServer(Box::new(stream)))
    }
}

/// Opens TLS to upstreams. Cheap to clone.
#[derive(Clone)]
pub struct Connector(TlsConnector);

impl Connector {
    /// Trusts the system's roots.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the system has none.
    pub fn system() -> Result<Connector, TlsError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            return Err(TlsError(
                "this system has no root certificates; install its ca-certificates package, or \
                 give the upstream a ca_certificate"
                    .to_owned(),
            ));
        }
        Connector::new(roots)
    }

    /// Trusts the certificates in `pem` and nothing else.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if `pem` holds no certificate.
    pub fn with_roots(pem: &str) -> Result<Connector, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate =
                certificate.map_err(|error| TlsError(format!("CA certificate: {error}")))?;
            let added = roots.add(certificate);
            added.map_err(|error| TlsError(format!("CA certificate: {error}")))?;
        }
        if roots.is_empty() {
            return Err(TlsError("the CA certificate holds no PEM certificate".to_owned()));
        }
        Connector::new(roots)
    }

    fn new(roots: RootCertStore) -> Result<Connector, TlsError> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Connector(TlsConnector::from(Arc::new(config))))
    }

    /// Shakes hands as the client of `host`. Bound it by the connection's watch.
    ///
    /// # Errors
    ///
    /// What rustls or the socket answered; an invalid host name.
    pub async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<Connection> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = self.0.connect(name, stream.into_poll()?).await?;
        Ok(Connection::TlsClient(Box::new(stream)))
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn client_verifier(
    clients: Option<ClientAuth<'_>>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let Some(ClientAuth { authorities, required }) = clients else {
        return Ok(WebPkiClientVerifier::no_client_auth());
    };
    let fail = |error: String| TlsError(format!("authority {}: {error}", authorities.display()));
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(authorities)? {
        roots.add(certificate).map_err(|error| fail(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = if required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| fail(error.to_string()))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fail = |error: String| TlsError(format!("certificate {}: {error}", path.display()));
    let chain = CertificateDer::pem_file_iter(path)
        .map_err(|error| fail(error.to_string()))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| fail(error.to_string()))?;
    if chain.is_empty() {
        return Err(fail("the file holds no PEM certificate".to_owned()));
    }
    Ok(chain)
}
