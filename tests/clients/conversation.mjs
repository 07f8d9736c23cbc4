// The official TypeScript client v1 over a connection that is its session, told as one line of JSON.
//
// Usage: conversation.mjs PLAN, where PLAN is JSON: transport ("sse" or "websocket"), url, token (or
// null), prefix (of the reference upstream's tools), and change, {url, token}: where a tool is made
// whose coming the client must hear of. RINGWAY_TEST_NODE names the folder whose node_modules hold
// the package.
import { createRequire } from 'node:module';

const plan = JSON.parse(process.argv[2]);
const load = createRequire(`${process.env.RINGWAY_TEST_NODE}/`);
const sdk = '@modelcontextprotocol/sdk';
const { Client } = load(`${sdk}/client/index.js`);
const { SSEClientTransport } = load(`${sdk}/client/sse.js`);
const { WebSocketClientTransport } = load(`${sdk}/client/websocket.js`);
const types = load(`${sdk}/types.js`);
const headers = plan.token ? { Authorization: `Bearer ${plan.token}` } : {};

if (plan.token) {
  // The transport has no way to send a token; a client outside a browser adds one like this.
  const Plain = globalThis.WebSocket;
  globalThis.WebSocket = class extends Plain {
    constructor(url, protocols) {
      super(url, { protocols, headers });
    }
  };
}

function transport() {
  const url = new URL(plan.url);
  if (plan.transport === 'sse') {
    return new SSEClientTransport(url, { requestInit: { headers } });
  }
  return new WebSocketClientTransport(url);
}

const asked = [];
const capabilities = { sampling: {}, elicitation: {}, roots: {} };
const client = new Client({ name: 'typescript-v1', version: '1.0.0' }, { capabilities });
client.setRequestHandler(types.CreateMessageRequestSchema, () => {
  asked.push('sampling');
  return { role: 'assistant', content: { type: 'text', text: 'forty-two' }, model: 'a-model' };
});
client.setRequestHandler(types.ElicitRequestSchema, () => {
  asked.push('elicitation');
  return { action: 'accept', content: { username: 'Ada', email: 'ada@example.com' } };
});
client.setRequestHandler(types.ListRootsRequestSchema, () => {
  asked.push('roots');
  return { roots: [{ uri: 'file:///project' }] };
});
const logged = [];
client.setNotificationHandler(types.LoggingMessageNotificationSchema, (message) => {
  logged.push(message.params.data);
});
const changed = new Promise((resolve) => {
  client.setNotificationHandler(types.ToolListChangedNotificationSchema, resolve);
});

const call = async (name, args = {}, options = undefined) => {
  const params = { name: `${plan.prefix}${name}`, arguments: args };
  return (await client.callTool(params, undefined, options)).content[0].text;
};

// A call that the client gives up: it is told, and goes on with the same connection.
async function giveUp() {
  const end = new AbortController();
  const given = call('test-tool-with-progress', {}, {
    signal: end.signal,
    onprogress: () => end.abort('enough'),
  });
  return given.then(() => 'answered', () => 'given up');
}

await client.connect(transport());
await client.setLoggingLevel('info');
const progress = [];
const seen = {
  tools: (await client.listTools()).tools.map((tool) => tool.name),
  plain: await call('test-simple-text'),
  withProgress: await call('test-tool-with-progress', {}, {
    onprogress: (step) => progress.push(step.progress),
  }),
  logging: await call('test-tool-with-logging'),
  atOnce: await Promise.all(Array.from({ length: 8 }, () => call('test-simple-text'))),
  sampling: await call('test-sampling', { prompt: '?' }),
  elicitation: await call('test-elicitation', { message: '?' }),
  givenUp: await giveUp(),
};
await client.ping();
const made = await fetch(plan.change.url, {
  method: 'POST',
  headers: { 'content-type': 'application/json', authorization: `Bearer ${plan.change.token}` },
  body: JSON.stringify({
    tool: { name: `made-by-${plan.transport}`, url: 'http://127.0.0.1:9/', request_type: 'GET' },
    visibility: 'public',
  }),
});
seen.made = made.status;
await changed;
console.log(JSON.stringify({ ...seen, progress, logged, asked }));
await client.close();
process.exit(0);
