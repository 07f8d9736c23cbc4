//! TLS to Redis: whom to trust, and the handshake over a shard's stream.

use std::{io, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use shards::{PollStream, blocking};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::shared::location::TlsTrust;

/// Shakes hands as the client of `host`.
///
/// The roots are read anew each time, off the shard: connections are rare, and a CA that was
/// replaced works at once.
///
/// # Errors
///
/// What is wrong with the roots or the host's name, or what the handshake met.
pub(super) async fn connect(
    trust: &TlsTrust,
    host: &str,
    stream: PollStream,
) -> Result<TlsStream<PollStream>, String> {
    let trust = trust.clone();
    let config = blocking::run(move || client_config(&trust)).await;
    let config = config.map_err(|refused| refused.to_string())??;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    shaken.map_err(|error: io::Error| format!("TLS: {error}"))
}

fn client_config(trust: &TlsTrust) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots(trust)?).with_no_client_auth())
}

fn roots(trust: &TlsTrust) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match trust {
        TlsTrust::System => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        TlsTrust::File(path) => {
            let fail = |error: String| format!("CA file {}: {error}", path.display());
            let found = CertificateDer::pem_file_iter(path).map_err(|e| fail(e.to_string()))?;
            for certificate in found {
                let certificate = certificate.map_err(|error| fail(error.to_string()))?;
                roots.add(certificate).map_err(|error| fail(error.to_string()))?;
            }
        }
    }
    match roots.is_empty() {
        false => Ok(roots),
        true => Err("TLS: no root certificate was found; name a PEM file by ssl_ca_certs".into()),
    }
}
