"""One visit of the official Python client to an endpoint of MCP that it has no token for: it reads
whose tokens open it, registers there, logs in, and comes back with one.

Usage: oauth.py PLAN, where PLAN is JSON: url, tool {name, arguments}. Prints one line of JSON: tools,
call, token.
"""

import asyncio
import json
import sys
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata

BACK = "http://127.0.0.1:1/back"
STEPS_MAX = 20


class Memory:
    def __init__(self):
        self.tokens = None
        self.client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class Person:
    """Who follows wherever the authorization server sends them, until they are sent back."""

    async def go(self, url: str) -> None:
        async with httpx2.AsyncClient(timeout=30, trust_env=False) as http:
            for _ in range(STEPS_MAX):
                if url.startswith(BACK):
                    self.back = parse_qs(urlsplit(url).query)
                    return
                answer = await http.get(url)
                url = urljoin(url, answer.headers["location"])
        raise RuntimeError("sent on too often")

    async def come_back(self) -> AuthorizationCodeResult:
        of = lambda name: self.back.get(name, [None])[0]
        return AuthorizationCodeResult(code=of("code"), state=of("state"), iss=of("iss"))


async def visit(plan: dict) -> dict:
    memory, person = Memory(), Person()
    metadata = OAuthClientMetadata(
        client_name="tests", redirect_uris=[BACK], token_endpoint_auth_method="none"
    )
    login = OAuthClientProvider(plan["url"], metadata, memory, person.go, person.come_back)
    async with httpx2.AsyncClient(auth=login, timeout=30, trust_env=False) as http:
        transport = streamable_http_client(plan["url"], http_client=http)
        async with Client(transport) as client:
            call = await client.call_tool(plan["tool"]["name"], plan["tool"]["arguments"])
            return {
                "tools": [tool.name for tool in (await client.list_tools()).tools],
                "call": call.model_dump(by_alias=True, mode="json", exclude_none=True),
                "token": memory.tokens.access_token,
            }


print(json.dumps(asyncio.run(visit(json.loads(sys.argv[1])))))
