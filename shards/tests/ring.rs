//! What a shard promises about sockets, deadlines, panics, mailboxes and children, on every driver
//! that this kernel grants.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream as StdStream},
    process::Command,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use shards::{
    Driver, Listener, Preference, TcpStream, UnixPollStream, UnixStream, blocking, buffer, child,
    driver, local::Gate, mailbox, runtime, task, tcp, time, watch,
};

const LOOPBACK: &str = "127.0.0.1:0";

/// Runs `body` on each driver of this machine.
fn on_each_driver<F: Future<Output = ()> + 'static>(body: fn() -> F) {
    let mut drivers = vec![Driver::Epoll];
    let best = driver::choose(Preference::Auto).expect("auto finds a driver").driver;
    if best != Driver::Epoll {
        drivers.extend([best, Driver::UringPlain]);
    }
    for driver in drivers {
        println!("driver: {driver}");
        // A thread of its own, as every shard has: its pools and clocks are the thread's.
        let shard = std::thread::spawn(move || {
            runtime::block_on(driver, body()).expect("the driver starts");
        });
        if let Err(panic) = shard.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Listens, and returns the accepted end of one connection and the other end as a plain socket.
async fn pair() -> (TcpStream, StdStream) {
    let socket = tcp::bind(LOOPBACK.parse().expect("an address"), 1).expect("bind").remove(0);
    let address = socket.local_addr();
    let listener = Listener::new(socket).expect("listen");
    let peer = connect(address);
    let closing = Rc::new(Gate::default());
    let (sender, receiver) = mailbox::oneshot::channel();
    let gate = closing.clone();
    task::spawn(async move {
        let mut sender = Some(sender);
        let take = |stream: TcpStream, _: SocketAddr| {
            let _ = sender.take().expect("one connection comes").send(stream);
            gate.open();
        };
        listener.accept_until(&gate, take, |error| panic!("accept: {error}")).await;
    });
    (receiver.await.expect("accepted"), peer)
}

fn connect(address: SocketAddr) -> StdStream {
    let stream = StdStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("set a read timeout");
    stream
}

#[test]
fn reads_what_the_peer_wrote_and_writes_back() {
    on_each_driver(|| async {
        let (mut stream, mut peer) = pair().await;
        peer.write_all(b"ping").expect("write");
        stream.readable().await.expect("readable");
        let (count, bytes) = stream.read(buffer::take()).await;
        assert_eq!((count.expect("read"), bytes.as_slice()), (4, b"ping".as_slice()));
        let (outcome, _) = stream.write_all(b"pong".to_vec()).await;
        outcome.expect("write");
        let mut answer = [0; 4];
        peer.read_exact(&mut answer).expect("read");
        assert_eq!(&answer, b"pong");
    });
}

/// Drives tokio's traits without its helpers, which this crate has no other use for.
async fn write_and_read(stream: &mut UnixPollStream, bytes: &[u8]) -> Vec<u8> {
    use monoio::io::poll_io::{AsyncRead, AsyncWrite, ReadBuf};
    use std::{future::poll_fn, pin::Pin};
    let count = poll_fn(|context| Pin::new(&mut *stream).poll_write(context, bytes)).await;
    assert_eq!(count.expect("written"), bytes.len());
    let mut space = [0; 64];
    let mut buffer = ReadBuf::new(&mut space);
    let read = poll_fn(|context| Pin::new(&mut *stream).poll_read(context, &mut buffer)).await;
    read.expect("read");
    buffer.filled().to_vec()
}

#[test]
fn talks_over_a_unix_socket_and_ends_it_at_its_deadline() {
    on_each_driver(|| async {
        let path = std::env::temp_dir().join(format!("ringway-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("bind");
        let within = Duration::from_secs(5);
        let stream = UnixStream::connect(&path, within).await.expect("connect");
        let (mut peer, _) = listener.accept().expect("accept");
        std::fs::remove_file(&path).expect("remove");
        let mut stream = stream.into_poll().expect("poll");
        peer.write_all(b"pong").expect("write");
        assert_eq!(write_and_read(&mut stream, b"ping").await, b"pong");
        stream.watch().arm(Duration::from_millis(1), watch::Action::Abort);
        assert_eq!(write_and_read(&mut stream, b"more").await, b"", "the end came");
        assert!(stream.watch().fired());
        let gone = UnixStream::connect(&path, within).await.err().expect("nobody listens");
        assert_eq!(gone.kind(), std::io::ErrorKind::NotFound);
    });
}

#[test]
fn ends_a_releasable_read_without_losing_what_comes_after() {
    on_each_driver(|| async {
        let (mut stream, mut peer) = pair().await;
        stream.watch().arm(Duration::from_millis(1), watch::Action::ReleaseRead);
        let (outcome, bytes) = stream.read_releasable(buffer::take()).await;
        let error = outcome.expect_err("nothing was sent");
        assert_eq!(error.raw_os_error(), Some(watch::CANCELLED));
        assert!(stream.watch().fired());
        peer.write_all(b"later").expect("write");
        stream.readable().await.expect("readable");
        let (count, bytes) = stream.read_releasable(bytes).await;
        assert_eq!((count.expect("read"), bytes.as_slice()), (5, b"later".as_slice()));
    });
}

#[test]
fn stops_reading_at_the_deadline_but_can_still_answer() {
    on_each_driver(|| async {
        let (mut stream, mut peer) = pair().await;
        stream.watch().arm(Duration::from_millis(1), watch::Action::StopReading);
        let (count, _) = stream.read(buffer::take()).await;
        assert_eq!(count.expect("the read ends"), 0);
        assert!(stream.watch().fired());
        stream.write_all(b"408".to_vec()).await.0.expect("write");
        let mut answer = [0; 3];
        peer.read_exact(&mut answer).expect("read");
        assert_eq!(&answer, b"408");
    });
}

#[test]
fn aborts_a_write_that_the_peer_does_not_take() {
    on_each_driver(|| async {
        let (mut stream, _peer) = pair().await;
        stream.watch().arm(Duration::from_millis(200), watch::Action::Abort);
        let (outcome, _) = stream.write_all(vec![0; 64 << 20]).await;
        assert!(outcome.is_err());
        assert!(stream.watch().fired());
    });
}

#[test]
fn notices_a_peer_that_leaves_while_nothing_is_read() {
    on_each_driver(|| async {
        let (stream, peer) = pair().await;
        drop(peer);
        time::timeout(Duration::from_secs(5), stream.watch().peer_gone()).await.expect("noticed");
    });
}

#[test]
fn a_panic_ends_its_task_and_no_other() {
    on_each_driver(|| async {
        let broken = task::spawn(async { panic!("as told") });
        let sound = task::spawn(async { 7 });
        assert_eq!(broken.join().await.map(|()| 0).expect_err("it panicked").0, "as told");
        assert_eq!(sound.join().await.expect("it did not"), 7);
    });
}

#[test]
fn a_closing_listener_serves_what_had_connected_already() {
    on_each_driver(|| async {
        let socket = tcp::bind(LOOPBACK.parse().expect("an address"), 1).expect("bind").remove(0);
        let address = socket.local_addr();
        let listener = Listener::new(socket).expect("listen");
        let peers: Vec<StdStream> = (0..20).map(|_| connect(address)).collect();
        let closing = Gate::default();
        closing.open();
        let mut taken = Vec::new();
        listener.accept_until(&closing, |stream, _| taken.push(stream), |_| ()).await;
        assert_eq!(taken.len(), peers.len());
        assert!(StdStream::connect(address).is_err(), "the port is closed");
    });
}

#[test]
fn a_port_that_is_taken_is_refused_though_ports_are_shared() {
    let first = tcp::bind(LOOPBACK.parse().expect("an address"), 2).expect("bind");
    let error = tcp::bind(first[0].local_addr(), 1).err().expect("the port is taken");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}

#[test]
fn carries_messages_between_shards_and_values_from_the_blocking_pool() {
    let best = driver::choose(Preference::Auto).expect("auto finds a driver").driver;
    for driver in [best, Driver::Epoll] {
        let (sender, receiver) = mailbox::channel::<u32>(8);
        let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
        let sum = Arc::new(AtomicUsize::new(0));
        let total = sum.clone();
        let main = move |index: usize| {
            let (sender, receiver, sum) = (sender.clone(), receiver.clone(), sum.clone());
            async move {
                if index == 0 {
                    let mut receiver = receiver.lock().expect("not poisoned").take().expect("once");
                    for _ in 0..2 {
                        let value = receiver.next().await.expect("a message");
                        sum.fetch_add(value as usize, Ordering::SeqCst);
                    }
                } else {
                    time::sleep(Duration::from_millis(20)).await;
                    sender.send(30).expect("room");
                    let value = blocking::run(|| 12).await.expect("the pool runs");
                    sender.send(value).expect("room");
                }
            }
        };
        runtime::start(&[0, 0], driver, main).expect("start").join().expect("both end");
        assert_eq!(total.load(Ordering::SeqCst), 42);
    }
}

#[test]
fn connects_within_its_time_and_says_when_it_cannot() {
    on_each_driver(|| async {
        let unused = tcp::bind(LOOPBACK.parse().expect("an address"), 1).expect("bind");
        let address = unused[0].local_addr();
        drop(unused);
        let outcome = TcpStream::connect(address, Duration::from_secs(5)).await;
        let error = outcome.err().expect("nobody listens");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_child_inherits_no_connection_of_ours() {
    on_each_driver(|| async {
        let (_accepted, _peer) = pair().await;
        let mut command = Command::new("sh");
        command.args(["-c", "exec ls /proc/self/fd"]);
        let mut spawned = child::spawn(command).expect("spawn");
        let mut listed = Vec::new();
        loop {
            let (count, bytes) = spawned.output.read(listed).await;
            listed = bytes;
            if count.expect("read") == 0 {
                break;
            }
        }
        // The fourth is the folder that ls reads.
        assert_eq!(String::from_utf8_lossy(&listed), "0\n1\n2\n3\n");
    });
}

#[test]
fn talks_to_a_child_and_ends_it_with_its_group() {
    on_each_driver(|| async {
        let mut command = Command::new("sh");
        command.args(["-c", "echo oops >&2; sleep 1000 & exec cat"]);
        let mut spawned = child::spawn(command).expect("spawn");
        spawned.input.write_all(b"hello\n".to_vec()).await.0.expect("write");
        let (count, bytes) = spawned.output.read(Vec::new()).await;
        assert_eq!((count.expect("read"), bytes.as_slice()), (6, b"hello\n".as_slice()));
        let (count, bytes) = spawned.errors.read(Vec::new()).await;
        assert_eq!((count.expect("read"), bytes.as_slice()), (5, b"oops\n".as_slice()));
        spawned.input.close().await;
        spawned.child.stop(Duration::from_secs(5)).await;
        // The background sleep held the error socket open; it ends with the group.
        let (count, _) = spawned.errors.read(Vec::new()).await;
        assert_eq!(count.expect("read"), 0);
    });
}

/// Whoever wakes a task of a shard that has ended would drop it, and its wait with it, while the
/// mailbox is locked.
#[test]
fn sending_to_a_task_of_a_shard_that_has_ended_holds_nobody_up() {
    for driver in [Driver::Epoll, Driver::UringPlain] {
        let (sender, mut receiver) = mailbox::channel::<u32>(4);
        let shard = std::thread::spawn(move || {
            runtime::block_on(driver, async move {
                task::spawn(async move {
                    receiver.next().await;
                });
                time::sleep(Duration::from_millis(1)).await;
            })
        });
        if shard.join().expect("the shard ends").is_err() {
            continue; // A kernel that forbids io_uring: epoll was tried before.
        }
        let (done, sent) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            // Whether it is still taken or refused is all one: nobody will read it.
            let _ = sender.send(1);
            drop(sender);
            let _ = done.send(());
        });
        let outcome = sent.recv_timeout(Duration::from_secs(20));
        assert_eq!(outcome, Ok(()), "on {driver}");
    }
}
