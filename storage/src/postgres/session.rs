//! A logged-in connection: statements, alone and in rows, each within its time.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::{TryStreamExt, future};
use shards::time;

use tokio_postgres::{Client, Error, Row, Statement};

use super::failure::{ends_connection, failed, refusal, say};
use super::hub::Hub;
use super::param::Param;
use crate::error::StoreError;
use crate::write::Refusal;

/// Statements that a connection keeps prepared. About 60 are used.
const STATEMENT_COUNT_MAX: usize = 128;

/// How long after the server's own bound a statement is given up on this side: it then stands
/// still, or the network between does.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long an undoing or a sign of life may take before the connection is thrown away instead.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A transaction that reads, at one point of time.
const READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// A transaction that writes. The row of the feed that it locks first puts writers in order, and
/// each statement then sees what the writer before committed.
const WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE";

/// A logged-in connection.
pub(super) struct Session {
    client: Client,
    statements: RefCell<HashMap<String, Statement>>,
    hub: Arc<Hub>,
    /// How long the answers to what is sent at once may take.
    within: Cell<Duration>,
    is_in_transaction: Cell<bool>,
    is_spoilt: Cell<bool>,
}

/// One statement to run.
pub(super) struct Call<'a> {
    pub sql: &'a str,
    pub params: Vec<Param<'a>>,
}

/// What came of it.
pub(super) struct Reply {
    pub rows: Vec<Row>,
    /// How many rows were written, if any could be.
    pub count: u64,
}

impl Session {
    pub fn new(client: Client, hub: Arc<Hub>) -> Session {
        let within = hub.bounds.statement_timeout + PATIENCE;
        Session {
            client,
            statements: RefCell::default(),
            hub,
            within: Cell::new(within),
            is_in_transaction: Cell::new(false),
            is_spoilt: Cell::new(false),
        }
    }

    /// Gives the session its bounds, where it has a life of its own.
    pub async fn prepare(&self) -> Result<(), StoreError> {
        match self.hub.url.is_pooled() {
            true => Ok(()),
            false => self.batch("setting up a session", &settings(&self.hub, "SET")).await,
        }
    }

    /// Bounds what is sent from now on.
    pub fn set_patience(&self, within: Duration) {
        self.within.set(within);
    }

    /// Whether the connection must not be used again.
    pub fn is_spoilt(&self) -> bool {
        self.is_spoilt.get() || self.client.is_closed()
    }

    /// Reads by statements that do not depend on each other, at one point of time: one way to the
    /// server and back.
    pub async fn read(
        &self,
        doing: &'static str,
        calls: &[Call<'_>],
    ) -> Result<Vec<Reply>, StoreError> {
        self.fly(doing, Some(READ), calls, true).await?.landed(self, doing)
    }

    /// Begins a transaction that reads everything at one point of time, with its first statements.
    pub async fn begin_reading(
        &self,
        doing: &'static str,
        calls: &[Call<'_>],
    ) -> Result<Vec<Reply>, StoreError> {
        self.fly(doing, Some(READ), calls, false).await?.landed(self, doing)
    }

    /// Ends a transaction that only read, with its last statements.
    pub async fn end_reading(
        &self,
        doing: &'static str,
        calls: &[Call<'_>],
    ) -> Result<Vec<Reply>, StoreError> {
        self.fly(doing, None, calls, true).await?.landed(self, doing)
    }

    /// Begins a transaction that writes, with its first statements.
    pub async fn begin_writing(
        &self,
        doing: &'static str,
        calls: &[Call<'_>],
    ) -> Result<Vec<Reply>, StoreError> {
        self.fly(doing, Some(WRITE), calls, false).await?.landed(self, doing)
    }

    /// Commits what was written, with its last statements.
    ///
    /// # Errors
    ///
    /// [`StoreError::Uncertain`] if the answer to the commit did not come; else nothing was
    /// written.
    pub async fn commit(
        &self,
        doing: &'static str,
        calls: &[Call<'_>],
    ) -> Result<Vec<Reply>, StoreError> {
        let flight = match self.fly(doing, None, calls, true).await {
            Ok(flight) => flight,
            Err(error) if self.is_spoilt() => {
                return Err(StoreError::Uncertain { reason: error.to_string() });
            }
            Err(error) => return Err(error),
        };
        // A statement that the server refused makes the commit an undoing. Where the connection
        // ended instead, the server may have come as far as the commit.
        let reason = match flight.first_error() {
            Some(error) if ends_connection(error) => say(error),
            _ => return flight.landed(self, doing),
        };
        let _ = flight.landed(self, doing);
        Err(StoreError::Uncertain { reason })
    }

    /// Undoes what was begun and not ended. Afterwards the session is as new, or spoilt.
    pub async fn tidy(&self) {
        if self.is_spoilt() || !self.is_in_transaction.get() {
            return;
        }
        let undone = time::timeout(ANSWER_WITHIN, self.client.batch_execute("ROLLBACK")).await;
        match undone {
            Ok(Ok(())) => self.is_in_transaction.set(false),
            _ => self.is_spoilt.set(true),
        }
    }

    /// Whether the server still answers.
    pub async fn answers(&self) -> bool {
        let answer = time::timeout(ANSWER_WITHIN, self.client.batch_execute("")).await;
        let answers = matches!(answer, Ok(Ok(())));
        if !answers {
            self.is_spoilt.set(true);
        }
        answers
    }

    /// Runs statements without parameters, of our own making.
    pub async fn batch(&self, doing: &'static str, sql: &str) -> Result<(), StoreError> {
        let done = self.bounded(doing, self.client.batch_execute(sql)).await?;
        done.map_err(|error| self.failed(doing, &error))
    }

    /// Runs one statement.
    pub async fn call(&self, doing: &'static str, call: Call<'_>) -> Result<Reply, StoreError> {
        let mut replies = self.all(doing, &[call]).await?;
        Ok(replies.pop().expect("each call has its reply"))
    }

    /// Runs statements that do not depend on each other, of which none may fail.
    pub async fn all(
        &self,
        doing: &'static str,
        calls: &[Call<'_>],
    ) -> Result<Vec<Reply>, StoreError> {
        self.fly(doing, None, calls, false).await?.landed(self, doing)
    }

    /// Runs statements that do not depend on each other; each has its own outcome.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if they could not be prepared or did not end in time.
    pub async fn pipeline(
        &self,
        doing: &'static str,
        calls: &[Call<'_>],
    ) -> Result<Vec<Result<Reply, Error>>, StoreError> {
        Ok(self.fly(doing, None, calls, false).await?.replies)
    }

    /// Sends everything before it reads the first answer: what begins a transaction, statements,
    /// and what ends it. The answers come in that order.
    async fn fly(
        &self,
        doing: &'static str,
        begin: Option<&str>,
        calls: &[Call<'_>],
        is_end: bool,
    ) -> Result<Flight, StoreError> {
        let figures = &self.hub.figures;
        let start = Instant::now();
        let prepared = self.prepared(doing, calls).await?;
        if begin.is_some() {
            self.is_in_transaction.set(true);
        }
        let begin = begin.map(|begin| self.begin_sql(begin));
        let runs = calls.iter().zip(&prepared).map(|(call, statement)| self.run(call, statement));
        // The first poll of each sends what it has to send, in this order.
        let answers = future::join3(
            self.plain(begin.as_deref()),
            in_order(runs),
            self.plain(is_end.then_some("COMMIT")),
        );
        let outcome = self.bounded(doing, answers).await;
        figures.queries.fetch_add(calls.len() as u64, Relaxed);
        figures.query_us.fetch_add(start.elapsed().as_micros() as u64, Relaxed);
        let (begun, replies, ended) = outcome?;
        if is_end && ended.is_ok() {
            self.is_in_transaction.set(false);
        }
        Ok(Flight { begun, replies, ended })
    }

    async fn plain(&self, sql: Option<&str>) -> Result<(), Error> {
        match sql {
            Some(sql) => self.client.batch_execute(sql).await,
            None => Ok(()),
        }
    }

    fn begin_sql(&self, begin: &str) -> String {
        match self.hub.url.is_pooled() {
            true => format!("{begin}; {}", settings(&self.hub, "SET LOCAL")),
            false => begin.to_owned(),
        }
    }

    /// The error of a statement; notes what it does to the connection.
    pub fn failed(&self, doing: &'static str, error: &Error) -> StoreError {
        self.spoil_by(error);
        failed(doing, self.hub.bounds.statement_timeout, error)
    }

    /// Why a statement of a transaction was refused; notes what that does to the connection.
    pub fn refusal(&self, error: &Error) -> Refusal {
        self.spoil_by(error);
        refusal(self.hub.bounds.statement_timeout, error)
    }

    /// Notes what an error does to the connection.
    fn spoil_by(&self, error: &Error) {
        self.hub.figures.errors.fetch_add(1, Relaxed);
        if ends_connection(error) {
            self.is_spoilt.set(true);
        }
    }

    /// The prepared statements of the calls, each prepared once; none behind a pooler.
    async fn prepared(
        &self,
        doing: &'static str,
        calls: &[Call<'_>],
    ) -> Result<Vec<Option<Statement>>, StoreError> {
        if self.hub.url.is_pooled() {
            return Ok(vec![None; calls.len()]);
        }
        let missing = self.missing(calls);
        let preparing = missing.iter().map(|sql| self.client.prepare(sql));
        for (sql, statement) in missing.iter().zip(self.bounded(doing, in_order(preparing)).await?)
        {
            let statement = statement.map_err(|error| self.failed(doing, &error))?;
            self.statements.borrow_mut().insert((*sql).to_owned(), statement);
        }
        let statements = self.statements.borrow();
        Ok(calls.iter().map(|call| statements.get(call.sql).cloned()).collect())
    }

    /// The statements that were not prepared yet.
    fn missing<'c>(&self, calls: &[Call<'c>]) -> Vec<&'c str> {
        let mut statements = self.statements.borrow_mut();
        if statements.len() + calls.len() > STATEMENT_COUNT_MAX {
            // Many calls have few statements; only should they be many indeed, start anew.
            if statements.len() > STATEMENT_COUNT_MAX {
                statements.clear();
            }
        }
        let mut missing: Vec<&str> = Vec::new();
        for call in calls {
            if !statements.contains_key(call.sql) && !missing.contains(&call.sql) {
                missing.push(call.sql);
            }
        }
        missing
    }

    async fn run(&self, call: &Call<'_>, statement: &Option<Statement>) -> Result<Reply, Error> {
        let rows = match statement {
            Some(statement) => self.client.query_raw(statement, &call.params).await?,
            None => {
                let params = call.params.iter().map(|param| (param, param.type_of()));
                self.client.query_typed_raw(call.sql, params).await?
            }
        };
        let mut rows = pin!(rows);
        let mut found = Vec::new();
        while let Some(row) = rows.as_mut().try_next().await? {
            found.push(row);
        }
        Ok(Reply { rows: found, count: rows.rows_affected().unwrap_or(0) })
    }

    /// Waits for answers, for no longer than they may take.
    async fn bounded<F: Future>(
        &self,
        doing: &'static str,
        answers: F,
    ) -> Result<F::Output, StoreError> {
        let within = self.within.get();
        time::timeout(within, answers).await.map_err(|_| {
            self.hub.figures.errors.fetch_add(1, Relaxed);
            self.is_spoilt.set(true);
            StoreError::TimedOut { doing, within }
        })
    }
}

/// What came of what was sent at once.
struct Flight {
    begun: Result<(), Error>,
    replies: Vec<Result<Reply, Error>>,
    ended: Result<(), Error>,
}

impl Flight {
    fn first_error(&self) -> Option<&Error> {
        let replies = self.replies.iter().filter_map(|reply| reply.as_ref().err());
        self.begun.as_ref().err().into_iter().chain(replies).chain(self.ended.as_ref().err()).next()
    }

    /// The replies, if nothing failed; else what failed first, which is the cause of the rest.
    fn landed(self, session: &Session, doing: &'static str) -> Result<Vec<Reply>, StoreError> {
        let replies: Result<Vec<Reply>, Error> = self.replies.into_iter().collect();
        let landed = self.begun.and(replies).and_then(|replies| self.ended.map(|()| replies));
        landed.map_err(|error| session.failed(doing, &error))
    }
}

/// The bounds that the server keeps. An idle transaction is one whose gateway stands still: it must
/// not hold the feed's lock against the others.
fn settings(hub: &Hub, set: &str) -> String {
    let bounds = &hub.bounds;
    format!(
        "{set} statement_timeout = {statement}; {set} lock_timeout = {lock}; \
         {set} idle_in_transaction_session_timeout = {statement}",
        statement = millis(bounds.statement_timeout),
        lock = millis(bounds.lock_timeout),
    )
}

/// At least one, since PostgreSQL takes nothing for no bound; at most what it takes.
fn millis(duration: Duration) -> u128 {
    duration.as_millis().clamp(1, i32::MAX as u128)
}

/// Polls each future once in order, which sends what it has to send, then awaits them in order.
async fn in_order<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    let mut is_begun = false;
    let mut next = 0;
    poll_fn(move |context| {
        if !is_begun {
            is_begun = true;
            for (future, output) in futures.iter_mut().zip(&mut outputs) {
                if let Poll::Ready(value) = future.as_mut().poll(context) {
                    *output = Some(value);
                }
            }
        }
        while next < futures.len() {
            if outputs[next].is_none() {
                match futures[next].as_mut().poll(context) {
                    Poll::Ready(value) => outputs[next] = Some(value),
                    Poll::Pending => return Poll::Pending,
                }
            }
            next += 1;
        }
        Poll::Ready(outputs.drain(..).map(|output| output.expect("all are done")).collect())
    })
    .await
}
