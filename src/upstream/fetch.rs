//! Single requests to what is no upstream: documents that an administrator names, and the issuers
//! of tokens.

use std::{fmt::Write, sync::Arc, time::Duration};

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

/// How long reading a document may take in all.
const WITHIN: Duration = Duration::from_secs(30);

/// A single request.
pub struct Inquiry<'a> {
    /// Where to.
    pub url: &'a str,
    /// The header `Accept`.
    pub accept: &'a str,
    /// The header `Authorization`, which is kept out of every failure.
    pub authorization: Option<&'a str>,
    /// A form to send; without one it is a GET.
    pub form: Option<&'a str>,
    /// The largest answer, in bytes.
    pub size_max: usize,
    /// How long it may take in all.
    pub within: Duration,
}

impl<'a> Inquiry<'a> {
    /// A GET of JSON.
    pub fn get(url: &'a str, size_max: usize, within: Duration) -> Inquiry<'a> {
        let accept = "application/json";
        Inquiry { url, accept, authorization: None, form: None, size_max, within }
    }

    fn write(&self, out: &mut Vec<u8>, path: &str, lines: &[u8]) {
        let method = if self.form.is_some() { "POST" } else { "GET" };
        encode::begin_request(out, method, path);
        out.extend_from_slice(lines);
        encode::header(out, "accept", self.accept.as_bytes());
        if let Some(authorization) = self.authorization {
            encode::header(out, "authorization", authorization.as_bytes());
        }
        let Some(form) = self.form else { return encode::end(out) };
        let mut size = String::new();
        let _ = write!(size, "{}", form.len());
        encode::lines(out, "content-type: application/x-www-form-urlencoded\r\n");
        encode::header(out, "content-length", size.as_bytes());
        encode::end(out);
        out.extend_from_slice(form.as_bytes());
    }
}

impl Upstreams {
    /// Reads what lies at `url`, by the rules that hold for upstreams: their addresses, their TLS,
    /// redirects within their origin, their limits.
    ///
    /// # Errors
    ///
    /// An upstream failure that names the host and not the URL, which may hold a secret. A status
    /// other than 200 is one too.
    pub async fn fetch(&self, url: &str) -> Result<Vec<u8>, Failure> {
        let accept = "application/json, application/yaml, */*;q=0.5";
        let size_max = self.limits.answer_size_max;
        let (status, body) =
            self.inquire(&Inquiry { accept, ..Inquiry::get(url, size_max, WITHIN) }).await?;
        let refused = |status| {
            let detail = format!("it answers with status {status}");
            Failure::upstream(host_of(url), UpstreamKind::Status(status), detail, false)
        };
        if status == 200 { Ok(body) } else { Err(refused(status)) }
    }

    /// Sends a single request, by the same rules, and gives status and body of the answer.
    ///
    /// # Errors
    ///
    /// An upstream failure that names the host and not the URL.
    pub async fn inquire(&self, inquiry: &Inquiry<'_>) -> Result<(u16, Vec<u8>), Failure> {
        let wire = self.wire_to(inquiry.url)?;
        let write = |out: &mut Vec<u8>, path: &str| inquiry.write(out, path, wire.lines());
        let method = if inquiry.form.is_some() { Method::Post } else { Method::Get };
        // A code is good once: a form is never sent twice.
        let shipment = Shipment::post(&write, inquiry.form.is_none()).with_method(method);
        let response = wire.ship(shipment, Deadline::after(inquiry.within)).await?;
        let status = response.status();
        let body = response.whole(inquiry.size_max).await.map_err(|error| wire.broken(&error))?;
        let data = body.data().to_vec();
        buffer::give(body.bytes);
        Ok((status, data))
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

fn host_of(url: &str) -> String {
    let parsed = Url::parse(url).ok();
    parsed.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
}
