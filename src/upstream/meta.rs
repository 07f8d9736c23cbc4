//! What requests say of themselves in `_meta`, which the eras demand otherwise.

use net::jsonrpc;

use crate::mcp::meta;

/// What a modern request says of its client.
pub(super) const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";

/// Appends the `_meta` of one era made into that of the other: a legacy upstream must not take the
/// request for a modern one, and a modern one refuses it without.
pub(super) fn rewrite_meta(out: &mut Vec<u8>, raw: &str, token: Option<u64>, modern: Option<&str>) {
    let reserved =
        [meta::PROTOCOL_VERSION, meta::CLIENT_CAPABILITIES, meta::LOG_LEVEL, CLIENT_INFO];
    out.push(b'{');
    for field in jsonrpc::fields(raw).map_while(Result::ok) {
        if reserved.contains(&&*field.key) {
            continue;
        }
        jsonrpc::write_string(out, &field.key);
        out.push(b':');
        match token {
            Some(token) if field.key == "progressToken" => {
                out.extend_from_slice(token.to_string().as_bytes());
            }
            _ => out.extend_from_slice(field.value.as_bytes()),
        }
        out.push(b',');
    }
    match modern {
        Some(members) => out.extend_from_slice(members.as_bytes()),
        None => {
            let _ = out.pop_if(|last| *last == b',');
        }
    }
    out.push(b'}');
}
