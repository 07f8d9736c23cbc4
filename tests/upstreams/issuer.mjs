// An authorization server and provider of OpenID Connect on loopback, by npm's oidc-provider, where
// everybody logs in as whom the environment names and consents to everything.
//
// Usage: issuer.mjs PORT. Environment: WHO, JSON of the claims of that person. The keys are made
// anew at each start. Clients register themselves.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const port = Number(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;
const who = { sub: 'someone', email_verified: true, ...JSON.parse(process.env.WHO ?? '{}') };
const load = createRequire(`${process.env.RINGWAY_TEST_NODE}/`);
const { Provider } = await import(pathToFileURL(load.resolve('oidc-provider')));

function key(alg, type, options) {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg };
}

const RESOURCE_SCOPE = 'mcp:use';

const provider = new Provider(issuer, {
  jwks: { keys: [key('RS256', 'rsa', { modulusLength: 2048 }), key('ES256', 'ec', { namedCurve: 'P-256' })] },
  cookies: { keys: [randomUUID()] },
  scopes: ['openid', 'email', 'profile', 'offline_access', RESOURCE_SCOPE],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'groups'] },
  features: {
    devInteractions: { enabled: false },
    registration: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: () => true,
      getResourceServerInfo: (_ctx, resource) => ({
        scope: RESOURCE_SCOPE,
        audience: resource,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: process.env.ALG ?? 'RS256' } },
      }),
    },
  },
  findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => ({ ...who, sub }) }),
  extraTokenClaims: () => ({ email: who.email, email_verified: who.email_verified }),
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  loadExistingGrant: async (ctx) => {
    const { client, session, params } = ctx.oidc;
    const grant = new ctx.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId });
    grant.addOIDCScope(`openid email profile offline_access ${RESOURCE_SCOPE}`);
    for (const resource of [params.resource].flat().filter(Boolean)) {
      grant.addResourceScope(resource, RESOURCE_SCOPE);
    }
    await grant.save();
    return grant;
  },
});

// Nobody is asked anything: whoever comes is logged in.
provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith('/interaction/')) {
    return next();
  }
  await provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: who.sub }, consent: {} });
  ctx.respond = false;
});

provider.on('server_error', (_ctx, error) => console.error(error));
provider.listen(port, '127.0.0.1', () => console.log(`listening at ${issuer}`));
