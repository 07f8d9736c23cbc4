"""Visits of the official Python client to an MCP server by any of its transports, told as one line
of JSON.

Usage: bridged.py PLAN, where PLAN is JSON: stdio (a command), sse or http (a URL), mode ("auto",
"legacy" or a modern revision), and calls, a list of {name, arguments}. What the server asks in turn
is answered: it samples "sampled", and has the root file:///bridged. With clients, as many visits
are made at the same time.
"""

import asyncio
import json
import os
import sys

import httpx2
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CreateMessageResult, ListRootsResult, Root, TextContent


def plain(model) -> dict:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


def transport(plan: dict, http: httpx2.AsyncClient):
    if "stdio" in plan:
        program, *arguments = plan["stdio"]
        return stdio_client(
            StdioServerParameters(command=program, args=arguments, env=dict(os.environ))
        )
    if "sse" in plan:
        return sse_client(plan["sse"])
    return streamable_http_client(plan["http"], http_client=http)


async def visit(plan: dict) -> dict:
    progress = []

    async def sample(context, params):
        content = TextContent(type="text", text="sampled")
        return CreateMessageResult(role="assistant", content=content, model="none")

    async def list_roots(context):
        return ListRootsResult(roots=[Root(uri="file:///bridged", name="bridged")])

    async def note(done, total, message):
        progress.append(done)

    async with httpx2.AsyncClient(timeout=60, trust_env=False) as http:
        async with Client(
            transport(plan, http),
            mode=plan["mode"],
            sampling_callback=sample,
            list_roots_callback=list_roots,
        ) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            calls = [
                client.call_tool(call["name"], call["arguments"], progress_callback=note)
                for call in plan["calls"]
            ]
            return {
                "protocolVersion": str(client.protocol_version),
                "tools": tools,
                "calls": [plain(result) for result in await asyncio.gather(*calls)],
                "progress": progress,
            }


async def main(plan: dict) -> dict:
    count = plan.get("clients", 1)
    visits = await asyncio.gather(*(visit(plan) for _ in range(count)))
    return {"visits": visits}


print(json.dumps(asyncio.run(main(json.loads(sys.argv[1])))))
