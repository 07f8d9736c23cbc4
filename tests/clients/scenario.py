"""The official Python client as the client under test of the conformance suite, through a gateway.

Usage: scenario.py URL, where URL is of the suite's server. The gateway and a token of its administrator
come by RINGWAY_URL and RINGWAY_TOKEN, what the suite wants by its own variables. The server is registered
as an upstream that is pinned to the era under test, and reached through an open virtual server with its
own names.
"""

import asyncio
import json
import os
import sys
import urllib.request

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult

GATEWAY = os.environ["RINGWAY_URL"]
SCENARIO = os.environ["MCP_CONFORMANCE_SCENARIO"]
REVISION = os.environ["MCP_CONFORMANCE_PROTOCOL_VERSION"]
IS_MODERN = REVISION == "2026-07-28"


def ask(method: str, path: str, body: dict | None = None) -> dict:
    """Asks the REST API of the gateway."""
    headers = {"Authorization": f"Bearer {os.environ['RINGWAY_TOKEN']}", "Content-Type": "application/json"}
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(GATEWAY + path, data, headers, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{method} {path}: {error.code} {error.read().decode()}") from error


async def on_elicitation(context, params) -> ElicitResult:
    """Says yes to everything, and the default where there is one."""
    wanted = params.requested_schema.get("properties", {})
    content = {name: shape.get("default", True) for name, shape in wanted.items()}
    return ElicitResult(action="accept", content=content)


async def everything(client) -> None:
    """Lists and uses whatever there is."""
    tools = (await client.list_tools()).tools
    for tool in tools:
        await client.call_tool(tool.name, {})
    for resource in (await client.list_resources()).resources:
        await client.read_resource(resource.uri)
    for prompt in (await client.list_prompts()).prompts:
        await client.get_prompt(prompt.name, {})


async def call_each(client, calls: list[tuple[str, dict]]) -> None:
    """Calls the tools that are listed. What the suite makes of their calls is its own to say."""
    listed = {tool.name for tool in (await client.list_tools()).tools}
    for name, arguments in calls:
        if name in listed:
            try:
                await client.call_tool(name, arguments)
            except Exception as error:
                print(f"{name}: {error!r}", file=sys.stderr)


async def act(client) -> None:
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    match SCENARIO:
        case "tools_call":
            await call_each(client, [("add_numbers", {"a": 5, "b": 3})])
        case "elicitation-sep1034-client-defaults":
            await call_each(client, [("test_client_elicitation_defaults", {})])
        case "sse-retry":
            await call_each(client, [("test_reconnection", {})])
        case "http-standard-headers":
            await everything(client)
        case "http-custom-headers":
            calls = [(call["name"], call["arguments"]) for call in context["toolCalls"]]
            await call_each(client, calls)
        case "http-invalid-tool-headers":
            tools = (await client.list_tools()).tools
            await call_each(client, [(tool.name, {"region": "us"}) for tool in tools])
        case "json-schema-2020-12-preservation":
            tools = (await client.list_tools()).tools
            schema = next(tool.input_schema for tool in tools if tool.name == "json_schema_2020_12_tool")
            await client.call_tool("json_schema_echo", {"schema": schema})
        case "sep-2322-client-request-state":
            names = ["echo_state", "no_state", "unrelated", "no_result_type"]
            await call_each(client, [(f"test_mrtr_{name}", {}) for name in names])
        case _:
            await client.list_tools()


async def main(url: str) -> None:
    pin = "modern" if IS_MODERN else "legacy"
    registration = {"name": f"suite {os.getpid()}", "url": url, "transport": "STREAMABLEHTTP", "protocol": pin}
    upstream = ask("POST", "/gateways", registration)
    server = {
        "name": f"open {upstream['id']}",
        "associated_gateways": [upstream["id"]],
        "tool_prefix": "",
        "auth_required": False,
    }
    made = ask("POST", "/servers", {"server": server})
    async with httpx2.AsyncClient(timeout=20, trust_env=False) as http:
        transport = streamable_http_client(f"{GATEWAY}/servers/{made['id']}/mcp", http_client=http)
        mode = REVISION if IS_MODERN else "legacy"
        async with Client(transport, mode=mode, elicitation_callback=on_elicitation) as client:
            await act(client)
    ask("DELETE", f"/gateways/{upstream['id']}")


asyncio.run(main(sys.argv[-1]))
