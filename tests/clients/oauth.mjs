// One visit of the official TypeScript client (v1) to an endpoint of MCP that it has no token for: it
// reads whose tokens open it, registers there, logs in, and comes back with one.
//
// Usage: oauth.mjs PLAN, where PLAN is JSON: url, tool {name, arguments}. Prints one line of JSON:
// tools, call, token, and what it was told of the authorization server.
import { createRequire } from 'node:module';
import { walk } from './walk.mjs';

const plan = JSON.parse(process.argv[2]);
const load = createRequire(`${process.env.RINGWAY_TEST_NODE}/`);
const { Client } = load('@modelcontextprotocol/sdk/client/index.js');
const { StreamableHTTPClientTransport } = load('@modelcontextprotocol/sdk/client/streamableHttp.js');
const { UnauthorizedError } = load('@modelcontextprotocol/sdk/client/auth.js');

const BACK = 'http://127.0.0.1:1/back';

const person = {
  redirectUrl: BACK,
  clientMetadata: {
    client_name: 'tests',
    redirect_uris: [BACK],
    grant_types: ['authorization_code'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
  },
  clientInformation: () => person.client,
  saveClientInformation: (client) => { person.client = client; },
  tokens: () => person.granted,
  saveTokens: (granted) => { person.granted = granted; },
  saveCodeVerifier: (verifier) => { person.verifier = verifier; },
  codeVerifier: () => person.verifier,
  redirectToAuthorization: async (url) => {
    const { url: back, body } = await walk(url, BACK);
    person.code = new URL(back).searchParams.get('code');
    if (!person.code) {
      throw new Error(`no code came back: ${back} ${body}`);
    }
  },
};

async function connect() {
  const transport = new StreamableHTTPClientTransport(new URL(plan.url), { authProvider: person });
  const client = new Client({ name: 'typescript-v1', version: '1.0.0' }, {});
  try {
    await client.connect(transport);
  } catch (error) {
    if (!(error instanceof UnauthorizedError) || person.granted) {
      throw error;
    }
    await transport.finishAuth(person.code);
    return connect();
  }
  return client;
}

const client = await connect();
console.log(JSON.stringify({
  tools: (await client.listTools()).tools.map((tool) => tool.name),
  call: await client.callTool(plan.tool),
  token: person.granted.access_token,
}));
await client.close();
