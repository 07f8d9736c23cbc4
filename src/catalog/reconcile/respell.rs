//! Every name anew, after `GATEWAY_TOOL_NAME_SEPARATOR` was changed.

use std::collections::{HashMap, HashSet};

use storage::record::{Gateway, Ownership, Tool, Visibility};
use storage::{Mutation, Snapshot};

use super::{Names, Owned, follow, is_listed};
use crate::catalog::author::Author;
use crate::catalog::naming;

/// Gives the mutations that write every name with `separator`; none where all are written so. For
/// the start, before a catalog is loaded.
///
/// Names of two separators never meet: each has its own between gateway and tool, and neither
/// stands in names of the other. So no gateway is in the way of another, in whichever order.
pub fn respell(snapshot: &Snapshot, separator: &str, author: &Author) -> Vec<Mutation> {
    let mut owned = owned(snapshot);
    let mut mutations = Vec::new();
    // What was given in this pass, by circle.
    let mut given: HashMap<CircleKey, Given> = HashMap::new();
    for gateway in &snapshot.gateways {
        let mut gateway = Gateway::clone(gateway);
        let former = std::mem::replace(&mut gateway.slug, naming::slug(&gateway.name, separator));
        let owned = owned.remove(&gateway.id).unwrap_or_default();
        let ownership = gateway.ownership.clone();
        let given = given.entry(circle_key(&gateway.ownership)).or_default();
        let names = Names {
            separator,
            tools: given.tools.iter().map(String::as_str).collect(),
            prompts: given.prompts.iter().map(String::as_str).collect(),
            former: Some(&ownership),
        };
        let followed = follow(&owned, &gateway, &names, author);
        for skipped in &followed.skipped {
            tracing::warn!(upstream = gateway.name, skipped, "an offer was left out");
        }
        if !followed.skipped.is_empty() || former != gateway.slug {
            gateway.skipped_tools.extend(followed.skipped);
            author.change(&mut gateway.audit, "federation");
            mutations.push(Mutation::PutGateway(Box::new(gateway)));
        }
        given.note(&followed.mutations);
        mutations.extend(followed.mutations);
    }
    for tool in snapshot.tools.iter().filter(|tool| !is_listed(tool)) {
        let given = given.entry(circle_key(&tool.ownership)).or_default();
        mutations.extend(respell_own(tool, separator, &mut given.tools, author));
    }
    mutations
}

/// The mutation that writes the name of a tool that no upstream lists, if that changes it.
fn respell_own(
    tool: &Tool,
    separator: &str,
    given: &mut HashSet<String>,
    author: &Author,
) -> Option<Mutation> {
    let own = tool.custom_name.as_ref().unwrap_or(&tool.original_name);
    let name = naming::own_name(&naming::slug(own, separator)).ok()?;
    if name == tool.name {
        return None;
    }
    if !given.insert(name.clone()) {
        tracing::warn!(tool = tool.name, name, "a name is taken; the tool keeps its former one");
        return None;
    }
    let mut tool = Tool { custom_name_slug: name.clone(), name, ..tool.clone() };
    author.change(&mut tool.audit, "federation");
    Some(Mutation::PutTool(Box::new(tool)))
}

type CircleKey = (Visibility, Option<String>);

fn circle_key(ownership: &Ownership) -> CircleKey {
    let owner = match ownership.visibility {
        Visibility::Public => None,
        Visibility::Team => ownership.team_id.clone(),
        Visibility::Private => ownership.owner_email.clone(),
    };
    (ownership.visibility, owner)
}

#[derive(Default)]
struct Given {
    tools: HashSet<String>,
    prompts: HashSet<String>,
}

impl Given {
    fn note(&mut self, mutations: &[Mutation]) {
        for mutation in mutations {
            match mutation {
                Mutation::PutTool(tool) => self.tools.insert(tool.name.clone()),
                Mutation::PutPrompt(prompt) => self.prompts.insert(prompt.name.clone()),
                _ => continue,
            };
        }
    }
}

fn owned(snapshot: &Snapshot) -> HashMap<String, Owned> {
    let mut owned: HashMap<String, Owned> = HashMap::new();
    for tool in snapshot.tools.iter().filter(|tool| is_listed(tool)) {
        if let Some(id) = &tool.gateway_id {
            owned.entry(id.clone()).or_default().tools.push(tool.clone());
        }
    }
    for resource in &snapshot.resources {
        if let Some(id) = &resource.gateway_id {
            owned.entry(id.clone()).or_default().resources.push(resource.clone());
        }
    }
    for prompt in &snapshot.prompts {
        if let Some(id) = &prompt.gateway_id {
            owned.entry(id.clone()).or_default().prompts.push(prompt.clone());
        }
    }
    owned
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use storage::record::{IntegrationType, Prompt};

    use super::*;

    fn stored() -> Snapshot {
        let gateway = |id: &str, name: &str| {
            Arc::new(Gateway {
                id: id.to_owned(),
                name: name.to_owned(),
                slug: naming::slug(name, "-"),
                ..Gateway::default()
            })
        };
        let tool = |id: &str, gateway_id: &str, slug: &str, own: &str| {
            Arc::new(Tool {
                id: id.to_owned(),
                gateway_id: Some(gateway_id.to_owned()),
                original_name: own.to_owned(),
                custom_name_slug: naming::slug(own, "-"),
                name: format!("{slug}-{}", naming::slug(own, "-")),
                ..Tool::default()
            })
        };
        let prompt = Prompt {
            id: "p".to_owned(),
            gateway_id: Some("g1".to_owned()),
            original_name: "greet".to_owned(),
            custom_name_slug: "greet".to_owned(),
            name: "fast-time-greet".to_owned(),
            ..Prompt::default()
        };
        Snapshot {
            gateways: vec![gateway("g1", "fast_time"), gateway("g2", "git")],
            tools: vec![
                tool("t1", "g1", "fast-time", "get_system_time"),
                tool("t2", "g2", "git", "log"),
            ],
            prompts: vec![Arc::new(prompt)],
            ..Snapshot::default()
        }
    }

    fn names(mutations: &[Mutation]) -> Vec<&str> {
        mutations.iter().map(name).collect()
    }

    fn name(mutation: &Mutation) -> &str {
        match mutation {
            Mutation::PutTool(tool) => &tool.name,
            Mutation::PutPrompt(prompt) => &prompt.name,
            Mutation::PutGateway(gateway) => &gateway.slug,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_separator_of_before_leaves_everything_as_it_is() {
        assert_eq!(respell(&stored(), "-", &Author::default()), []);
    }

    #[test]
    fn another_separator_writes_every_name_anew() {
        for (separator, expected) in [
            ("_", ["fast_time", "fast_time_get_system_time", "fast_time_greet", "git_log"]),
            (".", ["fast.time", "fast.time.get.system.time", "fast.time.greet", "git.log"]),
            (
                "--",
                ["fast--time", "fast--time--get--system--time", "fast--time--greet", "git--log"],
            ),
        ] {
            let mutations = respell(&stored(), separator, &Author::default());
            assert_eq!(names(&mutations), expected);
        }
    }

    #[test]
    fn a_tool_of_our_own_is_respelled_too_unless_its_name_is_taken() {
        let own = |id: &str, name: &str| {
            Arc::new(Tool {
                id: id.to_owned(),
                original_name: name.to_owned(),
                name: naming::slug(name, "-"),
                integration_type: IntegrationType::Rest,
                ..Tool::default()
            })
        };
        let mut stored = stored();
        stored.tools.extend([own("t8", "rest_echo"), own("t9", "git_log")]);
        let mutations = respell(&stored, "_", &Author::default());
        let names = names(&mutations);
        assert!(names.contains(&"rest_echo"), "{names:?}");
        assert_eq!(names.iter().filter(|name| **name == "git_log").count(), 1, "{names:?}");
    }
}
