//! Listening to what an upstream says by itself: it comes by the one connection that there is.

use std::rc::Rc;

use net::client::Deadline;
use storage::record::Era;

use super::{Link, LinkLeg, Ticket};
use crate::{
    failure::{Failure, UpstreamKind},
    upstream::{
        Event,
        discover::plain,
        http::Call,
        keyed::SessionKey,
        watch::{
            AGES, Deaf, Ear, First, Told, WITHIN, attend, can_subscribe, first_of, knows_none,
            listen_params,
        },
    },
};

impl LinkLeg {
    /// Listens to what the upstream says by itself, until its connection ends. The leg should serve
    /// nothing else, since its session is subscribed to resources.
    ///
    /// # Errors
    ///
    /// Why it ended, or did not begin: try again later.
    pub async fn watch(&self, ear: &Rc<Ear>) -> Result<Deaf, Failure> {
        let link = self.0.link(&SessionKey::default(), Deadline::after(WITHIN)).await?;
        *link.ear.borrow_mut() = Some(ear.clone());
        ear.hear(Told::Began);
        let heard = async {
            match link.era {
                Era::Legacy => Err(self.attend(&link, ear).await),
                Era::Modern => self.subscribe(&link, ear).await,
            }
        };
        link.gone.unless(Box::pin(heard)).await.unwrap_or_else(|| {
            let ended = link.ended.borrow().clone();
            Err(Failure::Upstream(ended.expect("the gate opens behind the reason")))
        })
    }

    async fn attend(&self, link: &Rc<Link>, ear: &Ear) -> Failure {
        let subscribes = can_subscribe(&link.initialize_result.borrow());
        let ask = async |method: &'static str, params: String| {
            self.0.ask(link, &plain(method, params.as_bytes(), WITHIN)).await
        };
        attend(ear, subscribes, ask).await
    }

    /// Keeps a subscription of the stateless revision open. Its request is answered when it ends.
    async fn subscribe(&self, link: &Rc<Link>, ear: &Ear) -> Result<Deaf, Failure> {
        let mut former = None;
        loop {
            let uris = ear.uris();
            let params = listen_params(&uris);
            let outgoing = plain("subscriptions/listen", params.as_bytes(), AGES);
            let call = Call::multiplexed(self.0.new_id(), &outgoing, Era::Modern);
            let deadline = Deadline::after(AGES);
            let mut ticket = Ticket::new(link, &call, deadline)?;
            link.send_call(&call, deadline).await?;
            // Once the new one is asked for, dropping the former cancels it.
            drop(former.take());
            match first_of(ticket.wait(), ear.others_than(&uris)).await {
                First::One(Ok(Event::Reply(reply))) if knows_none(&reply) => return Ok(Deaf),
                First::One(Ok(_)) => {
                    let (kind, detail) = (UpstreamKind::Broken, "its subscription ended");
                    return Err(link.wire.failure(kind, detail, false));
                }
                First::One(Err(failure)) => return Err(failure),
                First::Other(()) => former = Some(ticket),
            }
        }
    }
}
