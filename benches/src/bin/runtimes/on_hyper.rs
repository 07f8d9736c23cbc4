//! The bare loop on tokio's pool of threads, with hyper for HTTP.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::answer::Answer;

/// Serves until the process ends.
///
/// # Errors
///
/// When the port is taken.
pub fn serve(address: SocketAddr) -> io::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_io().build()?.block_on(accept(address))
}

async fn accept(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let answer = Arc::new(Answer::new());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(converse(stream, Arc::clone(&answer)));
    }
}

/// Answers on one connection until it breaks or closes.
async fn converse(stream: TcpStream, answer: Arc<Answer>) {
    let service = service_fn(move |request| respond(request, Arc::clone(&answer)));
    // A connection that breaks is the load generator's to count.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn respond(
    request: Request<Incoming>,
    answer: Arc<Answer>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let message = request.into_body().collect().await.map(|body| body.to_bytes());
    let body = message.ok().and_then(|message| answer.body_of(&message).ok());
    let is_refused = body.is_none();
    let mut response = Response::new(Full::new(Bytes::from(body.unwrap_or_default())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if is_refused {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    Ok(response)
}
