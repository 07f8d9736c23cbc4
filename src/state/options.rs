//! The settings that the request path obeys, in the form in which it needs them.

use std::time::Duration;

use net::jsonrpc::EnvelopeLimits;

use crate::{mcp::ServerInfo, settings::Settings};

/// What the operator chose, as far as the path obeys it.
pub struct Options {
    /// What clients are told that this is.
    pub server: ServerInfo,
    /// Bounds of an envelope.
    pub envelope: EnvelopeLimits,
    /// Bytes of `params`.
    pub params_size_max: usize,
    /// Entries of a page of a list.
    pub page_count_max: usize,
    /// Arguments of tools are checked against their schemas.
    pub arguments_checked: bool,
    /// For a tool call in all.
    pub tool_within: Duration,
    /// For a task of an upstream that is followed for its client.
    pub task_within: Duration,
    /// For a client, or the person before it, to answer a question.
    pub answer_within: Duration,
    /// For any other request to an upstream in all.
    pub request_within: Duration,
}

impl Options {
    /// Picks them out of the settings.
    pub fn of(settings: &Settings) -> Options {
        Options {
            server: ServerInfo::named(&settings.catalog.app_name),
            envelope: EnvelopeLimits {
                depth_max: settings.http.json_depth_max,
                ..EnvelopeLimits::default()
            },
            params_size_max: settings.http.params_size_max,
            page_count_max: settings.catalog.mcp_page_count_max,
            arguments_checked: settings.catalog.arguments_checked,
            tool_within: settings.upstreams.tool_timeout,
            task_within: settings.upstreams.task_timeout,
            answer_within: settings.sessions.answer_timeout,
            request_within: settings.upstreams.request_timeout,
        }
    }
}
