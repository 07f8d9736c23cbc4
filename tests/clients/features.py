"""What official Python clients hear while they work, told as one line of JSON.

Usage: features.py mcp|fastmcp PLAN, where PLAN is JSON: url, base (of the REST API), token, mode
("auto", "legacy" or a modern revision), progress and logging (names of tools), slow {name, arguments}
(a tool that reports progress long before it ends), resource {id, uri} (one of the gateway's own).
"""

import asyncio
import json
import sys

import fastmcp
import httpx2
import mcp
from fastmcp.client.transports import StreamableHttpTransport
from mcp.client.streamable_http import streamable_http_client

PATIENCE = 30


class Heard:
    """What came by itself."""

    def __init__(self) -> None:
        self.logs = []
        self.methods = []
        self.news = asyncio.Event()

    async def on_log(self, params) -> None:
        self.logs.append(params.data if isinstance(params.data, str) else params.data.get("msg"))

    async def on_message(self, message) -> None:
        self.methods.append(getattr(message, "method", None))
        self.news.set()


async def until_told(heard: Heard, method: str, change) -> bool:
    """Makes a change again and again until it was heard of: the stream may open a little later."""
    async with asyncio.timeout(PATIENCE):
        while method not in heard.methods:
            await change()
            heard.news.clear()
            try:
                async with asyncio.timeout(0.5):
                    await heard.news.wait()
            except TimeoutError:
                pass
    return True


class Changes:
    """Changes made over the REST API."""

    def __init__(self, http: httpx2.AsyncClient, plan: dict) -> None:
        self.http, self.plan, self.count = http, plan, 0

    async def tools(self) -> None:
        self.count += 1
        name = f"{self.plan['label']}-{self.count}"
        tool = {"name": name, "url": "http://127.0.0.1:9/", "request_type": "GET"}
        body = {"tool": tool, "visibility": "public"}
        (await self.http.post(f"{self.plan['base']}/tools", json=body)).raise_for_status()

    async def resource(self) -> None:
        self.count += 1
        url = f"{self.plan['base']}/resources/{self.plan['resource']['id']}"
        body = {"content": f"{self.plan['label']} {self.count}"}
        (await self.http.put(url, json=body)).raise_for_status()


async def cancelled(client, slow: dict, keyword: str) -> bool:
    """Gives up a call in its middle."""
    begun = asyncio.Event()

    async def note(*_) -> None:
        begun.set()

    call = asyncio.create_task(client.call_tool(slow["name"], slow["arguments"], **{keyword: note}))
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
    call.cancel()
    try:
        await call
    except asyncio.CancelledError:
        return True
    return False


async def listened(client, heard: Heard, plan: dict, changes: Changes) -> None:
    """Hears of changes as a client without a session does."""
    wanted = client.listen(tools_list_changed=True, resource_subscriptions=[plan["resource"]["uri"]])
    async with wanted as events:
        await changes.tools()
        await changes.resource()
        async with asyncio.timeout(PATIENCE):
            async for event in events:
                heard.methods.append(type(event).__name__)
                if {"ToolsListChanged", "ResourceUpdated"} <= set(heard.methods):
                    return


async def use(client, heard: Heard, plan: dict, changes: Changes) -> dict:
    is_modern = str(client.protocol_version) >= "2026"
    is_fast = isinstance(client, fastmcp.Client)
    keyword = "progress_handler" if is_fast else "progress_callback"
    progress = []

    async def note(done, total, message) -> None:
        progress.append(done)

    seen = {"protocolVersion": str(client.protocol_version), "progress": progress}
    if not is_modern:
        await (client.ping() if is_fast else client.send_ping())
        await client.set_logging_level("info")
    await client.call_tool(plan["progress"], {}, **{keyword: note})
    await client.call_tool(plan["logging"], {})
    seen["logs"] = heard.logs
    seen["cancelled"] = await cancelled(client, plan["slow"], keyword)
    if is_modern:
        if not is_fast:
            await listened(client, heard, plan, changes)
    else:
        await until_told(heard, "notifications/tools/list_changed", changes.tools)
        session = client.session if is_fast else client
        await session.subscribe_resource(plan["resource"]["uri"])
        await until_told(heard, "notifications/resources/updated", changes.resource)
        await session.unsubscribe_resource(plan["resource"]["uri"])
    await client.call_tool(plan["progress"], {})
    seen["heard"] = sorted({method for method in heard.methods if method})
    return seen


async def visit(kind: str, plan: dict) -> dict:
    heard = Heard()
    headers = {"Authorization": f"Bearer {plan['token']}"}
    async with httpx2.AsyncClient(headers=headers, timeout=PATIENCE, trust_env=False) as http:
        if kind == "fastmcp":
            client = fastmcp.Client(
                StreamableHttpTransport(plan["url"], headers=headers),
                mode=plan["mode"],
                log_handler=heard.on_log,
                message_handler=heard.on_message,
            )
        else:
            client = mcp.Client(
                streamable_http_client(plan["url"], http_client=http),
                mode=plan["mode"],
                logging_callback=heard.on_log,
                log_level="info",
                message_handler=heard.on_message,
            )
        async with client:
            return await use(client, heard, plan, Changes(http, plan))


print(json.dumps(asyncio.run(visit(sys.argv[1], json.loads(sys.argv[2])))))
