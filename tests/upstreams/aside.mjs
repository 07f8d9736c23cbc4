// An MCP server of 2025-11-25 over streamable HTTP whose tools ask and log by the stream of the session
// that belongs to no request, as servers do that do not say to which request a message belongs.
//
// Usage: aside.mjs PORT KIND. Of the kind `streams` it answers calls by streams, of the kind `json` by
// single messages, of the kind `deaf` it has no such stream. It prints "listens" when a client opens the
// stream, and "cancelled" when a call is.
// RINGWAY_TEST_NODE names the folder whose node_modules hold the packages.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [port, kind] = process.argv.slice(2);
const load = createRequire(`${process.env.RINGWAY_TEST_NODE}/`);
const sdk = (file) => import(pathToFileURL(load.resolve(`@modelcontextprotocol/sdk/${file}`)));
const { McpServer } = await sdk('server/mcp.js');
const { StreamableHTTPServerTransport } = await sdk('server/streamableHttp.js');

const FORM = { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] };
const told = (value) => ({ content: [{ type: 'text', text: JSON.stringify(value) }] });
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let release = () => {};

/** The tools of one session. */
function offer() {
  const capabilities = { tools: {}, logging: {} };
  const mcp = new McpServer({ name: 'aside', version: '1' }, { capabilities });
  const { server } = mcp;
  // None of these says to which request it belongs.
  const tools = {
    elicit: () => server.elicitInput({ message: 'Who?', requestedSchema: FORM }),
    sample: () =>
      server.createMessage({
        messages: [{ role: 'user', content: { type: 'text', text: '?' } }],
        maxTokens: 9,
      }),
    roots: () => server.listRoots(),
    twice: async () => [await tools.elicit(), await tools.elicit()],
    log: async () => {
      await server.sendLoggingMessage({ level: 'warning', data: 'by the way' });
      // It comes by another stream than the answer, which says nothing about their order.
      await pause(300);
      release();
      return 'logged';
    },
    // Ends a moment after the next call of `log`.
    slow: () =>
      new Promise((resolve) => {
        release = () => setTimeout(() => resolve('slow'), 200);
        console.log('runs');
      }),
    hang: ({ signal }) =>
      new Promise((resolve) => {
        console.log('hangs');
        signal.addEventListener('abort', () => {
          console.log('cancelled');
          resolve('cancelled');
        });
      }),
  };
  for (const [name, run] of Object.entries(tools)) {
    mcp.registerTool(name, {}, async (extra) => {
      try {
        return told(await run(extra));
      } catch (error) {
        return { ...told(String(error)), isError: true };
      }
    });
  }
  return mcp;
}

const transports = new Map();

async function open() {
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    enableJsonResponse: kind === 'json',
    onsessioninitialized: (id) => transports.set(id, transport),
    onsessionclosed: (id) => transports.delete(id),
  });
  await offer().connect(transport);
  return transport;
}

const http = createServer(async (request, response) => {
  const id = request.headers['mcp-session-id'];
  const transport = id === undefined ? await open() : transports.get(id);
  if (transport === undefined) {
    response.writeHead(404).end();
  } else if (request.method === 'GET' && kind === 'deaf') {
    response.writeHead(405).end();
  } else {
    if (request.method === 'GET') {
      console.log('listens');
      response.on('close', () => console.log('left'));
    }
    await transport.handleRequest(request, response);
  }
});
http.listen(Number(port), '127.0.0.1');
