// An official TypeScript client (v1) that calls tools as tasks of revision 2025-11-25, told as one line
// of JSON.
//
// Usage: tasks.mjs PLAN. The plan holds url, token, tool, and the name of an answer to what is asked.
// RINGWAY_TEST_NODE names the folder whose node_modules hold the package.
import { createRequire } from 'node:module';

const plan = JSON.parse(process.argv[2]);
const load = createRequire(`${process.env.RINGWAY_TEST_NODE}/`);
const { Client } = load('@modelcontextprotocol/sdk/client/index.js');
const { StreamableHTTPClientTransport } = load('@modelcontextprotocol/sdk/client/streamableHttp.js');
const { ElicitRequestSchema, CallToolResultSchema } = load('@modelcontextprotocol/sdk/types.js');

const asked = [];
const client = new Client({ name: 'tasks', version: '1' }, { capabilities: { elicitation: {} } });
client.setRequestHandler(ElicitRequestSchema, async ({ params }) => {
  asked.push(params._meta?.['io.modelcontextprotocol/related-task']?.taskId);
  return { action: 'accept', content: { interpretation: plan.answer } };
});
const headers = { Authorization: `Bearer ${plan.token}` };
await client.connect(new StreamableHTTPClientTransport(new URL(plan.url), { requestInit: { headers } }));

// What the client knows of a tool it has from the list.
const { tools } = await client.listTools();
const support = tools.find((tool) => tool.name === plan.tool)?.execution?.taskSupport;

async function run(args) {
  const events = [];
  const params = { name: plan.tool, arguments: args };
  const stream = client.experimental.tasks.callToolStream(params, CallToolResultSchema, {
    task: { ttl: 60000 },
  });
  for await (const event of stream) {
    events.push(event);
  }
  return events;
}

const events = await run({ topic: 'python', ambiguous: true });
const created = events.find((event) => event.type === 'taskCreated').task;
const last = events.at(-1);

// Another one is cancelled while it works.
const begun = await client.request(
  {
    method: 'tools/call',
    params: { name: plan.tool, arguments: { topic: 'long', ambiguous: false }, task: {} },
  },
  load('@modelcontextprotocol/sdk/experimental/tasks').CreateTaskResultSchema ??
    load('@modelcontextprotocol/sdk/types.js').CreateTaskResultSchema,
);
const cancelled = await client.experimental.tasks.cancelTask(begun.task.taskId);
const after = await client.experimental.tasks.getTask(begun.task.taskId);
const refused = await client.experimental.tasks.getTask('no-such-task').catch((error) => error.code);

console.log(
  JSON.stringify({
    capabilities: client.getServerCapabilities().tasks,
    support,
    statuses: [...new Set(events.filter((e) => e.type === 'taskStatus').map((e) => e.task.status))],
    ids: [...new Set([created.taskId, ...asked])].length,
    asked: asked.length,
    last: last.type,
    text: last.result?.content?.[0]?.text ?? String(last.error),
    related: last.result?._meta?.['io.modelcontextprotocol/related-task']?.taskId === created.taskId,
    cancelled: [cancelled.status, after.status],
    refused,
  }),
);
await client.close();
