// What an official TypeScript client hears while it works and answers when it is asked, told as one
// line of JSON.
//
// Usage: features.mjs v1|v2 PLAN. The plan is that of features.py, and asks, a list of {name,
// arguments} of tools that ask the client something; for v1 the mode must be "legacy".
// RINGWAY_TEST_NODE names the folder whose node_modules hold the two packages.
import { createRequire } from 'node:module';

const [generation, planText] = process.argv.slice(2);
const plan = JSON.parse(planText);
const load = createRequire(`${process.env.RINGWAY_TEST_NODE}/`);
const isModern = plan.mode !== 'legacy';

function parts() {
  if (generation === 'v2') {
    return load('@modelcontextprotocol/client');
  }
  return {
    ...load('@modelcontextprotocol/sdk/client/index.js'),
    ...load('@modelcontextprotocol/sdk/client/streamableHttp.js'),
    schemas: load('@modelcontextprotocol/sdk/types.js'),
  };
}

const { Client, StreamableHTTPClientTransport, schemas } = parts();
const headers = { Authorization: `Bearer ${plan.token}` };

// The first generation names handlers by schemas, the second by methods.
const SCHEMAS = {
  'notifications/message': 'LoggingMessageNotificationSchema',
  'notifications/tools/list_changed': 'ToolListChangedNotificationSchema',
  'notifications/resources/updated': 'ResourceUpdatedNotificationSchema',
  'sampling/createMessage': 'CreateMessageRequestSchema',
  'elicitation/create': 'ElicitRequestSchema',
  'roots/list': 'ListRootsRequestSchema',
};
const key = (method) => (schemas ? schemas[SCHEMAS[method]] : method);

function options() {
  const capabilities = { sampling: {}, elicitation: {}, roots: {} };
  if (generation === 'v1' || !isModern) {
    return { capabilities };
  }
  const mode = plan.mode === 'auto' ? 'auto' : { pin: plan.mode };
  return { capabilities, versionNegotiation: { mode } };
}

const heard = [];
const logs = [];
const asked = [];
let wake = () => {};

function listenTo(client) {
  client.setNotificationHandler(key('notifications/message'), ({ params }) => {
    logs.push(params.data);
  });
  for (const method of ['notifications/tools/list_changed', 'notifications/resources/updated']) {
    client.setNotificationHandler(key(method), () => {
      heard.push(method);
      wake();
    });
  }
  client.setRequestHandler(key('sampling/createMessage'), () => {
    asked.push('sampling');
    return { role: 'assistant', content: { type: 'text', text: 'forty-two' }, model: 'a-model' };
  });
  client.setRequestHandler(key('elicitation/create'), ({ params }) => {
    asked.push('elicitation');
    const samples = { string: 'Ada', boolean: true, integer: 7, number: 1.5 };
    const fields = Object.entries(params.requestedSchema.properties);
    return {
      action: 'accept',
      content: Object.fromEntries(fields.map(([name, { type }]) => [name, samples[type]])),
    };
  });
  client.setRequestHandler(key('roots/list'), () => {
    asked.push('roots');
    return { roots: [{ uri: 'file:///project' }] };
  });
}

async function rest(method, path, body) {
  const answer = await fetch(`${plan.base}${path}`, {
    method,
    headers: { ...headers, 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!answer.ok) {
    throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  }
}

let count = 0;
const CHANGES = {
  'notifications/tools/list_changed': () => {
    count += 1;
    const tool = { name: `${plan.label}-${count}`, url: 'http://127.0.0.1:9/', request_type: 'GET' };
    return rest('POST', '/tools', { tool, visibility: 'public' });
  },
  'notifications/resources/updated': () => {
    count += 1;
    return rest('PUT', `/resources/${plan.resource.id}`, { content: `${plan.label} ${count}` });
  },
};

// Makes a change again and again until it was heard of: the stream may open a little later.
async function untilTold(method) {
  for (let round = 0; !heard.includes(method); round += 1) {
    if (round === 60) {
      throw new Error(`${method} was not heard`);
    }
    await CHANGES[method]();
    await new Promise((resolve) => {
      wake = resolve;
      setTimeout(resolve, 500);
    });
  }
}

// Gives up a call in its middle.
async function cancelled(client) {
  const controller = new AbortController();
  const within = { signal: controller.signal, onprogress: () => controller.abort(), timeout: 30000 };
  const call = schemas
    ? client.callTool(plan.slow, undefined, within)
    : client.callTool(plan.slow, within);
  return call.then(
    () => false,
    () => controller.signal.aborted,
  );
}

async function call(client, tool, within) {
  return schemas ? client.callTool(tool, undefined, within) : client.callTool(tool, within);
}

async function use(client, transport) {
  const progress = [];
  const onprogress = (note) => progress.push(note.progress);
  if (!isModern) {
    await client.ping();
    await client.setLoggingLevel('info');
  }
  await call(client, { name: plan.progress, arguments: {} }, { onprogress });
  const level = { 'io.modelcontextprotocol/logLevel': 'info' };
  await call(client, { name: plan.logging, arguments: {}, ...(isModern && { _meta: level }) });
  const told = [];
  for (const tool of plan.asks) {
    told.push((await call(client, tool)).content[0].text);
  }
  const gaveUp = await cancelled(client);
  const uri = plan.resource.uri;
  const subscription = isModern
    ? await client.listen({ toolsListChanged: true, resourceSubscriptions: [uri] })
    : await client.subscribeResource({ uri });
  await untilTold('notifications/tools/list_changed');
  await untilTold('notifications/resources/updated');
  await (isModern ? subscription.close() : client.unsubscribeResource({ uri }));
  return {
    protocolVersion: client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion,
    progress,
    logs,
    told,
    asked,
    cancelled: gaveUp,
    heard: [...new Set(heard)],
  };
}

const transport = new StreamableHTTPClientTransport(new URL(plan.url), { requestInit: { headers } });
const client = new Client({ name: `typescript-${generation}`, version: '1.0.0' }, options());
listenTo(client);
await client.connect(transport);
console.log(JSON.stringify(await use(client, transport)));
await client.close();
