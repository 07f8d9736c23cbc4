"""One visit of the official Python client to an MCP endpoint, told as one line of JSON.

Usage: official.py PLAN, where PLAN is JSON: url, token (or null), mode ("auto", "legacy" or a
modern revision), and what to do there: tool {name, arguments}, resource (a URI), prompt
{name, arguments}, complete {prompt, argument, value}.
"""

import asyncio
import json
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import PromptReference


def plain(model) -> dict:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


async def visit(plan: dict) -> dict:
    headers = {"Authorization": f"Bearer {plan['token']}"} if plan.get("token") else {}
    async with httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http:
        transport = streamable_http_client(plan["url"], http_client=http)
        async with Client(transport, mode=plan["mode"]) as client:
            return await look_around(client, plan)


async def look_around(client: Client, plan: dict) -> dict:
    asked = plan["complete"]
    argument = {"name": asked["argument"], "value": asked["value"]}
    return {
        "protocolVersion": str(client.protocol_version),
        "tools": [tool.name for tool in (await client.list_tools()).tools],
        "resources": [str(one.uri) for one in (await client.list_resources()).resources],
        "prompts": [prompt.name for prompt in (await client.list_prompts()).prompts],
        "call": plain(await client.call_tool(plan["tool"]["name"], plan["tool"]["arguments"])),
        "read": plain(await client.read_resource(plan["resource"])),
        "prompt": plain(await client.get_prompt(plan["prompt"]["name"], plan["prompt"]["arguments"])),
        "completion": plain(await client.complete(PromptReference(name=asked["prompt"]), argument)),
    }


print(json.dumps(asyncio.run(visit(json.loads(sys.argv[1])))))
