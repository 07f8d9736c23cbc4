// One visit of an official TypeScript client to an MCP endpoint, told as one line of JSON.
//
// Usage: official.mjs v1|v2 PLAN. The plan is that of official.py; for v1 the mode must be
// "legacy". RINGWAY_TEST_NODE names the folder whose node_modules hold the two packages.
import { createRequire } from 'node:module';

const [generation, planText] = process.argv.slice(2);
const plan = JSON.parse(planText);
const load = createRequire(`${process.env.RINGWAY_TEST_NODE}/`);

function parts() {
  if (generation === 'v2') {
    return load('@modelcontextprotocol/client');
  }
  return {
    ...load('@modelcontextprotocol/sdk/client/index.js'),
    ...load('@modelcontextprotocol/sdk/client/streamableHttp.js'),
  };
}

function options() {
  if (generation === 'v1' || plan.mode === 'legacy') {
    return {};
  }
  const mode = plan.mode === 'auto' ? 'auto' : { pin: plan.mode };
  return { versionNegotiation: { mode } };
}

async function lookAround(client, transport) {
  const asked = plan.complete;
  return {
    protocolVersion: client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion,
    tools: (await client.listTools()).tools.map((tool) => tool.name),
    resources: (await client.listResources()).resources.map((one) => one.uri),
    prompts: (await client.listPrompts()).prompts.map((prompt) => prompt.name),
    call: await client.callTool(plan.tool),
    read: await client.readResource({ uri: plan.resource }),
    prompt: await client.getPrompt(plan.prompt),
    completion: await client.complete({
      ref: { type: 'ref/prompt', name: asked.prompt },
      argument: { name: asked.argument, value: asked.value },
    }),
  };
}

const { Client, StreamableHTTPClientTransport } = parts();
const headers = plan.token ? { Authorization: `Bearer ${plan.token}` } : {};
const transport = new StreamableHTTPClientTransport(new URL(plan.url), { requestInit: { headers } });
const client = new Client({ name: `typescript-${generation}`, version: '1.0.0' }, options());
await client.connect(transport);
console.log(JSON.stringify(await lookAround(client, transport)));
await client.close();
