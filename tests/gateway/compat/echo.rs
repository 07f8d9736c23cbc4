//! A REST API and an A2A agent in one small server, for the tools and agents of the script.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use serde_json::{Map, Value, json};

/// A server on loopback that tells what it was sent. It ends with the process.
pub struct Echo {
    port: u16,
}

impl Echo {
    /// Starts to listen, on a port of the kernel's choice.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port is free");
        let port = listener.local_addr().expect("a listener has an address").port();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || serve(stream));
            }
        });
        Self { port }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// Answers one request and closes. A caller that goes away early is no fault of the server.
fn serve(stream: TcpStream) {
    let Some(request) = read(&stream) else { return };
    let path = request["path"].as_str().unwrap_or_default();
    let status = path.strip_prefix("/status/").and_then(|code| code.parse().ok()).unwrap_or(200);
    let body = if path == "/a2a" { agent_answer(&request["body"]) } else { request };
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} Echo\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = (&stream).write_all((head + &body).as_bytes());
    let _ = stream.shutdown(Shutdown::Both);
}

/// Reads a request into what the answer tells of it; `None` if it is cut.
fn read(stream: &TcpStream) -> Option<Value> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = Map::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().into());
    }
    let size = headers.get("content-length").and_then(Value::as_str).unwrap_or("0");
    let mut body = vec![0; size.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Some(json!({ "method": method, "path": path, "query": query, "body": body }))
}

/// What an agent says to `message/send`.
fn agent_answer(asked: &Value) -> Value {
    let parts = json!([{ "kind": "text", "text": "at your service" }]);
    let message = json!({ "kind": "message", "messageId": "m2", "role": "agent", "parts": parts });
    json!({ "jsonrpc": "2.0", "id": asked["id"], "result": message })
}
