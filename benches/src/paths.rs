//! The path of a request and its parts, each as a closure that does one request's work.
//!
//! The instruction guard counts what the guarded ones execute, and the micro-benchmarks take the
//! time of all of them: one list, so that both speak of the same work.

mod crowd;
mod parts;
mod world;

use world::{Upstreams, World};

use crate::gateway::message;
use crate::suite::cases::{LIST, call, modern_call, modern_fields};
use crate::upstream::{REVISION_LEGACY, REVISION_MODERN};

/// Does the work of one request; gives a number that depends on it.
pub type Work = Box<dyn FnMut() -> usize>;

/// A path, or a part of one.
pub struct Path {
    /// Its name in the record and in the benchmarks.
    pub name: &'static str,
    /// Whether the guard counts its instructions.
    pub is_guarded: bool,
    /// Builds what the work needs and is not part of it.
    pub prepare: fn() -> Work,
}

/// Every path and every part.
pub const ALL: &[Path] = &[
    guarded("tools/list on /rpc", list_on_rpc),
    guarded("tools/list on /mcp, legacy", list_on_mcp),
    guarded("tools/call on /rpc", call_on_rpc),
    guarded("tools/call on /mcp, legacy", call_legacy),
    guarded("tools/call on /mcp, modern", call_modern),
    part("head", parts::head),
    part("envelope of tools/list", parts::envelope_of_list),
    part("envelope of tools/call", parts::envelope_of_call),
    part(TOKEN_AGAIN, parts::token_again),
    part(TOKEN_FIRST, parts::token_first),
    part("routing among 10 tools", parts::routing_few),
    part("routing among 20,000 tools", parts::routing_many),
    part("list splice", parts::list_splice),
    guarded("arguments of 5 fields checked", parts::arguments),
    part(POLICY, parts::policy),
    part(LIST_ALONE, || crowded(1, LIST)),
    part(LIST_CROWDED, || crowded(USER_COUNT, LIST)),
    part(CALL_ALONE, || crowded(1, &call(TOOL, ""))),
    part(CALL_CROWDED, || crowded(USER_COUNT, &call(TOOL, ""))),
];

/// A token of a user whom the gateway knows, before it is remembered.
pub const TOKEN_FIRST: &str = "token, at first sight";
/// A token that is remembered.
pub const TOKEN_AGAIN: &str = "token, seen before";
/// A policy in CEL.
pub const POLICY: &str = "policy of typical size";
/// A list with roles and teams, and one user.
pub const LIST_ALONE: &str = "tools/list of 20,000 tools with 1 user";
/// The same with many users and teams.
pub const LIST_CROWDED: &str = "tools/list of 20,000 tools with 10,000 users";
/// A call with roles and teams, and one user.
pub const CALL_ALONE: &str = "tools/call of 20,000 tools with 1 user";
/// The same with many users and teams.
pub const CALL_CROWDED: &str = "tools/call of 20,000 tools with 10,000 users";

/// Users, in 500 teams.
const USER_COUNT: usize = 10_000;
/// Tools of those teams.
const TOOL_COUNT_OF_TEAMS: usize = 20_000;

/// Tools of the guarded paths: as many as in the cases that are compared with nginx.
const TOOL_COUNT: usize = 20;
/// The tool that is called, by the gateway's name.
const TOOL: &str = "bench-tool-7";

const fn guarded(name: &'static str, prepare: fn() -> Work) -> Path {
    Path { name, is_guarded: true, prepare }
}

const fn part(name: &'static str, prepare: fn() -> Work) -> Path {
    Path { name, is_guarded: false, prepare }
}

fn list_on_rpc() -> Work {
    whole("/rpc", Upstreams::Modern, &[], LIST)
}

fn list_on_mcp() -> Work {
    whole("/mcp", Upstreams::Modern, &[("MCP-Protocol-Version", REVISION_LEGACY)], LIST)
}

fn call_on_rpc() -> Work {
    whole("/rpc", Upstreams::Modern, &[], &call(TOOL, ""))
}

fn call_legacy() -> Work {
    let fields = [("MCP-Protocol-Version", REVISION_LEGACY)];
    whole("/mcp", Upstreams::Legacy, &fields, &call(TOOL, ""))
}

fn call_modern() -> Work {
    debug_assert_eq!(modern_fields(TOOL)[0].1, REVISION_MODERN);
    whole("/mcp", Upstreams::Modern, &modern_fields(TOOL), &modern_call(TOOL))
}

/// The whole path, from the bytes of a request to the bytes of its answer.
fn whole(path: &str, upstreams: Upstreams, fields: &[(&str, &str)], body: &str) -> Work {
    let mut world = World::new(TOOL_COUNT, upstreams);
    let request = message(world::HOST, &world.token(), path, fields, body);
    Box::new(move || world.answer(&request))
}

/// The whole path for one of so many users, who sees what is of their teams.
fn crowded(user_count: usize, body: &str) -> Work {
    let mut world = World::crowded(TOOL_COUNT_OF_TEAMS, user_count);
    let request = message(world::HOST, &world.token_of(0), "/rpc", &[], body);
    Box::new(move || world.answer(&request))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_does_the_same_work_each_time() {
        for path in ALL {
            let mut work = (path.prepare)();
            let first = work();
            assert!(first > 0, "{}", path.name);
            assert_eq!(work(), first, "{}", path.name);
        }
    }

    #[test]
    fn the_guarded_paths_end_in_the_answers_that_the_gateway_gives() {
        for (body, fields, expected) in [
            (LIST.to_owned(), vec![], r#""tools":[{"name":"bench-tool-0","title":"Tool 0""#),
            (call(TOOL, ""), vec![], r#""structuredContent":{"temperature":21.5"#),
            (modern_call(TOOL), modern_fields(TOOL).to_vec(), r#""resultType":"complete""#),
        ] {
            let mut world = World::new(TOOL_COUNT, Upstreams::Modern);
            let request = message(world::HOST, &world.token(), "/mcp", &fields, &body);
            let answer = world.answer_text(&request);
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            assert!(answer.contains(r#"{"jsonrpc":"2.0","id":1,"result":{"#), "{answer}");
            assert!(answer.contains(expected), "{answer}");
        }
    }

    #[test]
    fn a_user_gets_the_same_answers_however_many_others_there_are() {
        for body in [LIST.to_owned(), call(TOOL, "")] {
            let [alone, crowded] = [1, 50].map(|user_count| {
                let mut world = World::crowded(1000, user_count);
                let request = message(world::HOST, &world.token_of(0), "/rpc", &[], &body);
                world.answer_text(&request)
            });
            assert!(alone.contains(r#""result":{"#), "{alone}");
            assert!(
                !alone.contains("bench-tool-1\"") && !alone.contains(r#""isError":true"#),
                "{alone}"
            );
            assert_eq!(alone, crowded);
        }
    }
}
