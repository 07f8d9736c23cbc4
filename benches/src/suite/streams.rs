//! Streams: what an open one costs while nothing happens, how fast all of them hear of something, and
//! what it adds to a call that its progress comes through the gateway.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::measure::median;
use super::{Figure, Results, Settings, Stage, TOOL_COUNT, cases, idle};
use crate::account::CpuReading;
use crate::gateway::{Gateway, open_message};
use crate::upstream::REVISION_MODERN;

/// The memory of a stream of `subscriptions/listen` on which nothing happens.
pub const LISTEN_RSS: &str = "RSS per open listen stream";
/// The memory of a stream of HTTP+SSE on which nothing happens.
pub const SSE_RSS: &str = "RSS per open HTTP+SSE stream";
/// The memory of a WebSocket on which nothing happens.
pub const SOCKET_RSS: &str = "RSS per open WebSocket";
/// From the change of a list until the last stream has heard of it.
const FAN_OUT_TIME: &str = "list_changed until the last stream heard";
/// What it costs the gateway to tell one stream.
const FAN_OUT_COST: &str = "list_changed, CPU per stream";
/// What the gateway adds to a call with ten progress notifications.
const PROGRESS_P50: &str = "tools/call with 10 progress events, added p50";
const PROGRESS_P99: &str = "tools/call with 10 progress events, added p99";

/// How long anything here may take before it counts as broken.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Changes of the list for each figure of the fan-out.
const CHANGE_COUNT: usize = 6;
/// Calls to each side for the figures of progress.
const CALL_COUNT: usize = 2000;

/// What opens each kind of stream, and what it shows once it is open.
const KINDS: [(&str, &str); 3] =
    [(LISTEN_RSS, "acknowledged"), (SSE_RSS, "event: endpoint"), (SOCKET_RSS, "101 ")];

/// Measures everything that is wanted.
///
/// # Errors
///
/// When a stream is refused, or nothing comes by it.
pub fn measure(settings: &Settings, folder: &Path, results: &mut Results) -> io::Result<()> {
    let names = [FAN_OUT_TIME, FAN_OUT_COST, PROGRESS_P50, PROGRESS_P99];
    let is_wanted = KINDS.iter().map(|(name, _)| name).chain(&names).any(|n| settings.wants(n));
    if !is_wanted || settings.idle_count == 0 {
        return Ok(());
    }
    let mut program = settings.program.clone();
    program.set("STREAMS_MAX", settings.idle_count.max(1000).to_string());
    let mut stage = Stage::build_with(settings, &program, folder, TOOL_COUNT)?;
    for (name, shown) in KINDS.into_iter().filter(|(name, _)| settings.wants(name)) {
        eprintln!("{name}");
        stage.gateway = stage.gateway.restart("/health")?.0;
        let pids = stage.gateway.pids()?;
        let before = idle::settled_rss(&pids)?;
        let streams = open_all(&stage.gateway, name, shown, settings.idle_count)?;
        let after = idle::settled_rss(&pids)?;
        let value = after.saturating_sub(before) as f64 / streams.len() as f64 / 1024.0;
        results.figures.push(Figure { name, server: "ringway", value, unit: "KiB" });
    }
    if settings.wants(FAN_OUT_TIME) || settings.wants(FAN_OUT_COST) {
        eprintln!("{FAN_OUT_TIME}");
        fan_out(&stage.gateway, settings.idle_count, results)?;
    }
    if settings.wants(PROGRESS_P50) || settings.wants(PROGRESS_P99) {
        eprintln!("{PROGRESS_P50}");
        progress(&stage, results)?;
    }
    Ok(())
}

/// An open stream.
struct Open {
    stream: TcpStream,
    text: Vec<u8>,
}

impl Open {
    /// Sends a request and reads until `shown` came.
    fn new(target: SocketAddr, request: &[u8], shown: &str) -> io::Result<Open> {
        let mut stream = TcpStream::connect(target)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(WAIT_MAX))?;
        stream.write_all(request)?;
        let mut open = Open { stream, text: Vec::new() };
        open.read_until(shown)?;
        Ok(open)
    }

    /// Reads until `shown` came, and forgets what came.
    fn read_until(&mut self, shown: &str) -> io::Result<()> {
        let mut buffer = [0; 8192];
        while memchr::memmem::find(&self.text, shown.as_bytes()).is_none() {
            let size = self.stream.read(&mut buffer)?;
            if size == 0 {
                let text = String::from_utf8_lossy(&self.text);
                return Err(io::Error::other(format!("the stream ended before {shown}: {text}")));
            }
            self.text.extend_from_slice(&buffer[..size]);
        }
        self.text.clear();
        Ok(())
    }
}

fn open_all(gateway: &Gateway, name: &str, shown: &str, count: usize) -> io::Result<Vec<Open>> {
    let request = match name {
        SSE_RSS => gateway.plain("GET", "/sse"),
        SOCKET_RSS => with_upgrade(&gateway.plain("GET", "/ws")),
        _ => listen(gateway),
    };
    let open = |index: usize| {
        let opened = Open::new(gateway.address(), &request, shown);
        let say = |error| io::Error::other(format!("stream {index} of {count}: {error}"));
        opened.map_err(say)
    };
    (0..count).map(open).collect()
}

/// The request that listens to changes of the list of tools.
fn listen(gateway: &Gateway) -> Vec<u8> {
    let method = "subscriptions/listen";
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"notifications":{{"toolsListChanged":true}},"_meta":{{"io.modelcontextprotocol/protocolVersion":"{REVISION_MODERN}","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
    );
    let fields = [("MCP-Protocol-Version", REVISION_MODERN), ("Mcp-Method", method)];
    gateway.message("/mcp", &fields, &body)
}

/// A GET that asks for a WebSocket (RFC 6455 §4.1; the key is the one of its example).
fn with_upgrade(get: &[u8]) -> Vec<u8> {
    let mut request = get.strip_suffix(b"\r\n").unwrap_or(get).to_vec();
    request.extend_from_slice(
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mcp\r\n\r\n",
    );
    request
}

/// Changes the list of tools while `count` streams listen.
fn fan_out(gateway: &Gateway, count: usize, results: &mut Results) -> io::Result<()> {
    let tools = gateway.get("/tools?limit=1")?;
    let id =
        tools[0]["id"].as_str().ok_or_else(|| io::Error::other(format!("no tool: {tools}")))?;
    let mut streams = open_all(gateway, LISTEN_RSS, "acknowledged", count)?;
    let pids = gateway.pids()?;
    let (mut times_ms, mut costs_us) = (Vec::new(), Vec::new());
    for change in 0..CHANGE_COUNT {
        let path = format!("/tools/{id}/state?activate={}", change % 2 == 1);
        let before = CpuReading::take(&pids)?;
        let started_at = Instant::now();
        gateway.post(&path, &Value::Null, 200)?;
        for stream in &mut streams {
            stream.read_until("notifications/tools/list_changed")?;
        }
        times_ms.push(started_at.elapsed().as_secs_f64() * 1e3);
        let spent = CpuReading::take(&pids)?.since(&before);
        costs_us.push(spent.as_secs_f64() * 1e6 / count as f64);
    }
    let (time, cost) = (median(&mut times_ms), median(&mut costs_us));
    let figures = [(FAN_OUT_TIME, time, "ms"), (FAN_OUT_COST, cost, "µs")];
    let figures =
        figures.map(|(name, value, unit)| Figure { name, server: "ringway", value, unit });
    results.figures.extend(figures);
    Ok(())
}

/// Calls a tool that tells its progress, of the upstream itself and through the gateway, in turns.
fn progress(stage: &Stage, results: &mut Results) -> io::Result<()> {
    let message = |tool: &str| {
        let body = cases::modern_call(tool);
        body.replacen(r#""_meta":{"#, r#""_meta":{"progressToken":7,"#, 1)
    };
    let (own, tool) = (cases::UPSTREAM_TOOL, stage.gateway.first_tool()?);
    let direct =
        open_message(stage.upstream_address, "/mcp", &cases::modern_fields(own), &message(own));
    let through = stage.gateway.message("/mcp", &cases::modern_fields(&tool), &message(&tool));
    let mut direct = Caller::open(stage.upstream_address, direct)?;
    let mut through = Caller::open(stage.gateway.address(), through)?;
    for _ in 0..CALL_COUNT {
        direct.call()?;
        through.call()?;
    }
    let [direct, through] = [direct, through].map(Caller::quantiles);
    for (name, index) in [(PROGRESS_P50, 0), (PROGRESS_P99, 1)] {
        let value = through[index] - direct[index];
        results.figures.push(Figure { name, server: "ringway", value, unit: "µs" });
    }
    Ok(())
}

/// A connection that makes the same call again and again.
struct Caller {
    stream: Open,
    request: Vec<u8>,
    times_us: Vec<f64>,
}

impl Caller {
    fn open(target: SocketAddr, request: Vec<u8>) -> io::Result<Caller> {
        let stream = Open::new(target, &request, END)?;
        Ok(Caller { stream, request, times_us: Vec::with_capacity(CALL_COUNT) })
    }

    fn call(&mut self) -> io::Result<()> {
        let started_at = Instant::now();
        self.stream.stream.write_all(&self.request)?;
        self.stream.read_until(END)?;
        self.times_us.push(started_at.elapsed().as_secs_f64() * 1e6);
        Ok(())
    }

    /// p50 and p99 in µs.
    fn quantiles(mut self) -> [f64; 2] {
        self.times_us.sort_by(f64::total_cmp);
        [50, 99].map(|percent| self.times_us[self.times_us.len() * percent / 100])
    }
}

/// What the last chunk of the answer ends with.
const END: &str = "\r\n0\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{Options, spawn};

    #[test]
    fn the_upstream_tells_its_progress_ten_times() {
        let target = spawn(Options::default()).expect("listens");
        let tool = cases::UPSTREAM_TOOL;
        let body = cases::modern_call(tool);
        let body = body.replacen(r#""_meta":{"#, r#""_meta":{"progressToken":7,"#, 1);
        let request = open_message(target, "/mcp", &cases::modern_fields(tool), &body);
        let mut caller = Caller::open(target, request).expect("is answered");
        caller.call().expect("is answered again");
        caller.stream.stream.write_all(&caller.request).expect("is taken");
        let mut text = Vec::new();
        while !text.ends_with(END.as_bytes()) {
            let mut buffer = [0; 4096];
            let size = caller.stream.stream.read(&mut buffer).expect("is answered");
            text.extend_from_slice(&buffer[..size]);
        }
        let text = String::from_utf8(text).expect("is text");
        assert_eq!(text.matches(r#""progressToken":7"#).count(), 10, "{text}");
        assert_eq!(text.matches(r#""content""#).count(), 1, "{text}");
    }

    #[test]
    fn an_upgrade_has_all_fields_within_one_head() {
        let request = with_upgrade(b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n");
        let text = String::from_utf8(request).expect("is text");
        assert_eq!(text.matches("\r\n\r\n").count(), 1);
        assert!(text.ends_with("\r\n\r\n") && text.contains("\r\nUpgrade: websocket\r\n"));
    }
}
