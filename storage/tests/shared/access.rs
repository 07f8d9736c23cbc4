//! Ways in: users and passwords, TLS, Unix sockets, databases.

use std::process::Command;

use shards::{Driver, runtime};
use storage::shared::{CacheType, RedisLocation, Shared, StateError, probe};

use crate::{
    harness::{LONG, drivers, message, next, on_shard, options, patient_options, started},
    server::{SURELY, Server, free_port},
};

/// Sets and gets, publishes and receives through `url`, on each driver.
fn works_through(url: &str) {
    for driver in drivers() {
        println!("{driver}");
        let options = patient_options(url);
        on_shard(driver, move || async move {
            let shared = started(&options, 0).await;
            shared.state.set("k", b"v", LONG).await.unwrap();
            assert_eq!(shared.state.get("k").await, Ok(Some(b"v".to_vec())));
            let mut subscription = shared.bus.subscribe("news").await.unwrap();
            shared.bus.publish("news", b"x").await.unwrap();
            assert_eq!(next(&mut subscription).await, message("x"));
        });
    }
}

/// Why `url` cannot be used.
fn refusal(url: &str) -> String {
    let options = patient_options(url);
    let probing = async move { probe(&options).await.unwrap_err().to_string() };
    runtime::block_on(Driver::Epoll, probing).unwrap()
}

#[test]
fn a_user_of_the_access_list_comes_in_with_the_right_password_only() {
    let server =
        Server::with(&["--user default off", "--user me on >hunter%2 ~mcpgw:* &mcpgw:* +@all"]);
    let port = server.port;
    works_through(&format!("redis://me:hunter%252@127.0.0.1:{port}/0"));
    for login in ["", "me:wrong7@", "other:hunter%252@", ":hunter%252@"] {
        let error = refusal(&format!("redis://{login}127.0.0.1:{port}/0"));
        assert!(error.contains("is away"), "{error}");
        assert!(!error.contains("hunter") && !error.contains("wrong7"), "{error}");
    }
}

#[test]
fn a_password_without_a_user_is_the_default_users() {
    let server = Server::with(&["--requirepass", "hunter2"]);
    works_through(&format!("redis://:hunter2@127.0.0.1:{}/0", server.port));
}

#[test]
fn a_topic_or_key_that_the_access_list_forbids_is_refused_and_the_rest_works() {
    let server =
        Server::with(&["--user default on nopass ~mcpgw:* resetchannels &mcpgw:news +@all"]);
    let url = server.url();
    for driver in drivers() {
        let options = patient_options(&url);
        on_shard(driver, move || async move {
            let shared = started(&options, 0).await;
            let refused = shared.bus.subscribe("secret").await.map(drop).unwrap_err();
            assert!(matches!(refused, StateError::Refused { .. }), "{refused:?}");
            assert!(refused.to_string().contains("permissions"), "{refused}");
            let mut subscription = shared.bus.subscribe("news").await.unwrap();
            shared.bus.publish("news", b"x").await.unwrap();
            assert_eq!(next(&mut subscription).await, message("x"));
            let mut other = options;
            other.prefix = "other:".to_owned();
            let other = Shared::start(&other, 0).unwrap();
            let answer = other.ready(SURELY).await;
            assert!(matches!(answer, Err(StateError::Refused { .. })), "{answer:?}");
        });
    }
}

#[test]
fn a_database_is_apart_from_the_others() {
    let server = Server::start();
    works_through(&format!("redis://127.0.0.1:{}/3", server.port));
    assert!(server.ask("INFO keyspace").contains("db3:keys=1"));
    let error = refusal(&format!("redis://127.0.0.1:{}/99", server.port));
    assert!(error.contains("is away"), "{error}");
}

#[test]
fn a_unix_socket_is_a_way_in() {
    let server = Server::with(&["--unixsocket", "{dir}/redis.sock"]);
    let path = server.path("redis.sock");
    works_through(&format!("unix://{}?db=2", path.display()));
    let error = refusal("unix:///nowhere/redis.sock");
    assert!(error.contains("/nowhere/redis.sock"), "{error}");
}

/// A certificate for `localhost` and 127.0.0.1 that is its own CA, in files of a folder.
struct Certificate {
    folder: tempfile::TempDir,
}

impl Certificate {
    fn new(names: &[&str]) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let issued = rcgen::generate_simple_self_signed(names).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cert.pem"), issued.cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), issued.signing_key.serialize_pem()).unwrap();
        Certificate { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Starts a server that speaks TLS on `port`.
    fn serve(&self, port: u16, arguments: &[&str]) -> Server {
        let (port, certificate) = (port.to_string(), self.path("cert.pem"));
        let key = self.path("key.pem");
        let tls = ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key];
        let trust = ["--tls-ca-cert-file", &certificate, "--tls-auth-clients", "no"];
        Server::with(&[&tls[..], &trust, arguments].concat())
    }
}

#[test]
fn a_cluster_is_reached_by_tls_and_with_a_password() {
    let certificate = Certificate::new(&["localhost", "127.0.0.1"]);
    let (port, bus) = (free_port(), free_port().to_string());
    let config = "{dir}/nodes.conf";
    let cluster = ["--cluster-enabled", "yes", "--cluster-port", &bus, "--tls-cluster", "yes"];
    let rest = ["--cluster-config-file", config, "--requirepass", "hunter2"];
    let server = certificate.serve(port, &[&cluster[..], &rest].concat());
    let added = Command::new("redis-cli")
        .args(["-p", &server.port.to_string(), "-a", "hunter2"])
        .args(["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&added.stdout), "OK\n");
    let ca = certificate.path("cert.pem");
    works_through(&format!("rediss://:hunter2@127.0.0.1:{port}?cluster=true&ssl_ca_certs={ca}"));
    let error = refusal(&format!("rediss://127.0.0.1:{port}?cluster=true&ssl_ca_certs={ca}"));
    assert!(error.contains("is away"), "{error}");
}

#[test]
fn tls_trusts_the_named_ca_and_nobody_else() {
    let issued = Certificate::new(&["localhost"]);
    let certificate = issued.path("cert.pem");
    let port = free_port();
    let _server = issued.serve(port, &[]);
    works_through(&format!("rediss://localhost:{port}/0?ssl_ca_certs={certificate}"));
    let error = refusal(&format!("rediss://localhost:{port}/0"));
    assert!(error.contains("TLS"), "the system's roots do not know it: {error}");
    let error = refusal(&format!("rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}"));
    assert!(error.contains("TLS"), "the certificate is for another name: {error}");
    let error = refusal(&format!("rediss://localhost:{port}/0?ssl_ca_certs=/nowhere.pem"));
    assert!(error.contains("/nowhere.pem"), "{error}");
}

#[test]
fn every_address_of_a_name_is_tried() {
    // The server listens on one of the addresses that `localhost` stands for.
    let server = Server::start();
    works_through(&format!("redis://localhost:{}/0", server.port));
    let error = refusal(&format!("redis://no-such-host.invalid:{}/0", server.port));
    assert!(error.contains("no-such-host.invalid"), "{error}");
}

#[test]
fn a_probe_tells_the_version_of_the_server() {
    let server = Server::start();
    let options = patient_options(&server.url());
    let version = runtime::block_on(Driver::Epoll, async move { probe(&options).await });
    let version = version.unwrap().unwrap();
    assert!(version.split('.').next().unwrap().parse::<u32>().unwrap() >= 6, "{version}");
}

#[test]
fn redis_without_an_address_is_a_fault_of_the_settings() {
    let mut options = options("redis://127.0.0.1:1/0");
    options.redis = None;
    assert_eq!(options.cache_type, CacheType::Redis);
    let answer = Shared::start(&options, 0).map(drop);
    assert!(matches!(answer, Err(StateError::Settings { .. })));
    assert!(RedisLocation::parse("").is_err());
}
