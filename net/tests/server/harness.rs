//! A server with a small service on a thread of its own, and a client that blocks.

use std::{
    cell::Cell,
    future::Future,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    pin::Pin,
    rc::Rc,
    sync::mpsc,
    thread::JoinHandle,
    time::Duration,
};

use net::{
    connection::Connection,
    http1::{
        HeadLimits,
        server::{self, BodyStream, Limits, Request, Responder, Service, Takeover},
    },
};
use shards::{
    Driver, Listener, Preference, driver, local::Gate, mailbox, runtime, task, tcp, time, watch,
};

/// Longer than any test takes.
pub const AGES: Duration = Duration::from_secs(20);

/// What the server tells the test.
pub type Events = mpsc::Receiver<String>;

/// A running server; ends when dropped.
pub struct Server {
    address: SocketAddr,
    orders: Option<mailbox::Sender<Order>>,
    pub events: Events,
    thread: Option<JoinHandle<()>>,
}

/// What the test tells the server.
enum Order {
    /// Let one request on `/slow` go on.
    Release,
    /// Finish what is in flight and end.
    Drain,
}

/// Bounds that no test meets by accident.
pub fn limits() -> Limits {
    Limits {
        head: HeadLimits { head_size_max: 2048, ..HeadLimits::default() },
        first_byte_within: AGES,
        head_within: AGES,
        body_within: AGES,
        idle_within: AGES,
        write_within: AGES,
    }
}

/// Runs `test` against a server on each driver.
pub fn on_each_driver(limits: &Limits, test: impl Fn(&Server)) {
    let best = driver::choose(Preference::Auto).unwrap().driver;
    let mut drivers = vec![Driver::Epoll];
    drivers.extend(Some(best).filter(|best| *best != Driver::Epoll));
    for driver in drivers {
        println!("driver: {driver}");
        test(&Server::start(driver, limits.clone()));
    }
}

impl Server {
    fn start(driver: Driver, limits: Limits) -> Server {
        let socket = tcp::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        let address = socket.local_addr();
        let (orders, received) = mailbox::channel(16);
        let (told, events) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let listener = move || Listener::new(socket).unwrap();
            let life = async move { live(listener(), limits, received, told).await };
            runtime::block_on(driver, life).unwrap();
        });
        Server { address, orders: Some(orders), events, thread: Some(thread) }
    }

    pub fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(AGES)).unwrap();
        Client { stream, input: Vec::new() }
    }

    /// Lets one request on `/slow` go on.
    pub fn release(&self) {
        self.order(Order::Release);
    }

    /// Has the server finish what is in flight and end.
    pub fn drain(&self) {
        self.order(Order::Drain);
    }

    /// Waits until the server told of `event`.
    #[track_caller]
    pub fn expect(&self, event: &str) {
        assert_eq!(self.events.recv_timeout(AGES).as_deref(), Ok(event));
    }

    fn order(&self, order: Order) {
        let orders = self.orders.as_ref().expect("it is taken only by the drop");
        assert!(orders.send(order).is_ok(), "the server is gone");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Without a sender the server ends.
        self.orders = None;
        let ended = self.thread.take().map(JoinHandle::join);
        if let Some(Err(panic)) = ended
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

async fn live(
    listener: Listener,
    limits: Limits,
    mut orders: mailbox::Receiver<Order>,
    told: mpsc::Sender<String>,
) {
    let draining = Rc::new(Gate::default());
    let (release, released) = mailbox::channel(16);
    let released = Rc::new(shared::Shared::new(released));
    let gate = draining.clone();
    let obeying = task::spawn(async move {
        while let Some(order) = orders.next().await {
            match order {
                Order::Release => assert!(release.send(()).is_ok()),
                Order::Drain => gate.open(),
            }
        }
        gate.open();
    });
    let count = Rc::new(Cell::new(0_usize));
    let take = |stream, peer| {
        count.set(count.get() + 1);
        let (count, limits) = (count.clone(), limits.clone());
        let service =
            Kit { draining: draining.clone(), released: released.clone(), told: told.clone() };
        task::spawn(async move {
            let mut connection = Connection::Tcp(stream);
            server::serve(&mut connection, peer, &service, &limits).await;
            count.set(count.get() - 1);
        });
    };
    listener.accept_until(&draining, take, |error| panic!("{error}")).await;
    let started = time::Instant::now();
    while count.get() > 0 && started.elapsed() < Duration::from_secs(5) {
        watch::stop_idle();
        time::sleep(Duration::from_millis(5)).await;
    }
    let _ = told.send("drained".to_owned());
    // The shard outlives its mailbox: nobody sends to a shard that has ended.
    obeying.join().await.expect("it does not panic");
}

/// Receiving from one mailbox in several tasks of one shard, one after the other.
mod shared {
    use std::cell::RefCell;

    use shards::{local::Turns, mailbox};

    pub struct Shared {
        turns: Turns,
        receiver: RefCell<Option<mailbox::Receiver<()>>>,
    }

    impl Shared {
        pub fn new(receiver: mailbox::Receiver<()>) -> Shared {
            Shared { turns: Turns::new(1), receiver: RefCell::new(Some(receiver)) }
        }

        pub async fn next(&self) {
            let _turn = self.turns.take().await;
            let mut receiver = Lent { shared: self, receiver: self.receiver.take() };
            if let Some(receiver) = &mut receiver.receiver {
                receiver.next().await;
            }
        }
    }

    struct Lent<'a> {
        shared: &'a Shared,
        receiver: Option<mailbox::Receiver<()>>,
    }

    impl Drop for Lent<'_> {
        fn drop(&mut self) {
            *self.shared.receiver.borrow_mut() = self.receiver.take();
        }
    }
}

/// The service: what it does stands in the path.
struct Kit {
    draining: Rc<Gate>,
    released: Rc<shared::Shared>,
    told: mpsc::Sender<String>,
}

impl Service for Kit {
    type Permit = ();

    fn admit(&self, request: &Request<'_>, responder: &mut Responder) -> Option<((), u64)> {
        match request.path() {
            "/refuse" => {
                say(responder, 403, "not you");
                None
            }
            "/small" => Some(((), 10)),
            _ => Some(((), 1 << 20)),
        }
    }

    async fn answer(&self, (): (), request: &Request<'_>, body: &[u8], responder: &mut Responder) {
        match request.path() {
            "/panic" => panic!("a bug of the service"),
            "/nothing" => {}
            "/slow" => {
                let _ = self.told.send("slow".to_owned());
                self.released.next().await;
                say(responder, 200, "at last");
                let _ = self.told.send("finished".to_owned());
            }
            "/cancel" => {
                responder.cancel_on_disconnect();
                let _cancelled = Cancelled(self.told.clone());
                let _ = self.told.send("waiting".to_owned());
                std::future::pending::<()>().await;
            }
            "/stream" => {
                responder.begin(200);
                responder.finish_stream(Box::new(Pieces(vec!["three", "two", "one"])));
            }
            "/upgrade" => {
                responder.begin(101);
                responder.lines("upgrade: echo\r\nconnection: Upgrade\r\n");
                responder.finish_takeover(Box::new(Echo));
            }
            path => {
                let text = format!("{path} {}", String::from_utf8_lossy(body));
                say(responder, 200, &text);
            }
        }
    }

    fn refuse(&self, status: u16, message: &str, responder: &mut Responder) {
        say(responder, status, message);
    }

    fn draining(&self) -> bool {
        self.draining.is_open()
    }
}

fn say(responder: &mut Responder, status: u16, text: &str) {
    responder.begin(status);
    responder.header("content-type", b"text/plain");
    responder.finish(&[text.as_bytes()]);
}

/// Tells when what waits is dropped.
struct Cancelled(mpsc::Sender<String>);

impl Drop for Cancelled {
    fn drop(&mut self) {
        let _ = self.0.send("cancelled".to_owned());
    }
}

/// A body in pieces, the last first.
struct Pieces(Vec<&'static str>);

impl BodyStream for Pieces {
    fn next<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Pin<Box<dyn Future<Output = bool> + 'a>> {
        Box::pin(async move {
            // So that each is a write of its own.
            time::sleep(Duration::from_millis(1)).await;
            out.extend(self.0.pop().unwrap_or_default().bytes());
            !self.0.is_empty()
        })
    }
}

/// Says again what it hears, until the peer says no more.
struct Echo;

impl Takeover for Echo {
    fn run<'a>(
        self: Box<Self>,
        connection: &'a mut Connection,
        early: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(async move {
            let mut heard = early;
            loop {
                connection.write_all(heard).await.0.expect("the peer listens");
                heard = connection.receive().await.expect("the connection is good");
                if heard.is_empty() {
                    break;
                }
            }
        })
    }
}

/// A connection to the server.
pub struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

/// An answer as it came.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// The head in small letters.
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn closes(&self) -> bool {
        self.head.contains("\r\nconnection: close\r\n")
    }
}

impl Client {
    pub fn send(&mut self, text: impl AsRef<[u8]>) -> &mut Client {
        self.stream.write_all(text.as_ref()).expect("the server reads");
        self
    }

    /// Says that nothing more comes.
    pub fn end(&mut self) -> &mut Client {
        self.stream.shutdown(Shutdown::Write).unwrap();
        self
    }

    /// Reads one answer whose body has the length that its head says.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let length = answer.head.split("content-length: ").nth(1).expect("a length");
        let size = length.split("\r\n").next().unwrap().parse().unwrap();
        while self.input.len() < size {
            assert!(self.read() > 0, "the body broke off");
        }
        answer.body = String::from_utf8(self.input.drain(..size).collect()).unwrap();
        answer
    }

    /// Reads the head of an answer.
    #[track_caller]
    pub fn head(&mut self) -> Answer {
        let end = loop {
            let found = self.input.windows(4).position(|window| window == b"\r\n\r\n");
            match found {
                Some(place) => break place + 4,
                None => assert!(self.read() > 0, "closed within {:?}", self.text()),
            }
        };
        let head: Vec<u8> = self.input.drain(..end).collect();
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: String::new() }
    }

    /// Reads to the end of the connection; what came is text.
    #[track_caller]
    pub fn rest(&mut self) -> String {
        while self.read() > 0 {}
        let text = self.text();
        self.input.clear();
        text
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.input).into_owned()
    }

    #[track_caller]
    fn read(&mut self) -> usize {
        let mut bytes = [0; 4096];
        let count = loop {
            match self.stream.read(&mut bytes) {
                // A stop of the whole process by its debugger or shell.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => break outcome.expect("an answer or the end, not a reset"),
            }
        };
        self.input.extend_from_slice(&bytes[..count]);
        count
    }
}

/// A request without a body.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")
}

/// A request with a body.
pub fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// The head of a request whose body comes in chunks.
pub fn chunked(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
}
