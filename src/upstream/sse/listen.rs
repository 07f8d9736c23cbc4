//! Listening to what an upstream over HTTP+SSE says by itself: it comes by the one stream that there
//! is.

use std::rc::Rc;

use net::client::Deadline;

use super::SseLeg;
use crate::{
    failure::Failure,
    upstream::{
        Answer, Event,
        discover::plain,
        keyed::SessionKey,
        watch::{Deaf, Ear, Told, WITHIN, attend, can_subscribe},
    },
};

impl SseLeg {
    /// Listens to what the upstream says by itself, until its stream ends. The leg should serve nothing
    /// else, since its session is subscribed to resources.
    ///
    /// # Errors
    ///
    /// Why it ended, or did not begin: try again later.
    pub async fn watch(&self, ear: &Rc<Ear>) -> Result<Deaf, Failure> {
        let link = self.0.link(&SessionKey::default(), Deadline::after(WITHIN)).await?;
        *link.ear.borrow_mut() = Some(ear.clone());
        ear.hear(Told::Began);
        let subscribes = can_subscribe(&link.initialize_result.borrow());
        let ask = async |method: &'static str, params: String| {
            let outgoing = plain(method, params.as_bytes(), WITHIN);
            let answer = self.0.call(&link, &outgoing, Deadline::after(WITHIN)).await?;
            let Answer::Stream(mut stream) = answer else { return Ok(()) };
            while !matches!(stream.next().await?, Event::Reply(_)) {}
            Ok(())
        };
        Err(match link.gone.unless(Box::pin(attend(ear, subscribes, ask))).await {
            Some(failure) => failure,
            None => {
                let ended = link.ended.borrow().clone();
                Failure::Upstream(ended.expect("the gate opens behind the reason"))
            }
        })
    }
}
