//! What the official Rust client hears while it works and answers when it is asked, told as one line of
//! JSON.
//!
//! Usage: rmcp-client PLAN. The plan is that of features.py, with `asks` as in features.mjs, `template`
//! for a completion, and a mode of "legacy", "auto" or "modern". Somebody else makes the changes that it
//! waits to hear of.

#![allow(deprecated, reason = "what is deprecated is asked for all the same")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rmcp::{
    ClientHandler, RoleClient, ServiceExt,
    model::*,
    service::{
        ClientLifecycleMode, ClientServiceExt, NotificationContext, PeerRequestOptions,
        RequestContext, RunningService,
    },
    transport::{
        StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// How long something may take to be heard of.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a call that tells of its progress is waited for before it is begun again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

#[derive(Clone, Default)]
struct Listener(Arc<Heard>);

#[derive(Default)]
struct Heard {
    progress: Mutex<Vec<f64>>,
    logs: Mutex<Vec<Value>>,
    asked: Mutex<Vec<&'static str>>,
    heard: Mutex<Vec<&'static str>>,
    bell: Notify,
}

impl Heard {
    fn hear(&self, what: &'static str) {
        self.heard.lock().unwrap().push(what);
        self.bell.notify_waiters();
    }

    async fn until(&self, what: &'static str) {
        self.until_so(what, |heard| heard.heard.lock().unwrap().contains(&what)).await;
    }

    /// Waits until it `is_so`: what is heard is handled beside the answers, and may be behind them.
    async fn until_so(&self, what: &str, is_so: impl Fn(&Heard) -> bool) {
        loop {
            let rung = self.bell.notified();
            if is_so(self) {
                return;
            }
            tokio::time::timeout(PATIENCE, rung).await.expect(what);
        }
    }
}

fn made<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the model knows it")
}

impl ClientHandler for Listener {
    fn get_info(&self) -> ClientConfig {
        let mut config = ClientConfig::default();
        config.capabilities = made(json!({"sampling": {}, "elicitation": {}, "roots": {}}));
        config
    }

    async fn create_message(
        &self,
        _: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        self.0.asked.lock().unwrap().push("sampling");
        let text = json!({"type": "text", "text": "forty-two"});
        Ok(made(json!({"role": "assistant", "content": text, "model": "a-model"})))
    }

    async fn list_roots(
        &self,
        _: RequestContext<RoleClient>,
    ) -> Result<ListRootsResult, ErrorData> {
        self.0.asked.lock().unwrap().push("roots");
        Ok(made(json!({"roots": [{"uri": "file:///project"}]})))
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        self.0.asked.lock().unwrap().push("elicitation");
        let request = serde_json::to_value(request).expect("it is JSON");
        let fields = request["requestedSchema"]["properties"].as_object().cloned();
        let sample = |kind: &Value| match kind.as_str() {
            Some("boolean") => json!(true),
            Some("integer") => json!(7),
            Some("number") => json!(1.5),
            _ => json!("Ada"),
        };
        let fields = fields.unwrap_or_default().into_iter();
        let content: serde_json::Map<_, _> =
            fields.map(|(name, schema)| (name, sample(&schema["type"]))).collect();
        Ok(made(json!({"action": "accept", "content": content})))
    }

    async fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.0.progress.lock().unwrap().push(params.progress);
        self.0.hear("progress");
    }

    async fn on_logging_message(
        &self,
        params: LoggingMessageNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.0.logs.lock().unwrap().push(params.data);
        self.0.hear("message");
    }

    async fn on_resource_updated(
        &self,
        _: ResourceUpdatedNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.0.hear("resources/updated");
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.hear("tools/list_changed");
    }
}

type Client = RunningService<RoleClient, Listener>;

/// A call as a request of its own, with what its `_meta` says.
async fn ask(
    client: &Client,
    tool: Value,
    meta: Value,
) -> rmcp::service::RequestHandle<RoleClient> {
    let request: ClientRequest = made(json!({"method": "tools/call", "params": tool}));
    let options = PeerRequestOptions::no_options().with_meta(made(meta));
    client.send_cancellable_request(request, options).await.expect("it is sent")
}

async fn use_it(client: &Client, listener: &Listener, plan: &Value, is_modern: bool) -> Value {
    let heard = &listener.0;
    let tools = client.list_all_tools().await.expect("tools");
    let resources = client.list_all_resources().await.expect("resources");
    let templates = client.list_all_resource_templates().await.expect("templates");
    let prompts = client.list_all_prompts().await.expect("prompts");
    let mut meta = json!({});
    let mut pinged = Value::Null;
    if is_modern {
        meta = json!({"io.modelcontextprotocol/logLevel": "info"});
    } else {
        let ping: ClientRequest = made(json!({"method": "ping"}));
        pinged = json!(client.send_request(ping).await.is_ok());
        client.set_level(made(json!({"level": "info"}))).await.expect("a level");
    }
    let call = |name: &Value| json!({"name": name, "arguments": {}});
    let done = ask(client, call(&plan["progress"]), meta.clone()).await;
    done.await_response().await.expect("the tool with progress");
    heard.until_so("all progress", |heard| heard.progress.lock().unwrap().len() >= 3).await;
    let progress = heard.progress.lock().unwrap().clone();
    let done = ask(client, call(&plan["logging"]), meta.clone()).await;
    done.await_response().await.expect("the tool with logs");
    heard.until_so("all logs", |heard| heard.logs.lock().unwrap().len() >= 3).await;
    let logs = heard.logs.lock().unwrap().clone();
    let mut told = Vec::new();
    for tool in plan["asks"].as_array().into_iter().flatten() {
        let result = client.call_tool(made(tool.clone())).await.expect("a tool that asks");
        let result = serde_json::to_value(result).expect("it is JSON");
        told.push(result["content"][0]["text"].clone());
    }
    // It is given up once it is known to run.
    heard.heard.lock().unwrap().clear();
    let slow = loop {
        let slow = ask(client, plan["slow"].clone(), meta.clone()).await;
        // A server that asks for roots by itself when a session begins has this call end with that.
        if tokio::time::timeout(AGAIN_AFTER, heard.until("progress")).await.is_ok() {
            break slow;
        }
    };
    let cancelled = slow.cancel(Some("given up".to_owned())).await.is_ok();
    let read = client.read_resource(made(json!({"uri": plan["resource"]["uri"]}))).await;
    let completion = client
        .complete(made(json!({
            "ref": {"type": "ref/resource", "uri": plan["template"]["uri"]},
            "argument": {"name": plan["template"]["argument"], "value": plan["template"]["value"]},
        })))
        .await
        .expect("a completion");
    listen(client, listener, plan, is_modern).await;
    json!({
        "tools": tools.len(),
        "resources": resources.len(),
        "templates": templates.len(),
        "prompts": prompts.len(),
        "ping": pinged,
        "progress": progress,
        "logs": logs,
        "told": told,
        "asked": *heard.asked.lock().unwrap(),
        "cancelled": cancelled,
        "read": serde_json::to_value(read.expect("a resource")).expect("it is JSON"),
        "completion": completion.completion.values,
        "heard": *heard.heard.lock().unwrap(),
    })
}

/// Waits until it was told of a list and of a resource that changed.
async fn listen(client: &Client, listener: &Listener, plan: &Value, is_modern: bool) {
    let heard = &listener.0;
    let uri = &plan["resource"]["uri"];
    if !is_modern {
        client.subscribe(made(json!({"uri": uri}))).await.expect("a subscription");
        heard.until("tools/list_changed").await;
        heard.until("resources/updated").await;
        client.unsubscribe(made(json!({"uri": uri}))).await.expect("the end of it");
        return;
    }
    let filter = made(json!({"toolsListChanged": true, "resourceSubscriptions": [uri]}));
    let mut subscription = client.listen(filter).await.expect("a subscription");
    let both = |heard: &Heard| {
        let heard = heard.heard.lock().unwrap();
        heard.contains(&"tools/list_changed") && heard.contains(&"resources/updated")
    };
    while !both(heard) {
        let next = tokio::time::timeout(PATIENCE, subscription.next()).await;
        match next.expect("in time").expect("a notification") {
            Some(ServerNotification::ToolListChangedNotification(_)) => {
                heard.hear("tools/list_changed");
            }
            Some(ServerNotification::ResourceUpdatedNotification(_)) => {
                heard.hear("resources/updated");
            }
            Some(_) => {}
            None => panic!("the subscription ended"),
        }
    }
    subscription.cancel().await.expect("the end of it");
}

#[tokio::main]
async fn main() {
    let plan = std::env::args().nth(1).expect("a plan");
    let plan: Value = serde_json::from_str(&plan).expect("the plan is JSON");
    let text = |key: &str| plan[key].as_str().expect(key).to_owned();
    let config =
        StreamableHttpClientTransportConfig::with_uri(text("url")).auth_header(text("token"));
    let transport = StreamableHttpClientTransport::from_config(config);
    let listener = Listener::default();
    let preferred_versions = vec![made(json!("2026-07-28"))];
    let client = match &*text("mode") {
        "legacy" => listener.clone().serve(transport).await,
        "auto" => {
            let mode = ClientLifecycleMode::Auto { preferred_versions, legacy_version: None };
            listener.clone().serve_with_lifecycle(transport, mode).await
        }
        _ => {
            let mode = ClientLifecycleMode::Discover { preferred_versions };
            listener.clone().serve_with_lifecycle(transport, mode).await
        }
    };
    let client = client.expect("a connection");
    let is_modern = text("mode") != "legacy";
    let mut seen = use_it(&client, &listener, &plan, is_modern).await;
    let info = client.peer_info().map(|info| serde_json::to_value(&*info).expect("it is JSON"));
    seen["info"] = info.unwrap_or_default();
    println!("{seen}");
    client.cancel().await.expect("it ends");
}
