//! Ways to PostgreSQL: passwords, encryption, sockets, schemas, a pooler, and notices over them.

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use storage::{Location, Store, StoreError, StoreOptions, migrate, pending};

use crate::harness::*;
use crate::postgres::{Instance, Setup, Version, as_server, free_port, own};

/// How long a hint may take on a busy machine.
const HINT_WITHIN: Duration = Duration::from_secs(20);

/// A server with a certificate, which lets `secret` in by password and nobody else over TCP.
fn guarded() -> &'static (Instance, tempfile::TempDir) {
    static GUARDED: OnceLock<(Instance, tempfile::TempDir)> = OnceLock::new();
    GUARDED.get_or_init(|| {
        let folder = tempfile::Builder::new().tempdir_in("/tmp").unwrap();
        write_certificates(folder.path());
        own(folder.path());
        let at = folder.path().display();
        let settings = format!(
            "ssl = on\nssl_cert_file = '{at}/server.pem'\nssl_key_file = '{at}/server.key'\n"
        );
        let access = "hostnossl encrypted secret 127.0.0.1/32 reject\n\
                      host all secret 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 reject";
        let setup = Setup { is_durable: false, settings: &settings, access };
        let instance = Instance::start(Version::V15, setup);
        instance.ask("postgres", "CREATE ROLE secret LOGIN SUPERUSER PASSWORD 'hunter:2/@'");
        for name in ["mcp", "encrypted"] {
            instance.ask("postgres", &format!("CREATE DATABASE {name}"));
        }
        (instance, folder)
    })
}

/// An authority in `ca.pem`, a server's certificate for `localhost` by it, and another authority.
fn write_certificates(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let authority = |file: &str| {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.join(file), certificate.pem()).unwrap();
        rcgen::Issuer::new(params, key)
    };
    let issuer = authority("ca.pem");
    authority("other.pem");
    let key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let server = server.signed_by(&key, &issuer).unwrap();
    std::fs::write(folder.join("server.pem"), server.pem()).unwrap();
    std::fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(folder.join("server.key"), private).unwrap();
}

fn reach(url: &str) -> Result<(), StoreError> {
    let (store, _) = Store::open(&StoreOptions::new(Location::parse(url)?))?;
    block_on(store.ping())
}

#[test]
fn a_password_is_proved_and_a_wrong_one_is_told_without_repeating_it() {
    let (instance, _) = guarded();
    reach(&instance.tcp_url("secret:hunter%3A2%2F%40", "mcp")).unwrap();
    let begin = Instant::now();
    let mut options =
        StoreOptions::new(Location::parse(&instance.tcp_url("secret:wrong", "mcp")).unwrap());
    options.retry_count_max = 1000;
    let error = Store::open(&options).unwrap_err();
    assert!(begin.elapsed() < HINT_WITHIN, "trying again does not mend a password");
    assert!(error.to_string().contains("password authentication failed"), "{error}");
    assert!(!error.to_string().contains("wrong"), "{error}");
}

#[test]
fn each_degree_of_encryption_takes_what_it_should_and_nothing_less() {
    let (instance, folder) = guarded();
    let at = folder.path().display().to_string();
    let base = instance.tcp_url("secret:hunter%3A2%2F%40", "mcp");
    let elsewhere = base.replace("localhost", "127.0.0.1");
    let (ca, other) = (format!("&sslrootcert={at}/ca.pem"), format!("&sslrootcert={at}/other.pem"));
    let own = format!("&sslrootcert={at}/server.pem");
    for (url, mode, authorities, is_reached) in [
        (&base, "disable", "", true),
        (&base, "prefer", "", true),
        (&base, "require", "", true),
        (&elsewhere, "require", "", true),
        (&base, "require", &other, false),
        (&base, "verify-ca", &ca, true),
        (&elsewhere, "verify-ca", &ca, true),
        (&base, "verify-ca", &own, true),
        (&base, "verify-ca", &other, false),
        (&base, "verify-full", &ca, true),
        (&elsewhere, "verify-full", &ca, false),
        (&base, "verify-full", &other, false),
    ] {
        let url = format!("{url}?sslmode={mode}{authorities}");
        let reached = reach(&url);
        assert_eq!(reached.is_ok(), is_reached, "{mode}{authorities}: {reached:?}");
    }
    // This database takes only who is encrypted, which is therefore tried first.
    let only = instance.tcp_url("secret:hunter%3A2%2F%40", "encrypted");
    reach(&format!("{only}?sslmode=prefer")).unwrap();
    let error = reach(&format!("{only}?sslmode=disable")).unwrap_err();
    assert!(error.to_string().contains("no encryption"), "{error}");
    let error = reach(&format!("{base}?sslrootcert=/nowhere.pem&sslmode=verify-ca")).unwrap_err();
    assert!(error.to_string().contains("/nowhere.pem"), "{error}");
}

#[test]
fn a_server_without_encryption_is_refused_where_it_is_required() {
    let instance = Instance::shared(Version::V18);
    instance.ask("postgres", "CREATE DATABASE unencrypted");
    let url = instance.tcp_url("postgres", "unencrypted");
    reach(&format!("{url}?sslmode=prefer")).unwrap();
    let error = reach(&format!("{url}?sslmode=require")).unwrap_err();
    assert!(error.to_string().contains("does not support TLS"), "{error}");
}

#[test]
fn two_schemas_of_one_database_are_two_registries() {
    let fixture = Fixture::on(Backend::Postgres(Version::V15));
    // What another gateway keeps in the schema that everybody shares.
    fixture.run("CREATE TABLE gateways (id TEXT); CREATE SCHEMA one; CREATE SCHEMA two");
    let of = |schema: &str| {
        let url = format!("{}&options=-c%20search_path%3D{schema}", fixture.url());
        StoreOptions::new(Location::parse(&url).unwrap())
    };
    let (one, _) = Store::open(&of("one")).unwrap();
    let (two, _) = Store::open(&of("two")).unwrap();
    apply(&one, registry()).unwrap();
    assert_eq!(block_on(one.load()).unwrap().sequence, 8);
    assert_eq!(block_on(two.load()).unwrap().sequence, 0);
    assert_eq!(fixture.table_count(), 1);
    let error = migrate(&of("public")).unwrap_err();
    assert!(matches!(&error, StoreError::DatabaseForeign { .. }), "{error}");
}

#[test]
fn a_hint_comes_for_each_writer_and_after_each_interruption() {
    let fixture = Fixture::on(Backend::Postgres(Version::V18));
    let (store, other) = (fixture.open(), fixture.open());
    let mut notices = store.notices();
    assert_eq!(block_on(notices.next()), None, "what changed before is not told of");
    let end = apply(&other, registry()).unwrap().sequence;
    assert_eq!(block_on(notices.next()), Some(end));
    assert_eq!(changes(&store, 0, 100).items.len(), 8);
    fixture.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND query LIKE 'LISTEN%'",
    );
    assert_eq!(block_on(notices.next()), None);
}

/// As the gateway uses it: on shards with rings of their own, each with its own connections.
#[test]
fn every_shard_has_connections_of_its_own_on_its_own_ring() {
    let fixture = Fixture::on(Backend::Postgres(Version::V15));
    let (store, _) =
        Store::open(&StoreOptions { shard_count: 2, ..fixture.options.clone() }).unwrap();
    let driver = shards::driver::choose(shards::Preference::Auto).unwrap().driver;
    for driver in [driver, shards::Driver::Epoll] {
        let shard = |id: &'static str| {
            let store = store.clone();
            std::thread::spawn(move || {
                let work = async move {
                    let id = format!("{driver:?}-{id}");
                    store.apply(vec![put_gateway(gateway(&id))]).await.unwrap();
                    let mut notices = store.notices();
                    notices.next().await;
                    store.load().await.unwrap();
                    store.figures().open_count
                };
                shards::runtime::block_on(driver, work).unwrap()
            })
        };
        for shard in [shard("one"), shard("two")] {
            assert!(shard.join().unwrap() >= 2, "a connection and one for notices");
        }
    }
    assert_eq!(block_on(store.load()).unwrap().gateways.len(), 4);
}

/// PgBouncer before a server, gone when dropped.
struct Bouncer {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Bouncer {
    fn before(instance: &Instance) -> Bouncer {
        let folder = tempfile::Builder::new().prefix("rw-pb-").tempdir_in("/tmp").unwrap();
        let (port, at) = (free_port(), folder.path().display());
        let settings = format!(
            "[databases]\n* = host={} port={} user=postgres\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir = {at}\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n\
             max_client_conn = 100\nserver_reset_query_always = 1\n",
            instance.folder.display(),
            instance.port
        );
        std::fs::write(folder.path().join("pgbouncer.ini"), settings).unwrap();
        own(folder.path());
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = as_server("/usr/sbin/pgbouncer");
        command.arg(folder.path().join("pgbouncer.ini")).stdout(Stdio::null()).stderr(log);
        let process =
            command.spawn().expect("pgbouncer is missing; tests/tools/install installs it");
        let bouncer = Bouncer { process, port, folder };
        let begin = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || std::fs::read_to_string(bouncer.folder.path().join("log"));
            assert!(begin.elapsed() < HINT_WITHIN, "PgBouncer does not start: {:?}", log());
            std::thread::yield_now();
        }
        bouncer
    }

    fn url(&self, database: &str) -> String {
        format!(
            "postgresql://postgres@127.0.0.1:{}/{database}?pooler=transaction&sslmode=disable",
            self.port
        )
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn behind_a_pooler_of_transactions_the_store_works_and_keeps_nothing_in_a_session() {
    let instance = Instance::shared(Version::V15);
    instance.ask("postgres", "CREATE DATABASE pooled");
    let bouncer = Bouncer::before(instance);
    let options = StoreOptions::new(Location::parse(&bouncer.url("pooled")).unwrap());
    assert!(!pending(&options).unwrap().is_empty());
    let stores: Vec<Store> = (0..4).map(|_| Store::open(&options).unwrap().0).collect();
    assert!(pending(&options).unwrap().is_empty());
    apply(&stores[0], registry()).unwrap();
    // More writers than the pooler has connections: each transaction may be on another.
    std::thread::scope(|scope| {
        for (writer, store) in stores.iter().enumerate() {
            scope.spawn(move || {
                for round in 0..20 {
                    let id = format!("w{writer}-{round}");
                    apply(store, vec![put_gateway(gateway(&id))]).unwrap();
                    block_on(store.ping()).unwrap();
                }
            });
        }
    });
    let snapshot = block_on(stores[1].load()).unwrap();
    assert_eq!((snapshot.sequence, snapshot.gateways.len()), (88, 82));
    assert_eq!(changes(&stores[2], 8, 1000).items.len(), 80);
    let conflict = apply(&stores[3], vec![put_gateway(gateway("w0-0")), put_tool(tool("x", "no"))]);
    assert!(matches!(conflict, Err(StoreError::NotFound { .. })), "{conflict:?}");
    assert_eq!(block_on(stores[3].hold_lease("work", "me", HINT_WITHIN)), Ok(Some(1)));
    // No hint ever comes, and asking for one costs nothing.
    let mut notices = stores[0].notices();
    let mut hint = std::pin::pin!(notices.next());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(hint.as_mut().poll(&mut context).is_pending());
    // The bounds of a statement come with the transaction.
    let mut options = options;
    options.lock_wait_max = Duration::from_millis(50);
    let (store, _) = Store::open(&options).unwrap();
    let mut psql = instance.psql("pooled");
    let lock = Lock::of_postgres(&mut psql);
    let error = apply(&store, vec![put_gateway(gateway("late"))]).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    drop(lock);
    apply(&store, vec![put_gateway(gateway("late"))]).unwrap();
}
