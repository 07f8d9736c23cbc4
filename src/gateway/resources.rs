//! Resources: whose one is, reading it, and completing what is left open of its URI.

use std::sync::Arc;

use net::jsonrpc::{self, Param};
use shards::time;
use storage::record::{Entity, Ownership};

use super::{
    Call, absent, discreet, guard::Thing, needed, permit, quoted, rounds, sending, text_of, unknown,
};
use crate::{
    auth::access::Object,
    catalog::{Seen, Upstream},
    failure::{Failure, ProtocolError},
    mcp::{Era, code},
    own,
    permission::Permission,
    reply::Reply,
    route::{self, Found, Resources},
    upstream::{Answer, Edit, Event, Outcome, Relay, Reply as UpstreamReply},
};

/// What completes an argument of our own prompts and templates: nothing is known of their values.
const NO_COMPLETION: &[u8] = br#"{"completion":{"values":[],"total":0,"hasMore":false}}"#;

impl<R: Relay> Call<'_, R> {
    /// The resources that the caller may read.
    pub(super) fn resources(&self) -> Resources<'_> {
        let with = |view| Seen { view, sees: self.reads };
        let (seen, away) = (with(self.seen.view), with(self.away.view));
        Resources { catalog: self.parts.catalog, seen, away }
    }

    /// What `find` finds among the resources that the caller may read, or else among those that it
    /// knows of.
    fn find<'c, 'u>(
        &'c self,
        find: impl Fn(Resources<'c>) -> Option<Found<'c, 'u>>,
    ) -> Option<Found<'c, 'u>> {
        let known = Resources { catalog: self.parts.catalog, seen: self.seen, away: self.away };
        find(self.resources()).or_else(|| find(known))
    }

    /// Whose the resource at `uri` is, if there is one or an upstream that may have it.
    pub(super) fn readable(&self, uri: &str) -> Option<&Ownership> {
        let found = self.find(|resources| resources.find(uri)).filter(|found| !found.is_away)?;
        let upstream = found.upstream.map(|upstream| &upstream.record.ownership);
        found.entry.map(|entry| &entry.record.ownership).or(upstream)
    }

    /// Reads a resource.
    pub(super) async fn resource(&self) -> Result<Reply, Failure> {
        let uri = self.name(Param::Uri, "uri")?;
        let Some(found) = self.find(|resources| resources.find(&uri)) else {
            return Box::pin(self.unlisted_resource(&uri)).await;
        };
        if let Some(entry) = found.own() {
            self.permit(Permission::ResourcesRead, &entry.record.ownership)?;
            self.guard(Thing::Resource(Some(entry), found.uri)).await?;
            let execution = self.begin(Entity::Resource, &entry.record.id);
            let result = own::resource::read(&entry.record, found.uri, &uri);
            self.parts.meters.end(&execution, true);
            return Ok(self.own_result(result, true));
        }
        let upstream = found.upstream.ok_or_else(|| self.no_such_resource(&uri))?;
        if found.is_away {
            return Err(absent(upstream));
        }
        let owned = found.entry.map_or(&upstream.record.ownership, |entry| &entry.record.ownership);
        self.permit(Permission::ResourcesRead, owned)?;
        self.guard(Thing::Resource(found.entry.map(|entry| &**entry), found.uri)).await?;
        let mut outgoing = self.outgoing(Param::Uri, &uri, found.uri);
        let id = found.entry.map_or("", |entry| &entry.record.id);
        let execution = self.begin(Entity::Resource, id);
        self.relay(upstream, &mut outgoing, true, Some(execution)).await
    }

    /// Reads what is listed nowhere, as links in results need not be: the upstreams are asked for it
    /// one after the other, until one has it.
    async fn unlisted_resource(&self, uri: &str) -> Result<Reply, Failure> {
        let reads = |upstream: &&_| {
            let upstream: &Upstream = upstream;
            self.request.caller.may(Permission::ResourcesRead, &upstream.record.ownership)
        };
        let candidates: Vec<_> =
            self.resources().candidates().into_iter().filter(|one| reads(&&***one)).collect();
        if !candidates.is_empty() {
            self.guard(Thing::Resource(None, uri)).await?;
        }
        let all = async {
            for upstream in candidates {
                if let Some(reply) = self.tried(upstream, uri).await {
                    return Some(reply);
                }
            }
            None
        };
        let found = time::timeout(self.parts.options.request_within, all).await;
        found.ok().flatten().unwrap_or_else(|| Err(self.no_such_resource(uri)))
    }

    /// What an upstream says of a resource that it may have; nothing if it has none, or cannot say.
    async fn tried(&self, upstream: &Arc<Upstream>, uri: &str) -> Option<Result<Reply, Failure>> {
        let mut outgoing = self.outgoing(Param::Uri, uri, uri);
        outgoing.client = self.session_owner(upstream);
        let reply = match self.parts.relay.request(upstream, &outgoing).await {
            Ok(answer) => last_of(answer).await,
            Err(failure) => Err(failure),
        };
        let reply = match reply {
            Ok(reply) => reply,
            Err(failure) => {
                let failure = discreet(upstream, failure);
                tracing::debug!(upstream = upstream.record.name, %failure, "it was not read there");
                return None;
            }
        };
        // Who asks something first would be asked by name.
        if reply.outcome == Outcome::Error || rounds::needs_input(&reply) {
            return None;
        }
        let execution = self.begin(Entity::Resource, "");
        self.parts.meters.end(&execution, true);
        let translation = self.translation(sending::is_modern(upstream), true);
        Some(translation.reply(reply, &upstream.record.name))
    }

    /// Completes an argument of a prompt or a template.
    pub(super) async fn completion(&self) -> Result<Reply, Failure> {
        let reads = [Permission::PromptsRead, Permission::ResourcesRead];
        if !reads.iter().any(|read| self.request.caller.may(*read, Object::Nothing)) {
            permit(self.request.caller, Permission::PromptsRead, Object::Nothing)?;
        }
        let raw = self.message.param(Param::Ref).filter(|raw| raw.starts_with('{'));
        let raw = raw.ok_or_else(|| needed("ref"))?;
        let places = jsonrpc::pick(raw, ["name", "uri"]).map_err(|error| {
            Failure::protocol(200, code::INVALID_PARAMS, format!("params.ref: {error}"))
        })?;
        let [name, uri] = places.map(|place| Some((place?, text_of(place?.of_text(raw))?)));
        let (place, text, referred) = match (&name, &uri) {
            (Some((place, name)), _) => (place, name, self.referred_prompt(name)?),
            (None, Some((place, uri))) => (place, uri, self.referred_template(uri)?),
            (None, None) => return Err(needed("ref.name or ref.uri")),
        };
        let Some((original, upstream)) = referred else {
            return Ok(self.own_result(NO_COMPLETION.to_vec(), false));
        };
        let mut outgoing = self.plain_outgoing();
        if original != text {
            let offset = raw.as_ptr() as usize - self.params().as_ptr() as usize;
            let replacement = quoted(original);
            outgoing.edits.push(Edit { span: place.shifted(offset), replacement });
        }
        self.relay(upstream, &mut outgoing, false, None).await
    }

    /// A prompt as its upstream knows it; nothing for one of our own.
    fn referred_prompt(&self, name: &str) -> Result<Option<Referred<'_>>, Failure> {
        let catalog = self.parts.catalog;
        if let Some((entry, upstream)) = route::prompt(catalog, self.seen, name) {
            return Ok(Some((&entry.record.original_name, upstream)));
        }
        if route::own_prompt(self.seen, name).is_some() {
            return Ok(None);
        }
        let away = route::prompt(catalog, self.away, name).map(|(_, upstream)| upstream);
        Err(unknown(away, || format!("Unknown reference: {name}")))
    }

    /// A template as its upstream knows it; nothing for one of our own.
    fn referred_template<'u>(&'u self, uri: &'u str) -> Result<Option<Referred<'u>>, Failure> {
        match self.find(|resources| resources.find_template(uri)) {
            Some(found) if found.is_away => Err(unknown(found.upstream, String::new)),
            Some(found) => Ok(found.upstream.map(|upstream| (found.uri, upstream))),
            None => Err(unknown(None, || format!("Unknown reference: {uri}"))),
        }
    }

    pub(super) fn no_such_resource(&self, uri: &str) -> Failure {
        let modern = self.era == Era::Modern;
        Failure::Protocol(ProtocolError {
            status: 200,
            code: if modern { code::INVALID_PARAMS } else { code::RESOURCE_NOT_FOUND },
            message: format!("Resource not found: {uri}"),
            data: Some(serde_json::json!({"uri": uri}).to_string()),
        })
    }
}

/// What a reference names, as the upstream knows it.
type Referred<'a> = (&'a str, &'a Arc<Upstream>);

/// The reply that an answer ends with. Nobody is asked anything meanwhile.
async fn last_of(answer: Answer) -> Result<UpstreamReply, Failure> {
    let mut stream = match answer {
        Answer::Whole(reply) => return Ok(reply),
        Answer::Stream(stream) => stream,
    };
    loop {
        match stream.next().await? {
            Event::Reply(reply) => return Ok(reply),
            Event::Question(question) => question.refuse(),
            Event::Notification(_) => {}
        }
    }
}
