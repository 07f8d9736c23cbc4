//! Streams that tell of roots and resources that become otherwise, to whoever may read them.

use std::sync::Arc;

use serde_json::{Value, json};
use storage::record::{Resource, Root, now};

use super::{Ask, Backend, RestAnswer, show};
use crate::auth::Caller;
use crate::auth::access::Object;
use crate::catalog::Catalog;
use crate::permission::Permission;

/// What a stream tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// Roots.
    Roots,
    /// Resources and templates.
    Resources,
}

/// `GET /roots/changes` and `POST /resources/subscribe`: events from now on, without an end.
pub fn stream<B: Backend>(_: &Ask<'_, B>, watched: Watched) -> RestAnswer {
    let headers = "content-type: text/event-stream\r\ncache-control: no-cache\r\n\
                   x-content-type-options: nosniff\r\n";
    RestAnswer { headers, watched: Some(watched), ..RestAnswer::of(200, Vec::new()) }
}

impl Watched {
    /// The events that lead from one snapshot to a later one, for `caller`. What they may not read
    /// is not there: what becomes visible is added, and what is hidden from now on is removed.
    pub fn events(self, former: &Catalog, catalog: &Catalog, caller: &Caller) -> Vec<Value> {
        match self {
            Watched::Roots => {
                // Roots take a permission that is about the gateway as a whole.
                if !caller.may(Permission::AdminSystemConfig, Object::Nothing) {
                    return Vec::new();
                }
                let sees = |root: &&Arc<Root>| caller.sees(&root.ownership);
                let changed = catalog.roots_since(former);
                let seen = changed.map(|(old, new)| (old.filter(sees), new.filter(sees)));
                seen.filter_map(|(old, new)| root_event(old.map(|o| &**o), new.map(|n| &**n)))
                    .collect()
            }
            Watched::Resources => {
                let sees = |resource: &&Arc<Resource>| {
                    caller.may(Permission::ResourcesRead, &resource.ownership)
                };
                let changed = catalog.resources_since(former);
                let seen = changed.map(|(old, new)| (old.filter(sees), new.filter(sees)));
                seen.filter_map(|(old, new)| resource_event(old.map(|o| &**o), new.map(|n| &**n)))
                    .collect()
            }
        }
    }
}

fn root_event(old: Option<&Root>, new: Option<&Root>) -> Option<Value> {
    let shown = |root: &Root| json!({ "uri": root.uri, "name": root.name });
    match (old, new) {
        (None, Some(new)) => Some(json!({ "type": "root_added", "data": shown(new) })),
        (Some(_), Some(new)) => Some(json!({ "type": "root_updated", "data": shown(new) })),
        (Some(old), None) => Some(json!({ "type": "root_removed", "data": { "uri": old.uri } })),
        (None, None) => None,
    }
}

fn resource_event(old: Option<&Resource>, new: Option<&Resource>) -> Option<Value> {
    let (kind, record) = match (old, new) {
        (None, Some(new)) => ("resource_added", new),
        (Some(old), Some(new)) => match (old.enabled, new.enabled) {
            (false, true) => ("resource_activated", new),
            (true, false) => ("resource_deactivated", new),
            _ => ("resource_updated", new),
        },
        (Some(old), None) => ("resource_deleted", old),
        (None, None) => return None,
    };
    let data = json!({
        "id": record.id,
        "uri": record.uri,
        "name": record.name,
        "description": record.description,
        "enabled": record.enabled,
        "visibility": record.ownership.visibility.as_str(),
        "team_id": record.ownership.team_id,
        "owner_email": record.ownership.owner_email,
    });
    Some(json!({ "type": kind, "data": data, "timestamp": show::Time(now()) }))
}

#[cfg(test)]
mod tests {
    use storage::record::{Ownership, Visibility};
    use storage::seal::Sealer;
    use storage::{Change, Current};

    use super::*;

    fn put(catalog: &mut Catalog, current: Current) {
        let sealer = Sealer::new("a secret that only tests have");
        catalog.apply(vec![Change { sequence: catalog.sequence + 1, current }], &sealer);
    }

    fn resource(name: &str, visibility: Visibility, enabled: bool) -> Current {
        let ownership = Ownership { visibility, ..Ownership::default() };
        let (id, name) = ("r".to_owned(), name.to_owned());
        Current::Resource(Arc::new(Resource {
            id,
            name,
            enabled,
            ownership,
            ..Resource::default()
        }))
    }

    #[test]
    fn a_resource_comes_and_goes_with_what_its_reader_may_see() {
        use Visibility::{Private, Public};
        let mut catalog = Catalog::default();
        let guest = Caller::nobody();
        let mut told = |current: Current, caller: &Caller| {
            let former = catalog.clone();
            put(&mut catalog, current);
            let events = Watched::Resources.events(&former, &catalog, caller);
            events
                .iter()
                .map(|event| event["type"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert!(told(resource("a", Private, true), &guest).is_empty());
        assert_eq!(told(resource("a", Public, true), &guest), ["resource_added"]);
        assert_eq!(told(resource("b", Public, true), &guest), ["resource_updated"]);
        assert_eq!(told(resource("b", Public, false), &guest), ["resource_deactivated"]);
        assert_eq!(told(resource("b", Public, true), &guest), ["resource_activated"]);
        assert_eq!(told(resource("b", Private, true), &guest), ["resource_deleted"]);
        assert_eq!(told(resource("c", Private, true), &Caller::operator()), ["resource_updated"]);
        let gone =
            Current::Deleted { entity: storage::record::Entity::Resource, id: "r".to_owned() };
        assert_eq!(told(gone, &Caller::operator()), ["resource_deleted"]);
    }

    #[test]
    fn roots_are_told_of_to_those_who_may_read_roots() {
        let (mut catalog, former) = (Catalog::default(), Catalog::default());
        let root = Root { id: "1".into(), uri: "file:///a".into(), ..Root::default() };
        put(&mut catalog, Current::Root(Arc::new(root)));
        let events = Watched::Roots.events(&former, &catalog, &Caller::operator());
        let expected = json!({"type": "root_added", "data": {"uri": "file:///a", "name": null}});
        assert_eq!(events, [expected]);
        assert!(Watched::Roots.events(&former, &catalog, &Caller::nobody()).is_empty());
    }
}
