//! Programs from npm and PyPI that the tests run, installed by tests/tools/install.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, OnceLock};

/// Where the installed tools are.
pub struct Tools {
    /// The folder with `bin/node` and `node_modules`.
    pub node: PathBuf,
    /// The virtual environment with `bin/python`.
    pub python: PathBuf,
}

/// The repository's `tests` folder.
pub fn tests_folder() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        // Tests run in the folder of their package.
        std::env::current_dir().expect("a folder").join("tests")
    });
    &FOLDER
}

/// Gives the tools, installing them when the lock files changed since the last time.
pub fn tools() -> &'static Tools {
    static TOOLS: OnceLock<Tools> = OnceLock::new();
    TOOLS.get_or_init(|| {
        let output = Command::new(tests_folder().join("tools/install"))
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .expect("tests/tools/install starts");
        assert!(output.status.success(), "tests/tools/install failed; see above");
        let text = String::from_utf8(output.stdout).expect("paths are UTF-8");
        let mut lines = text.lines().map(PathBuf::from);
        let mut next = || lines.next().expect("tests/tools/install prints two paths");
        Tools { node: next(), python: next() }
    })
}

/// The program that is the official Rust client (tests/clients/rmcp), built when it changed since the
/// last time.
pub fn rmcp_client() -> &'static Path {
    static CLIENT: OnceLock<PathBuf> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rmcp");
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--manifest-path"])
            .arg(tests_folder().join("clients/rmcp/Cargo.toml"))
            .env("CARGO_TARGET_DIR", &target)
            .status()
            .expect("cargo starts");
        assert!(status.success(), "tests/clients/rmcp cannot be built; see above");
        target.join("debug/rmcp-client")
    })
}

impl Tools {
    /// A command that runs `script`, a path below tests/, with Python.
    pub fn python(&self, script: &str) -> Command {
        let mut command = Command::new(self.python.join("bin/python"));
        command.arg("-u").arg(tests_folder().join(script)).stdin(Stdio::null());
        command
    }

    /// A command that runs `script`, a path below tests/ or an absolute one, with Node.
    pub fn node(&self, script: impl AsRef<Path>) -> Command {
        let mut command = Command::new(self.node.join("bin/node"));
        command.arg(tests_folder().join(script)).env("RINGWAY_TEST_NODE", &self.node);
        command.stdin(Stdio::null());
        command
    }

    /// The file of a package's program below `node_modules`.
    pub fn package_file(&self, file: &str) -> PathBuf {
        self.node.join("node_modules").join(file)
    }

    /// The command line that starts npm's everything server on `transport`.
    pub fn everything(&self, transport: &str) -> String {
        let node = self.node.join("bin/node");
        let script = self.package_file("@modelcontextprotocol/server-everything/dist/index.js");
        format!("{} {} {transport}", node.display(), script.display())
    }
}
