//! A real authorization server on loopback: npm's oidc-provider.

use std::process::Command;

use serde_json::Value;

use super::port::Port;
use super::tools::tools;
use super::upstreams::Served;

/// An authorization server where everybody logs in as one person; killed when dropped.
pub struct Issuer {
    served: Served,
    who: Value,
}

impl Issuer {
    /// Starts one where everybody is `who`.
    pub fn start(who: Value) -> Self {
        let port = Port::take();
        let command = command(port.number, &who);
        Self { served: Served::start(command, port, ""), who }
    }

    /// Its name, which is where it is.
    pub fn name(&self) -> String {
        format!("http://127.0.0.1:{}", self.served.port())
    }

    /// Starts it anew at the same place, with other keys.
    pub fn restart(&mut self) {
        let command = command(self.served.port(), &self.who);
        self.served.restart(command);
    }
}

fn command(port: u16, who: &Value) -> Command {
    let mut command = tools().node("upstreams/issuer.mjs");
    command.arg(port.to_string()).env("WHO", who.to_string());
    command
}
