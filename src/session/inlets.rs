//! Where messages of clients arrive that come by other connections than their stream (HTTP+SSE).
//!
//! A stream stays on the shard that it was opened on. Its address is sealed into what its client is
//! told, and whoever gets a message for it sends it there.

use std::{cell::RefCell, net::IpAddr, rc::Rc};

use ahash::AHashMap;
use serde::{Deserialize, Serialize};
use storage::{
    record::new_id,
    seal::Sealer,
    shared::{Bus, Reach},
};

use super::{ID_SIZE_MAX, INBOX, Letter, lost, parcels};
use crate::failure::Failure;

/// What addresses are sealed for.
const PURPOSE: &str = "mcp-message";

/// Whose a stream is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The user.
    pub email: String,
    /// What their token is good for ([`crate::auth::Caller::standing`]).
    pub standing: String,
    /// The virtual server that it is with; empty for everything.
    pub server_id: String,
}

/// Where messages for a stream go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    node: String,
    shard: usize,
    /// The key of its session.
    pub key: String,
    owner: Owner,
}

/// Takes a message for a stream, from that address.
pub type Take = Box<dyn Fn(Vec<u8>, IpAddr) -> Result<(), Failure>>;

/// The inlets of a shard. Clones share them.
#[derive(Clone, Default)]
pub struct Inlets(Rc<RefCell<AHashMap<Box<str>, Rc<Take>>>>);

/// An inlet that is open while this lives.
pub struct Inlet {
    inlets: Inlets,
    key: Box<str>,
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.inlets.0.borrow_mut().remove(&self.key);
    }
}

impl Address {
    /// The address of a new stream of this shard.
    pub(super) fn new(bus: &Bus, owner: Owner) -> Address {
        let (node, shard) = (bus.node_id().to_owned(), bus.shard_index());
        Address { node, shard, key: new_id(), owner }
    }

    /// Seals it into text that can stand in a query as it is.
    pub(super) fn seal(&self, sealer: &Sealer) -> String {
        let text = serde_json::to_vec(self).expect("an address is plain texts and a number");
        sealer.seal_for(PURPOSE, text)
    }

    /// Opens one.
    ///
    /// # Errors
    ///
    /// Status 404 if it is none of ours, or somebody else's.
    pub(super) fn open(id: &str, sealer: &Sealer, sender: &Owner) -> Result<Address, Failure> {
        let sealed = Some(id).filter(|id| id.len() <= ID_SIZE_MAX);
        let opened = sealed.and_then(|id| sealer.open_for(PURPOSE, id).ok());
        let address = opened.and_then(|text| serde_json::from_slice::<Address>(&text).ok());
        address.filter(|address| address.owner == *sender).ok_or_else(lost)
    }
}

impl Inlets {
    /// Opens an inlet for the stream `key`.
    pub fn open(&self, key: &str, take: Take) -> Inlet {
        self.0.borrow_mut().insert(key.into(), Rc::new(take));
        Inlet { inlets: self.clone(), key: key.into() }
    }

    /// Hands a message to a stream of this shard.
    ///
    /// # Errors
    ///
    /// Status 404 if it is not open any more; what the stream answers else.
    pub(super) fn hand(&self, key: &str, message: Vec<u8>, ip: IpAddr) -> Result<(), Failure> {
        let take = self.0.borrow().get(key).cloned();
        take.ok_or_else(lost)?(message, ip)
    }

    /// Sends a message to a stream, wherever it is. A stream of another shard that ended meanwhile
    /// loses it, as it would on its way out.
    ///
    /// # Errors
    ///
    /// As [`Inlets::hand`]; [`Failure::Busy`] if the bus carries nothing now.
    pub(super) async fn send(
        &self,
        bus: &Bus,
        address: &Address,
        message: &[u8],
        ip: IpAddr,
    ) -> Result<(), Failure> {
        let Address { node, shard, key, .. } = address;
        if node == bus.node_id() && *shard == bus.shard_index() {
            return self.hand(key, message.to_vec(), ip);
        }
        let letter = Letter::Message { key, ip, message }.write();
        let send = async |part: &[u8]| bus.send(INBOX, node, *shard, part).await;
        match parcels::send(&letter, send).await {
            Ok(Reach::Nobody) => Err(lost()),
            Ok(Reach::Somebody | Reach::Unknown) => Ok(()),
            Err(error) => Err(Failure::Busy(format!("The stream cannot be reached: {error}"))),
        }
    }
}
