//! Reads of what lies at a URL, once: documents that an administrator names.

use std::{sync::Arc, time::Duration};

use net::{
    client::Deadline,
    http1::{Method, encode},
};
use shards::buffer;
use storage::record::Gateway;
use url::Url;

use super::{
    Upstreams,
    http::wire::{Shipment, Wire},
};
use crate::{
    catalog::Upstream,
    failure::{Failure, UpstreamKind},
};

/// How long it may take in all.
const WITHIN: Duration = Duration::from_secs(30);

impl Upstreams {
    /// Reads what lies at `url`, by the rules that hold for upstreams: their addresses, their TLS,
    /// redirects within their origin, their limits.
    ///
    /// # Errors
    ///
    /// An upstream failure that names the host and not the URL, which may hold a secret. A status
    /// other than 200 is one too.
    pub async fn fetch(&self, url: &str) -> Result<Vec<u8>, Failure> {
        let wire = self.wire_to(url)?;
        let write = |out: &mut Vec<u8>, path: &str| {
            encode::begin_request(out, "GET", path);
            out.extend_from_slice(wire.lines());
            encode::lines(out, "accept: application/json, application/yaml, */*;q=0.5\r\n");
            encode::end(out);
        };
        let shipment = Shipment::post(&write, true).with_method(Method::Get);
        let response = wire.ship(shipment, Deadline::after(WITHIN)).await?;
        let status = response.status();
        if status != 200 {
            let detail = format!("it answers with status {status}");
            return Err(wire.failure(UpstreamKind::Status(status), detail, false));
        }
        let size_max = self.limits.answer_size_max;
        let body = response.whole(size_max).await.map_err(|error| wire.broken(&error))?;
        let data = body.data().to_vec();
        buffer::give(body.bytes);
        Ok(data)
    }

    /// Connections to an origin that is no upstream.
    fn wire_to(&self, url: &str) -> Result<Wire, Failure> {
        let refuse = |detail: &str| {
            Failure::upstream("the URL", UpstreamKind::Refused, detail.to_owned(), false)
        };
        let parsed = Url::parse(url).map_err(|_| refuse("it is no URL"))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(refuse("it is no URL of http or https"));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(refuse("it holds a user or a password"));
        }
        let name = parsed.host_str().unwrap_or_default().to_owned();
        let record = Arc::new(Gateway { name, url: Some(parsed.into()), ..Gateway::default() });
        let upstream = Upstream { record, headers: Vec::new(), environment: Default::default() };
        Wire::new(&upstream, self.setup(&upstream)?)
    }
}
