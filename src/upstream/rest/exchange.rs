//! A request to a REST service and its answer, with the redirects and repetitions between them.

use std::{borrow::Cow, time::Duration};

use net::{
    client::{Deadline, Response},
    http1::Method,
};
use shards::time;
use url::Url;

use super::{
    Request, Trouble,
    answer::{Answer, Kind},
};
use crate::{
    catalog::rest_tool::RestTool,
    failure::{Failure, UpstreamFailure, UpstreamKind},
    limits::REST_REDIRECT_COUNT_MAX,
    upstream::http::wire::{Shipment, Wire, target},
};

/// Most bytes of an HTTP error that are read.
const ERROR_SIZE_MAX: usize = 64 * 1024;

/// When a request is sent again.
#[derive(Clone, Debug)]
pub struct RetryLimits {
    /// How often it is sent at most.
    pub attempt_count_max: usize,
    /// The pause before the second attempt; doubled with each.
    pub delay: Duration,
    /// The longest pause.
    pub delay_max: Duration,
    /// By which part of itself a pause is lengthened at random, at most.
    pub jitter: f64,
}

impl RetryLimits {
    /// The pause after the attempt number `count`, counted from 1. `asked` is how long the service
    /// said to wait.
    fn pause(&self, count: usize, asked: Option<Duration>) -> Duration {
        let doubled = self.delay.saturating_mul(1 << (count - 1).min(20));
        let pause = asked.unwrap_or(Duration::ZERO).max(doubled).min(self.delay_max);
        let chance = f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
        pause.mul_f64(1.0 + self.jitter * chance).min(self.delay_max)
    }
}

/// A request on its way, with all that rules how it goes.
pub(super) struct Exchange<'a> {
    pub(super) wire: &'a Wire,
    pub(super) tool: &'a RestTool,
    pub(super) request: &'a Request,
    pub(super) deadline: Deadline,
    pub(super) size_max: usize,
    pub(super) retry: &'a RetryLimits,
}

/// How an attempt ended.
struct Attempt {
    outcome: Result<Answer, Trouble>,
    /// Another may end otherwise, and does no harm.
    is_worth_another: bool,
    /// How long the service said to wait.
    asked: Option<Duration>,
}

impl Exchange<'_> {
    /// Sends the request, again where that helps and does no harm, and reads the answer whole.
    ///
    /// # Errors
    ///
    /// What the caller is told.
    pub(super) async fn run(&self) -> Result<Answer, Trouble> {
        let mut count = 1;
        loop {
            let attempt = self.attempt().await;
            let pause = self.retry.pause(count, attempt.asked);
            let is_last = count >= self.retry.attempt_count_max || pause >= self.deadline.left();
            if is_last || !attempt.is_worth_another {
                return attempt.outcome;
            }
            time::sleep(pause).await;
            count += 1;
        }
    }

    async fn attempt(&self) -> Attempt {
        let host = &self.tool.url.host;
        let response = match self.follow().await {
            Ok(Ok(response)) => response,
            Ok(Err(told)) => return Attempt::failed(Trouble::Told(told), false),
            Err(failure) => {
                let is_worth_another = self.may_repeat(&failure);
                return Attempt::failed(Trouble::of(host, failure), is_worth_another);
            }
        };
        let status = response.status();
        let is_passing = matches!(status, 408 | 429 | 502 | 503 | 504);
        let asked = retry_after(&response);
        match self.read(response).await {
            Ok(answer) => {
                let is_worth_another = is_passing && self.tool.is_idempotent();
                Attempt { outcome: Ok(answer), is_worth_another, asked }
            }
            Err(failure) => {
                let is_worth_another = self.may_repeat(&failure);
                Attempt::failed(Trouble::of(host, failure), is_worth_another)
            }
        }
    }

    /// Whether a request that failed so may be sent once more: the service cannot have received it,
    /// or executing it twice does no harm.
    fn may_repeat(&self, failure: &Failure) -> bool {
        let Failure::Upstream(UpstreamFailure { kind, may_have_run, .. }) = failure else {
            return false;
        };
        matches!(kind, UpstreamKind::Unreachable | UpstreamKind::Broken)
            && (!may_have_run || self.tool.is_idempotent())
    }

    /// Sends the request, and again to where a redirect within the origin leads. Only GET and HEAD
    /// are redirected: any other method would become another request, or act in another place.
    ///
    /// The inner error is what the caller is told.
    async fn follow(&self) -> Result<Result<Response, String>, Failure> {
        let mut path: Cow<'_, str> = Cow::Borrowed(&self.request.target);
        for _ in 0..=REST_REDIRECT_COUNT_MAX {
            let response = self.send(&path).await?;
            if !matches!(response.status(), 301 | 302 | 303 | 307 | 308) {
                return Ok(Ok(response));
            }
            match self.redirect(&path, &response) {
                Ok(next) => path = Cow::Owned(next),
                Err(told) => return Ok(Err(told)),
            }
        }
        let host = &self.tool.url.host;
        Ok(Err(format!("{host} redirects more than {REST_REDIRECT_COUNT_MAX} times")))
    }

    async fn send(&self, path: &str) -> Result<Response, Failure> {
        let method = self.tool.method_name();
        let write = |out: &mut Vec<u8>, path: &str| {
            self.request.write(out, method, path, self.wire.lines());
        };
        let shipment = Shipment::post(&write, self.tool.is_idempotent());
        self.wire.ship_to(path, &shipment.with_method(self.tool.method), self.deadline).await
    }

    /// Returns the target that a redirect leads to.
    fn redirect(&self, path: &str, response: &Response) -> Result<String, String> {
        let (status, host) = (response.status(), &self.tool.url.host);
        let location = response.header("location").unwrap_or_default();
        let own = self.wire.url();
        let base = own.join(path).unwrap_or_else(|_| own.clone());
        let next = std::str::from_utf8(location).ok().and_then(|text| base.join(text).ok());
        let next: Url = next.ok_or_else(|| format!("{host} redirects ({status}) to nowhere"))?;
        if next.origin() != own.origin() {
            let other = next.host_str().unwrap_or("nowhere");
            let (from, to) = (own.scheme(), next.scheme());
            return Err(format!(
                "{host} redirects ({status}, from {from} to {to}) to another origin, {other}, which \
                 is not followed"
            ));
        }
        if !matches!(self.tool.method, Method::Get | Method::Head) {
            let method = self.tool.method_name();
            return Err(format!("{host} redirects ({status}), which {method} does not follow"));
        }
        Ok(target(&next).as_ref().to_owned())
    }

    async fn read(&self, response: Response) -> Result<Answer, Failure> {
        let status = response.status();
        let kind = Kind::parse(response.header("content-type").unwrap_or_default());
        let coding = response.header("content-encoding").unwrap_or_default();
        let coding = String::from_utf8_lossy(coding).trim().to_ascii_lowercase();
        let is_error = status >= 400;
        let size_max = if is_error { ERROR_SIZE_MAX.min(self.size_max) } else { self.size_max };
        let data = match response.whole(size_max).await {
            Ok(body) => {
                let data = body.data().to_vec();
                shards::buffer::give(body.bytes);
                data
            }
            // The status says enough.
            Err(_) if is_error => Vec::new(),
            Err(error) => return Err(self.wire.broken(&error)),
        };
        Ok(Answer { status, kind, coding, data })
    }
}

impl Attempt {
    fn failed(trouble: Trouble, is_worth_another: bool) -> Attempt {
        Attempt { outcome: Err(trouble), is_worth_another, asked: None }
    }
}

/// How long the service says to wait, in seconds; a date is not read.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = std::str::from_utf8(response.header("retry-after")?).ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}
