//! The pool and its exchanges against small scripted servers, on every driver of this machine.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream as StdStream},
    sync::mpsc,
    time::Duration,
};

use shards::{Driver, Preference, buffer, driver, runtime, task, time};

use super::*;
use crate::http1::{HeadLimits, Method};

/// Longer than any test takes.
const AGES: Duration = Duration::from_secs(20);

/// Shorter than anybody waits, longer than a tick of the watch.
const SOON: Duration = Duration::from_millis(150);

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn on_each_driver<F: Future<Output = ()> + 'static>(body: fn() -> F) {
    let best = driver::choose(Preference::Auto).expect("auto finds a driver").driver;
    for driver in [Driver::Epoll, best] {
        println!("driver: {driver}");
        let shard = std::thread::spawn(move || {
            runtime::block_on(driver, body()).expect("the driver starts");
        });
        if let Err(panic) = shard.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// What a server does with its connections.
type Script = fn(index: usize, connection: &mut StdStream);

/// A server that runs `script` for one connection after the other; the receiver hears of each that
/// was accepted.
fn serve(script: Script) -> (SocketAddr, mpsc::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("an address");
    let (accepted, accepts) = mpsc::channel();
    std::thread::spawn(move || {
        for (index, connection) in listener.incoming().enumerate() {
            let Ok(mut connection) = connection else { return };
            if accepted.send(index).is_err() {
                return;
            }
            std::thread::spawn(move || script(index, &mut connection));
        }
    });
    (address, accepts)
}

/// Reads one request head; false at the end of the connection.
fn read_request(connection: &mut StdStream) -> bool {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        match connection.read(&mut byte) {
            Ok(1) => bytes.push(byte[0]),
            _ => return false,
        }
    }
    true
}

fn answer_with(connection: &mut StdStream, text: &str) {
    while read_request(connection) {
        if connection.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn pool(address: SocketAddr) -> Pool {
    pool_of(address, 4, 4)
}

fn pool_of(address: SocketAddr, connection_count_max: usize, waiting_count_max: usize) -> Pool {
    let origin = Origin { tls: false, host: "127.0.0.1".to_owned(), port: address.port() };
    let limits = PoolLimits {
        connection_count_max,
        waiting_count_max,
        wait_within: AGES,
        idle_count_max: 100,
        connect_within: AGES,
        idle_within: AGES,
    };
    Pool::new(origin, None, limits)
}

async fn lease(pool: &Pool, address: SocketAddr) -> Result<Lease, ClientError> {
    let deadline = Deadline::after(AGES);
    match pool.place(deadline).await?.idle() {
        Ok(lease) => Ok(lease),
        Err(place) => place.connect(&[address], deadline).await,
    }
}

fn sending(within: Duration) -> Sending {
    let mut request = buffer::take();
    request.extend_from_slice(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let deadline = Deadline::after(within);
    Sending { request, method: Method::Get, deadline, first_byte_within: AGES }
}

async fn respond(pool: &Pool, address: SocketAddr) -> Result<Response, ClientError> {
    let lease = lease(pool, address).await?;
    lease.exchange(sending(AGES), &HeadLimits::default()).await
}

async fn get(pool: &Pool, address: SocketAddr) -> Result<String, ClientError> {
    let body = respond(pool, address).await?.whole(1000).await?;
    Ok(String::from_utf8(body.data().to_vec()).expect("text"))
}

#[test]
fn uses_one_connection_for_many_exchanges() {
    on_each_driver(|| async {
        let (address, accepts) = serve(|_, connection| answer_with(connection, OK));
        let pool = pool(address);
        for _ in 0..5 {
            assert_eq!(get(&pool, address).await.expect("an answer"), "ok");
        }
        assert_eq!(accepts.try_iter().count(), 1);
        assert_eq!(pool.idle_count(), 1);
    });
}

#[test]
fn notices_that_an_idle_connection_was_closed() {
    on_each_driver(|| async {
        let (address, accepts) = serve(|_, connection| {
            if read_request(connection) {
                let _ = connection.write_all(OK.as_bytes());
            }
        });
        let pool = pool(address);
        for _ in 0..3 {
            assert_eq!(get(&pool, address).await.expect("an answer"), "ok");
            while pool.has_quiet_idle() {
                time::sleep(Duration::from_millis(1)).await;
            }
        }
        assert_eq!(accepts.try_iter().count(), 3);
    });
}

#[test]
fn trusts_no_connection_that_brings_more_than_was_asked_for() {
    on_each_driver(|| async {
        let (address, accepts) = serve(|_, connection| answer_with(connection, &OK.repeat(2)));
        let pool = pool(address);
        assert_eq!(get(&pool, address).await.expect("an answer"), "ok");
        assert_eq!(get(&pool, address).await.expect("an answer"), "ok");
        assert_eq!(accepts.try_iter().count(), 2);
    });
}

#[test]
fn refuses_who_would_wait_beyond_the_bound() {
    on_each_driver(|| async {
        let (address, _accepts) = serve(|_, connection| answer_with(connection, OK));
        let pool = pool_of(address, 1, 1);
        let held = lease(&pool, address).await.expect("a lease");
        let waiting = {
            let pool = pool.clone();
            task::spawn(async move { get(&pool, address).await })
        };
        time::sleep(Duration::from_millis(1)).await;
        let error = get(&pool, address).await.expect_err("one waits already");
        assert!(matches!(error.cause, Cause::Full { .. }), "{error}");
        assert!(!error.may_have_run());
        drop(held);
        assert_eq!(waiting.join().await.expect("no panic").expect("its turn comes"), "ok");
    });
}

#[test]
fn gives_up_waiting_for_a_turn_in_time() {
    on_each_driver(|| async {
        let (address, _accepts) = serve(|_, connection| answer_with(connection, OK));
        let pool = pool_of(address, 1, 1);
        let _held = lease(&pool, address).await.expect("a lease");
        let outcome = pool.place(Deadline::after(SOON)).await;
        assert!(matches!(outcome.err().expect("no turn").cause, Cause::Full { .. }));
    });
}

#[test]
fn reads_chunks_and_uses_the_connection_again() {
    on_each_driver(|| async {
        let (address, accepts) = serve(|_, connection| {
            while read_request(connection) {
                for part in [
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
                    "lo\r\n",
                    "6\r\n world\r\n0\r\n\r\n",
                ] {
                    let _ = connection.write_all(part.as_bytes());
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        });
        let pool = pool(address);
        assert_eq!(get(&pool, address).await.expect("an answer"), "hello world");
        assert_eq!(get(&pool, address).await.expect("an answer"), "hello world");
        assert_eq!(accepts.try_iter().count(), 1);
    });
}

#[test]
fn passes_over_interim_answers_and_reads_to_the_end_of_the_connection() {
    on_each_driver(|| async {
        let (address, _accepts) = serve(|_, connection| {
            read_request(connection);
            let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 \r\na: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\nall";
            let _ = connection.write_all(text.as_bytes());
        });
        let pool = pool(address);
        assert_eq!(get(&pool, address).await.expect("an answer"), "all");
        assert_eq!(pool.idle_count(), 0);
    });
}

#[test]
fn refuses_an_answer_that_is_too_large_however_it_is_framed() {
    on_each_driver(|| async {
        let (address, _accepts) = serve(|index, connection| {
            let large = "x".repeat(1001);
            let text = match index {
                0 => format!("HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n{large}"),
                1 => format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n{large}"),
                _ => format!("HTTP/1.1 200 OK\r\n\r\n{large}"),
            };
            answer_with(connection, &text);
        });
        let pool = pool(address);
        for _ in 0..3 {
            let error = get(&pool, address).await.expect_err("it is too large");
            assert!(matches!(error.cause, Cause::TooLarge { size_max: 1000 }), "{error}");
        }
        assert_eq!(pool.idle_count(), 0);
    });
}

#[test]
fn says_that_an_answer_was_cut_off() {
    on_each_driver(|| async {
        let (address, _accepts) = serve(|index, connection| {
            read_request(connection);
            let text = match index {
                0 => "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
                1 => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nha",
                2 => "HTTP/1.1 200",
                _ => "",
            };
            let _ = connection.write_all(text.as_bytes());
        });
        let pool = pool(address);
        for progress in
            [Progress::Answering, Progress::Answering, Progress::Answering, Progress::Silent]
        {
            let error = get(&pool, address).await.expect_err("it is cut");
            assert!(matches!(error.cause, Cause::Broken(_)), "{error}");
            assert_eq!(error.progress, progress);
        }
    });
}

#[test]
fn ends_what_takes_too_long_and_says_how_far_it_came() {
    on_each_driver(|| async {
        let (address, _accepts) = serve(|index, connection| {
            read_request(connection);
            if index == 1 {
                let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
            }
            read_request(connection);
        });
        let pool = pool(address);
        for progress in [Progress::Silent, Progress::Answering] {
            let lease = lease(&pool, address).await.expect("a lease");
            let outcome = async {
                let response = lease.exchange(sending(SOON), &HeadLimits::default()).await?;
                response.whole(1000).await
            };
            let error = outcome.await.expect_err("it takes too long");
            assert!(matches!(error.cause, Cause::Timeout { .. }), "{error}");
            assert_eq!(error.progress, progress);
        }
    });
}

#[test]
fn closes_the_connection_of_a_future_that_is_dropped() {
    on_each_driver(|| async {
        let (address, accepts) = serve(|index, connection| {
            read_request(connection);
            if index == 0 {
                // Answers only when the client is gone.
                read_request(connection);
            }
            let _ = connection.write_all(OK.as_bytes());
        });
        let pool = pool_of(address, 1, 1);
        assert!(time::timeout(SOON, get(&pool, address)).await.is_err());
        assert_eq!(pool.idle_count(), 0);
        assert_eq!(get(&pool, address).await.expect("the turn is free again"), "ok");
        assert_eq!(accepts.try_iter().count(), 2);
    });
}

#[test]
fn hands_on_a_stream_and_takes_the_connection_back_at_its_end() {
    on_each_driver(|| async {
        let (address, accepts) = serve(|_, connection| {
            while read_request(connection) {
                for part in [
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                    "3\r\none\r\n",
                    "3\r\ntwo\r\n",
                    "0\r\n\r\n",
                ] {
                    let _ = connection.write_all(part.as_bytes());
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        });
        let pool = pool(address);
        for is_read_to_its_end in [true, false] {
            let response = respond(&pool, address).await.expect("a head");
            let mut streaming = response.stream(usize::MAX).expect("a stream");
            let mut text = Vec::new();
            while !text.ends_with(if is_read_to_its_end { b"two" } else { b"one" })
                && streaming.next(|data| text.extend_from_slice(data)).await.expect("more")
            {
            }
            streaming.finish();
            while pool.idle_count() == 0 {
                time::sleep(Duration::from_millis(1)).await;
            }
        }
        assert_eq!(accepts.try_iter().count(), 1);
    });
}

#[test]
fn waits_for_a_stream_without_losing_bytes_to_impatience() {
    on_each_driver(|| async {
        let (address, _accepts) = serve(|_, connection| {
            read_request(connection);
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            for part in ["a", "b", "c", "d"] {
                std::thread::sleep(Duration::from_millis(10));
                let _ = connection.write_all(part.as_bytes());
            }
        });
        let pool = pool(address);
        let response = respond(&pool, address).await.expect("a head");
        let mut streaming = response.stream(usize::MAX).expect("a stream");
        let mut text = Vec::new();
        loop {
            let next = streaming.next(|data| text.extend_from_slice(data));
            match time::timeout(Duration::from_millis(1), next).await {
                Ok(Ok(false)) => break,
                Ok(Err(error)) => panic!("{error}"),
                Ok(Ok(true)) | Err(_) => {}
            }
        }
        assert_eq!(text, b"abcd");
    });
}

#[test]
fn tries_every_address_and_tells_what_each_answered() {
    on_each_driver(|| async {
        let (address, _accepts) = serve(|_, connection| answer_with(connection, OK));
        // A port that nobody is given by the system, and that needs rights to listen on.
        let closed = SocketAddr::from(([127, 0, 0, 1], 1));
        let pool = pool(address);
        let deadline = Deadline::after(AGES);
        let place = pool.place(deadline).await.expect("a turn");
        let lease = place.connect(&[closed, address], deadline).await.expect("the second takes it");
        drop(lease);
        let place = pool.place(deadline).await.expect("a turn");
        let error = place.connect(&[closed], deadline).await.expect_err("nobody listens");
        assert!(error.to_string().contains(&closed.to_string()), "{error}");
        assert_eq!(error.progress, Progress::Unsent);
    });
}

#[test]
fn keeps_no_connection_longer_than_its_server_says() {
    on_each_driver(|| async {
        const BRIEF: &str =
            "HTTP/1.1 200 OK\r\nkeep-alive: timeout=1, max=9\r\ncontent-length: 0\r\n\r\n";
        let (address, accepts) = serve(|_, connection| answer_with(connection, BRIEF));
        let pool = pool(address);
        get(&pool, address).await.expect("an answer");
        assert_eq!(pool.idle_count(), 0);
        get(&pool, address).await.expect("an answer");
        assert_eq!(accepts.try_iter().count(), 2);
    });
}

#[test]
fn closes_connections_that_were_idle_for_too_long() {
    on_each_driver(|| async {
        let (address, _accepts) = serve(|_, connection| answer_with(connection, OK));
        let origin = pool(address).origin().clone();
        let limits = PoolLimits {
            connection_count_max: 1,
            waiting_count_max: 1,
            wait_within: Duration::from_secs(10),
            idle_count_max: 100,
            connect_within: AGES,
            idle_within: SOON,
        };
        let pool = Pool::new(origin, None, limits);
        get(&pool, address).await.expect("an answer");
        assert_eq!(pool.idle_count(), 1);
        while pool.idle_count() > 0 {
            time::sleep(Duration::from_millis(5)).await;
        }
    });
}

/// The server's end of TLS, on the same shard: answers every request, counts connections.
async fn serve_tls(
    count: std::rc::Rc<std::cell::Cell<usize>>,
) -> (SocketAddr, crate::tls::Connector) {
    let signed =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let folder = std::env::temp_dir().join(format!("ringway-client-{}", std::process::id()));
    let folder = folder.join(format!("{:?}", std::thread::current().id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
    std::fs::write(&chain, signed.cert.pem()).expect("write");
    std::fs::write(&key, signed.signing_key.serialize_pem()).expect("write");
    let acceptor = crate::tls::Acceptor::from_files(&chain, &key, None).expect("a pair");
    std::fs::remove_dir_all(&folder).expect("remove");
    let socket = shards::tcp::bind(([127, 0, 0, 1], 0).into(), 1).expect("bind").remove(0);
    let address = socket.local_addr();
    let listener = shards::Listener::new(socket).expect("listen");
    task::spawn(async move {
        let closing = shards::local::Gate::default();
        let take = |stream, _| {
            let (acceptor, count) = (acceptor.clone(), count.clone());
            task::spawn(async move {
                let Ok(mut connection) = acceptor.accept(stream).await else { return };
                count.set(count.get() + 1);
                while let Ok(bytes) = connection.receive().await
                    && !bytes.is_empty()
                {
                    assert!(bytes.ends_with(b"\r\n\r\n"), "requests come in one piece");
                    connection.write_all(OK.as_bytes().to_vec()).await.0.expect("write");
                }
            });
        };
        listener.accept_until(&closing, take, |error| panic!("accept: {error}")).await;
    });
    (address, crate::tls::Connector::with_roots(&signed.cert.pem()).expect("a root"))
}

#[test]
fn uses_one_connection_for_many_exchanges_over_tls_and_trusts_no_other_name() {
    on_each_driver(|| async {
        let count = std::rc::Rc::default();
        let (address, connector) = serve_tls(std::rc::Rc::clone(&count)).await;
        let limits = PoolLimits {
            connection_count_max: 1,
            waiting_count_max: 1,
            wait_within: AGES,
            idle_count_max: 100,
            connect_within: AGES,
            idle_within: AGES,
        };
        let origin = Origin { tls: true, host: "localhost".to_owned(), port: address.port() };
        let pool = Pool::new(origin, Some(connector.clone()), limits.clone());
        for _ in 0..3 {
            assert_eq!(get(&pool, address).await.expect("an answer"), "ok");
        }
        assert_eq!(count.get(), 1);
        let origin = Origin { tls: true, host: "example.com".to_owned(), port: address.port() };
        let pool = Pool::new(origin, Some(connector), limits);
        let error = get(&pool, address).await.expect_err("another name");
        assert!(matches!(&error.cause, Cause::Connect(text) if text.contains("TLS")), "{error}");
    });
}

#[test]
fn a_connection_that_was_switched_is_handed_over_with_what_came_behind() {
    on_each_driver(|| async {
        let (address, _accepts) = serve(|_, connection| {
            assert!(read_request(connection));
            let switched = "HTTP/1.1 101 Switched\r\nupgrade: x\r\n\r\nearly";
            let _ = connection.write_all(switched.as_bytes());
            let mut said = [0; 4];
            let _ = connection.read_exact(&mut said);
            let _ = connection.write_all(&said);
        });
        let pool = pool(address);
        let response = respond(&pool, address).await.expect("a head");
        assert_eq!(response.status(), 101);
        let (mut connection, mut early) = response.into_connection();
        let (written, _) = connection.write_all(b"echo".to_vec()).await;
        written.expect("it is open");
        while early.len() < "earlyecho".len() {
            let more = connection.receive().await.expect("it is open");
            assert!(!more.is_empty(), "it ended");
            early.extend(more);
        }
        assert_eq!(early, b"earlyecho");
        assert_eq!(pool.idle_count(), 0);
    });
}
