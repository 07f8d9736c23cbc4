//! The real ContextForge as a process, for the recording.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::eventually;
use crate::harness::port::Port;
use crate::harness::wire::{Wire, request};

/// It makes its tables and imports much before it listens.
const START_MAX: Duration = Duration::from_secs(180);

/// It refuses to start with secrets that look weak.
pub const SECRET: &str = "kS8v2mQ9xT4nW7pL3rZ6yB1dF5hJ0cA8gE2uN4iO7sV9wX";

/// A running ContextForge with an empty database; killed when dropped.
pub struct ContextForge {
    child: Child,
    pub port: Port,
    pub token: String,
    _data: TempDir,
}

impl ContextForge {
    /// Starts it from a virtual environment in which it is installed.
    pub fn start(environment: &Path) -> Self {
        let data = TempDir::new().expect("a temporary folder");
        let port = Port::take();
        let token = token(environment, data.path());
        let mut command = command(environment, "mcpgateway", data.path());
        let number = port.number.to_string();
        command.args(["mcpgateway.main:app", "--host", "127.0.0.1", "--port", &number]);
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ContextForge starts");
        let started = Self { child, port, token, _data: data };
        eventually("ContextForge is ready", START_MAX, || {
            let mut wire = Wire::try_connect(started.port.number).ok()?;
            let answer = wire.send(request("GET", "/ready", &[], b"")).try_answer()?;
            (answer.status == 200).then_some(())
        });
        started
    }
}

impl Drop for ContextForge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An administrator's token, made as its users make one.
fn token(environment: &Path, data: &Path) -> String {
    let mut command = command(environment, "python", data);
    command.args(["-m", "mcpgateway.utils.create_jwt_token", "--username", "admin@example.com"]);
    command.args(["--admin", "--exp", "60", "--secret", SECRET]);
    let output = command.output().expect("Python starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().expect("a token is printed");
    assert!(line.starts_with("eyJ"), "no token: {}", String::from_utf8_lossy(&output.stderr));
    line.trim().to_owned()
}

fn command(environment: &Path, program: &str, data: &Path) -> Command {
    let mut command = Command::new(environment.join("bin").join(program));
    command.current_dir(data).env_clear().env("PATH", std::env::var("PATH").unwrap_or_default());
    command.envs([
        ("DATABASE_URL", "sqlite:///./mcp.db"),
        ("CACHE_TYPE", "memory"),
        ("JWT_SECRET_KEY", SECRET),
        ("AUTH_ENCRYPTION_SECRET", SECRET),
        ("PLATFORM_ADMIN_EMAIL", "admin@example.com"),
        ("PLATFORM_ADMIN_PASSWORD", SECRET),
        ("DEFAULT_USER_PASSWORD", SECRET),
        ("BASIC_AUTH_PASSWORD", SECRET),
        ("PASSWORD_CHANGE_ENFORCEMENT_ENABLED", "false"),
        ("SSRF_ALLOW_LOCALHOST", "true"),
        ("SSRF_ALLOW_PRIVATE_NETWORKS", "true"),
        ("RATE_LIMITING_ENABLED", "false"),
        ("MCPGATEWAY_ADMIN_API_ENABLED", "true"),
        // Its errors, as they are documented; by default this release hides what is wrong.
        ("EXPOSE_ERROR_DETAILS", "true"),
        ("ROOT_ALLOW_FILE_SCHEME", "true"),
        ("ROOT_ALLOWED_FILE_PREFIXES", r#"["/srv", "/nowhere", "/imported"]"#),
        ("HEALTH_CHECK_INTERVAL", "86400"),
        // So that what was counted is seen at once.
        ("METRICS_BUFFER_ENABLED", "false"),
        ("LOG_LEVEL", "ERROR"),
    ]);
    command.stdin(Stdio::null());
    command
}
