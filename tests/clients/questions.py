"""The official Python client, asked questions by tools while it calls them, told as one line of JSON.

Usage: questions.py PLAN, where PLAN is JSON: url, token (or null), mode ("legacy" or a modern
revision), calls, a list of {name, arguments}, and, if it is not streamable HTTP, transport ("sse").
"""

import asyncio
import json
import sys

import httpx2
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CreateMessageResult, ElicitResult, ListRootsResult, Root, TextContent

ASKED = []


async def on_sampling(context, params) -> CreateMessageResult:
    ASKED.append("sampling")
    said = TextContent(type="text", text="forty-two")
    return CreateMessageResult(role="assistant", content=said, model="a-model", stop_reason="endTurn")


async def on_elicitation(context, params) -> ElicitResult:
    ASKED.append("elicitation")
    samples = {"string": "Ada", "boolean": True, "integer": 7, "number": 1.5}
    wanted = params.requested_schema.get("properties", {})
    content = {name: samples[shape["type"]] for name, shape in wanted.items() if shape["type"] in samples}
    return ElicitResult(action="accept", content=content)


async def on_roots(context) -> ListRootsResult:
    ASKED.append("roots")
    return ListRootsResult(roots=[Root(uri="file:///project")])


async def visit(plan: dict) -> dict:
    headers = {"Authorization": f"Bearer {plan['token']}"} if plan.get("token") else {}
    async with httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http:
        if plan.get("transport") == "sse":
            transport = sse_client(plan["url"], headers=headers)
        else:
            transport = streamable_http_client(plan["url"], http_client=http)
        client = Client(
            transport,
            mode=plan["mode"],
            sampling_callback=on_sampling,
            elicitation_callback=on_elicitation,
            list_roots_callback=on_roots,
        )
        async with client:
            told = []
            for call in plan["calls"]:
                result = await client.call_tool(call["name"], call["arguments"])
                told.append({"isError": bool(result.is_error), "text": result.content[0].text})
            return {"told": told, "asked": ASKED}


print(json.dumps(asyncio.run(visit(json.loads(sys.argv[1])))))
