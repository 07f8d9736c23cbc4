// An MCP server over WebSockets: each text is a message, and the connection is the session.
//
// Usage: socket.mjs PORT KIND [KEY CERTIFICATE]. The kind is `everything` for the features of npm's
// everything server and a few more tools, `modern` for a server of the stateless revision, or a way
// to be bad: `closes`, `garbage`, `oversized`, `binary`, `silent`. With a key and a certificate it is
// served over TLS. It prints each message that comes, as one line of JSON, behind the word "got" and
// the number of its socket.
// RINGWAY_TEST_NODE names the folder whose node_modules hold the packages.
import { readFileSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [port, kind, key, certificate] = process.argv.slice(2);
const load = createRequire(`${process.env.RINGWAY_TEST_NODE}/`);
const { WebSocketServer } = load('ws');

/** A socket as the SDK's transport. */
class SocketTransport {
  constructor(socket) {
    this.socket = socket;
  }

  async start() {
    this.socket.on('message', (text) => this.onmessage?.(JSON.parse(text)));
    this.socket.on('close', () => this.onclose?.());
  }

  async send(message) {
    this.socket.send(JSON.stringify(message));
  }

  async close() {
    this.socket.close();
  }
}

const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];

/** Serves npm's everything server, a server for each connection. */
async function everything() {
  const file = load.resolve('@modelcontextprotocol/server-everything/dist/server/index.js');
  const { createServer } = await import(pathToFileURL(file));
  const all = new Set();
  let isGrown = false;
  return async (socket) => {
    const { server, cleanup } = createServer();
    server.registerTool('log', { description: 'Logs at every level.' }, async () => {
      for (const level of LEVELS) {
        await server.sendLoggingMessage({ level, data: `a message of ${level}` });
      }
      return { content: [{ type: 'text', text: 'logged' }] };
    });
    const grow = () => {
      server.registerTool('grown', { description: 'Was added.' }, async () => ({ content: [] }));
    };
    server.registerTool('grow', { description: 'Adds a tool for all.' }, async () => {
      for (const one of all) one();
      all.clear();
      isGrown = true;
      return { content: [{ type: 'text', text: 'grown' }] };
    });
    if (isGrown) {
      grow();
    } else {
      all.add(grow);
    }
    socket.on('close', () => {
      all.delete(grow);
      cleanup(undefined);
    });
    await server.connect(new SocketTransport(socket));
  };
}

/** Serves one tool by the stateless revision. */
function modern() {
  const subscriptions = new Set();
  const tools = ['count'];
  return (socket) => {
    const send = (message) => socket.send(JSON.stringify({ jsonrpc: '2.0', ...message }));
    const running = new Map();
    const listed = () => tools.map((name) => ({ name, inputSchema: { type: 'object' } }));
    const answers = {
      'server/discover': () => ({
        supportedVersions: ['2026-07-28'],
        capabilities: { tools: { listChanged: true }, logging: {} },
        serverInfo: { name: 'modern', version: '1' },
      }),
      'tools/list': () => ({ tools: listed(), ttlMs: 0, cacheScope: 'private' }),
      'tools/call': ({ name, arguments: given, _meta: meta }) => {
        const token = meta.progressToken;
        if (token !== undefined) {
          const params = { progressToken: token, progress: 1 };
          send({ method: 'notifications/progress', params });
        }
        if (given?.grow) {
          tools.push('grown');
          for (const tell of subscriptions) tell('notifications/tools/list_changed');
        }
        const text = `${name} of ${meta['io.modelcontextprotocol/protocolVersion']}`;
        return { content: [{ type: 'text', text }] };
      },
    };
    socket.on('message', (text) => {
      const { id, method, params } = JSON.parse(text);
      if (method === 'notifications/cancelled') {
        running.get(params.requestId)?.();
      } else if (method === 'subscriptions/listen') {
        const about = { _meta: { 'io.modelcontextprotocol/subscriptionId': String(id) } };
        const tell = (what) => send({ method: what, params: about });
        send({
          method: 'notifications/subscriptions/acknowledged',
          params: { ...about, notifications: { toolsListChanged: true } },
        });
        subscriptions.add(tell);
        running.set(id, () => subscriptions.delete(tell));
        socket.on('close', () => subscriptions.delete(tell));
      } else if (params?.arguments?.hang) {
        running.set(id, () => {});
      } else if (!answers[method] || !params._meta) {
        send({ id, error: { code: -32601, message: 'Method not found' } });
      } else {
        send({ id, result: { resultType: 'complete', ...answers[method](params) } });
      }
    });
  };
}

/** Shakes hands, and then does what it should not. */
function bad(deed) {
  return (socket) => {
    if (kind === 'closes') {
      socket.close(1008, 'go away');
      return;
    }
    socket.on('message', (text) => {
      const { id, method } = JSON.parse(text);
      const send = (message) => socket.send(JSON.stringify({ jsonrpc: '2.0', id, ...message }));
      if (method === 'initialize') {
        const serverInfo = { name: 'bad', version: '1' };
        send({ result: { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo } });
      } else if (method === 'tools/list') {
        send({ result: { tools: [{ name: 'one', inputSchema: { type: 'object' } }] } });
      } else if (method === 'tools/call') {
        deed(socket);
      } else if (id !== undefined) {
        send({ error: { code: -32601, message: 'Method not found' } });
      }
    });
  };
}

const DEEDS = {
  closes: () => {},
  silent: () => {},
  garbage: (socket) => socket.send('{"jsonrpc":"2.0","id":'),
  binary: (socket) => socket.send(Buffer.from([1, 2, 3])),
  oversized: (socket) => socket.send('x'.repeat(4 * 1024 * 1024)),
};

const KINDS = { everything, modern };
const serve = await (KINDS[kind]?.() ?? bad(DEEDS[kind]));
const http = key
  ? createHttps({ key: readFileSync(key), cert: readFileSync(certificate) })
  : createHttp();
const sockets = new WebSocketServer({ server: http, handleProtocols: (offered) => [...offered][0] });
let count = 0;
sockets.on('connection', (socket, request) => {
  count += 1;
  const number = count;
  console.log('opened', request.headers.authorization ?? 'without credentials', socket.protocol);
  socket.on('message', (text) => console.log('got', number, String(text)));
  socket.on('close', (code) => console.log('closed', code));
  serve(socket);
});
http.listen(Number(port), '127.0.0.1');
