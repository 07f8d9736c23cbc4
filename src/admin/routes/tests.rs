use super::*;

#[test]
fn every_path_is_found_with_and_without_version_and_slash() {
    for (method, path, expected) in [
        (Method::Get, "/health", Route::Health),
        (Method::Get, "/ready", Route::Ready),
        (Method::Get, "/version", Route::Version),
        (Method::Get, "/openapi.json", Route::OpenApi),
        (Method::Get, "/docs", Route::Docs),
        (Method::Get, "/redoc", Route::Docs),
        (Method::Get, "/health/security", Route::Security),
        (Method::Head, "/gateways", Route::Gateways),
        (Method::Post, "/gateways", Route::CreateGateway),
        (Method::Get, "/gateways/x", Route::Gateway("x")),
        (Method::Put, "/gateways/x", Route::UpdateGateway("x")),
        (Method::Delete, "/gateways/x", Route::DeleteGateway("x")),
        (Method::Post, "/gateways/x/state", Route::GatewayState("x")),
        (Method::Post, "/gateways/x/toggle", Route::GatewayState("x")),
        (Method::Post, "/gateways/x/tools/refresh", Route::RefreshGateway("x")),
        (Method::Get, "/tools", Route::Tools),
        (Method::Get, "/tools/x", Route::Tool("x")),
        (Method::Post, "/tools", Route::CreateTool),
        (Method::Post, "/tools/bulk", Route::ImportTools),
        (Method::Post, "/admin/tools/import", Route::ImportTools),
        (Method::Put, "/tools/x", Route::UpdateTool("x")),
        (Method::Delete, "/tools/x", Route::DeleteTool("x")),
        (Method::Post, "/tools/x/state", Route::ToolState("x")),
        (Method::Post, "/tools/x/toggle", Route::ToolState("x")),
        (Method::Post, "/tools/generate-schemas-from-openapi", Route::GenerateSchemas),
        (Method::Post, "/tools/import-openapi", Route::ImportOpenapi),
        (Method::Get, "/tags", Route::Tags),
        (Method::Get, "/tags/x:y/entities", Route::TagEntities("x:y")),
        (Method::Get, "/resources", Route::Resources),
        (Method::Post, "/resources", Route::CreateResource),
        (Method::Get, "/resources/x", Route::Resource("x")),
        (Method::Put, "/resources/x", Route::UpdateResource("x")),
        (Method::Delete, "/resources/x", Route::DeleteResource("x")),
        (Method::Get, "/resources/x/info", Route::ResourceInfo("x")),
        (Method::Post, "/resources/x/state", Route::ResourceState("x")),
        (Method::Post, "/resources/x/toggle", Route::ResourceState("x")),
        (Method::Get, "/resources/templates/list", Route::ResourceTemplates),
        (Method::Get, "/resources/test/note://a/b", Route::TestResource("note://a/b")),
        (Method::Get, "/prompts", Route::Prompts),
        (Method::Post, "/prompts", Route::CreatePrompt),
        (Method::Get, "/prompts/x", Route::Prompt("x")),
        (Method::Post, "/prompts/x", Route::RenderPrompt("x")),
        (Method::Put, "/prompts/x", Route::UpdatePrompt("x")),
        (Method::Delete, "/prompts/x", Route::DeletePrompt("x")),
        (Method::Post, "/prompts/x/state", Route::PromptState("x")),
        (Method::Post, "/prompts/x/toggle", Route::PromptState("x")),
        (Method::Get, "/roots", Route::Roots),
        (Method::Post, "/roots", Route::CreateRoot),
        (Method::Get, "/roots/export", Route::ExportRoot),
        (Method::Get, "/roots/file:///a", Route::Root("file:///a")),
        (Method::Put, "/roots/file:///a", Route::UpdateRoot("file:///a")),
        (Method::Delete, "/roots/file:///a", Route::DeleteRoot("file:///a")),
        (Method::Post, "/initialize", Route::Initialize),
        (Method::Post, "/protocol/initialize", Route::Initialize),
        (Method::Post, "/protocol/ping", Route::Ping),
        (Method::Post, "/notifications", Route::Notify),
        (Method::Post, "/protocol/notifications", Route::Notify),
        (Method::Post, "/protocol/completion/complete", Route::Complete),
        (Method::Post, "/protocol/sampling/createMessage", Route::Sample),
        (Method::Post, "/logging/setLevel", Route::SetLogLevel),
        (Method::Get, "/servers", Route::Servers),
        (Method::Post, "/servers", Route::CreateServer),
        (Method::Get, "/servers/x", Route::Server("x")),
        (Method::Put, "/servers/x", Route::UpdateServer("x")),
        (Method::Delete, "/servers/x", Route::DeleteServer("x")),
        (Method::Post, "/servers/x/state", Route::ServerState("x")),
        (Method::Post, "/servers/x/toggle", Route::ServerState("x")),
        (Method::Get, "/servers/x/tools", Route::ServerTools("x")),
        (Method::Get, "/servers/x/resources", Route::ServerResources("x")),
        (Method::Get, "/servers/x/prompts", Route::ServerPrompts("x")),
        (Method::Get, "/export", Route::Export),
        (Method::Post, "/export/selective", Route::ExportSelective),
        (Method::Post, "/import", Route::Import),
        (Method::Get, "/import/status", Route::ImportStatuses),
        (Method::Get, "/import/status/x", Route::ImportStatus("x")),
        (Method::Post, "/import/cleanup", Route::CleanUpImports),
        (Method::Get, "/a2a", Route::Agents),
        (Method::Post, "/a2a", Route::CreateAgent),
        (Method::Get, "/a2a/x", Route::Agent("x")),
        (Method::Put, "/a2a/x", Route::UpdateAgent("x")),
        (Method::Delete, "/a2a/x", Route::DeleteAgent("x")),
        (Method::Post, "/a2a/x/state", Route::AgentState("x")),
        (Method::Post, "/a2a/x/toggle", Route::AgentState("x")),
        (Method::Post, "/a2a/x/invoke", Route::InvokeAgent("x")),
        (Method::Post, "/a2a/invoke", Route::InvokeAgentById),
        (Method::Post, "/a2a/x/jsonrpc", Route::RelayToAgent("x")),
        (Method::Get, "/metrics", Route::Metrics),
        (Method::Post, "/metrics/reset", Route::ResetMetrics),
    ] {
        for path in [path.to_owned(), format!("{path}/"), format!("/v1{path}")] {
            assert_eq!(Route::parse(method, &path).unwrap(), expected, "{method:?} {path}");
        }
    }
    assert_eq!(Route::parse(Method::Get, "/").unwrap(), Route::Home);
}

#[test]
fn a_path_that_is_not_here_is_not_found() {
    for path in [
        "/gateway",
        "/v1gateways",
        "/v2/gateways",
        "/gateways/x/tools",
        "/gateways/x/tools/refresh/y",
        "/gateways/x/state/y",
        "/servers/x/y",
        "/servers/x/tools/y",
        "/tools/x/y",
        "/admin/tools",
        "/tags/x",
        "/admin/tools/import/x",
        "/health/else",
        "//gateways",
    ] {
        let failure = Route::parse(Method::Get, path).unwrap_err();
        assert_eq!(failure.status(), 404, "{path}");
    }
}

#[test]
fn another_method_is_told_which_ones_there_are() {
    for (method, path, expected) in [
        (Method::Delete, "/gateways", "GET, HEAD, POST"),
        (Method::Post, "/gateways/x", "GET, HEAD, PUT, DELETE"),
        (Method::Get, "/gateways/x/state", "POST"),
        (Method::Put, "/tools", "GET, HEAD, POST"),
        (Method::Patch, "/tools/x", "GET, HEAD, PUT, DELETE"),
        (Method::Patch, "/servers/x", "GET, HEAD, PUT, DELETE"),
    ] {
        match Route::parse(method, path) {
            Err(Failure::MethodNotAllowed { allow }) => assert_eq!(allow, expected, "{path}"),
            other => panic!("{path}: {other:?}"),
        }
    }
}
