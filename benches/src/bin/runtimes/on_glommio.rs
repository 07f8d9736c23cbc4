//! The bare loop on glommio.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::thread;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutorPoolBuilder, PoolPlacement};

use crate::answer::Answer;

/// A read takes this much at once.
const READ_SIZE: usize = 8 * 1024;

/// Serves until the process ends.
///
/// # Errors
///
/// When the kernel refuses a ring or the port is taken.
pub fn serve(address: SocketAddr) -> io::Result<()> {
    let core_count = thread::available_parallelism()?.get();
    let threads = LocalExecutorPoolBuilder::new(PoolPlacement::MaxSpread(core_count, None))
        .on_all_shards(move || accept(address))
        .map_err(|error| io::Error::other(error.to_string()))?;
    for ended in threads.join_all() {
        ended.map_err(|error| io::Error::other(error.to_string()))??;
    }
    Ok(())
}

async fn accept(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    let answer = Rc::new(Answer::new());
    loop {
        let stream = listener.accept().await?;
        stream.set_nodelay(true)?;
        glommio::spawn_local(converse(stream, Rc::clone(&answer))).detach();
    }
}

/// Answers on one connection until it breaks, closes or asks for something else.
async fn converse(mut stream: TcpStream, answer: Rc<Answer>) {
    let mut piece = vec![0; READ_SIZE];
    let mut unread = Vec::new();
    let mut out = Vec::new();
    loop {
        let Ok(size @ 1..) = stream.read(&mut piece).await else { return };
        unread.extend_from_slice(&piece[..size]);
        let Ok(used) = answer.answer_all(&unread, &mut out) else { return };
        unread.drain(..used);
        if stream.write_all(&out).await.is_err() {
            return;
        }
        out.clear();
    }
}
