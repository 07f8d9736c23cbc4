//! The programs that stand in for ContextForge's, run as its charts run them.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The places that an image gives the stand-ins, in a folder of our own.
struct Image(tempfile::TempDir);

impl Image {
    fn new() -> Image {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let utils = folder.path().join("app/mcpgateway/utils");
        std::fs::create_dir_all(&utils).expect("a folder in it");
        let source = Path::new("deploy/stand-ins");
        for name in ["db_isready.py", "redis_isready.py"] {
            std::fs::copy(source.join(name), utils.join(name)).expect("a copy");
        }
        let path = folder.path().join("bin");
        std::fs::create_dir(&path).expect("a folder in it");
        std::fs::copy(source.join("alembic"), path.join("alembic")).expect("a copy");
        symlink(env!("CARGO_BIN_EXE_ringway"), path.join("ringway")).expect("a link");
        Image(folder)
    }

    /// An image without Python, as the slim one is.
    fn without_python() -> Image {
        let image = Image::new();
        let source = Path::new("deploy/stand-ins/python3");
        std::fs::copy(source, image.0.path().join("bin/python3")).expect("a copy");
        image
    }

    fn database(&self) -> PathBuf {
        self.0.path().join("mcp.db")
    }

    fn utility(&self, name: &str) -> String {
        self.0.path().join("app/mcpgateway/utils").join(name).display().to_string()
    }

    /// Runs a line of a chart.
    fn run(&self, line: &str) -> Output {
        let path = self.0.path().join("bin").display().to_string();
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(self.0.path()).env_clear();
        command.env("PATH", format!("{path}:/usr/bin:/bin"));
        command.env("DATABASE_URL", format!("sqlite:///{}", self.database().display()));
        command.env("CACHE_TYPE", "memory").output().expect("a shell starts")
    }

    #[track_caller]
    fn ends(&self, line: &str, code: i32) -> String {
        let output = self.run(line);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        said
    }
}

/// An address where nothing listens.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    format!("postgresql+psycopg://me:hunter2@{address}/mcp")
}

#[test]
fn the_migration_job_of_the_chart_migrates() {
    for image in [Image::new(), Image::without_python()] {
        let program = image.utility("db_isready.py");
        let said = image.ends("alembic check", 1);
        assert!(said.contains("V0001__initial"), "{said}");
        let line = format!("python3 {program} --max-tries 3 --interval 1 && alembic upgrade head");
        let said = image.ends(&line, 0);
        assert!(said.contains("Migrated the database from 0"), "{said}");
        assert!(image.database().exists());
        image.ends("alembic -c /app/alembic.ini upgrade head", 0);
        image.ends("alembic check", 0);
    }
}

#[test]
fn the_probes_of_the_chart_end_with_the_codes_of_the_originals() {
    for image in [Image::new(), Image::without_python()] {
        let (database, redis) = (image.utility("db_isready.py"), image.utility("redis_isready.py"));
        image.ends(&format!("python3 {database} --max-tries=1 --timeout=2"), 0);
        image.ends(&format!("python3 {redis} --max-retries 1"), 0);
        image.ends(&format!("{database} --log-level ERROR"), 0);
        let away = format!("--database-url {} --max-tries 2 --interval 0.01", nowhere());
        let said = image.ends(&format!("python3 {database} {away}"), 1);
        assert!(said.contains("attempt 2 of 2") && !said.contains("hunter2"), "{said}");
        image.ends(&format!("python3 {database} --max-tries none"), 2);
        image.ends(&format!("{redis} --redis-url http://cache"), 2);
    }
}

#[test]
fn what_is_not_stood_in_for_says_so() {
    let image = Image::without_python();
    image.ends("python3 -m mcpgateway.utils.db_isready --max-tries 1", 0);
    let said = image.ends("python3 -c 'print(1)'", 2);
    assert!(said.contains("no Python"), "{said}");
    let said = image.ends("alembic downgrade base", 2);
    assert!(said.contains("ringway migrate"), "{said}");
}
