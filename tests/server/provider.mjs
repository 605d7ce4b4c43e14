// A provider of identities: the npm package oidc-provider, with its own pages to log in.
// Arguments: the directory that the package is installed in. A line `rotate` on standard input replaces its key.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { generateKeyPairSync } from 'node:crypto';
import { pathToFileURL } from 'node:url';

const { Provider } = await import(pathToFileURL(`${process.argv[2]}/node_modules/oidc-provider/lib/index.js`).href);

let number = 0;
const key = () => {
  number += 1;
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: `key-${number}`, use: 'sig', alg: 'RS256' };
};
const RESOURCE = 'https://registry.example.com';
// What is kept is kept across the change of a key.
const rows = new Map();
class Memory {
  constructor(name) { this.name = name; }
  key(id) { return `${this.name}:${id}`; }
  async upsert(id, payload) {
    rows.set(this.key(id), payload);
    if (payload.userCode) rows.set(`code:${payload.userCode}`, id);
    if (payload.uid) rows.set(`uid:${payload.uid}`, id);
  }
  async find(id) { return rows.get(this.key(id)); }
  async findByUserCode(code) { return this.find(rows.get(`code:${code}`)); }
  async findByUid(uid) { return this.find(rows.get(`uid:${uid}`)); }
  async consume(id) { rows.get(this.key(id)).consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { rows.delete(this.key(id)); }
  async revokeByGrantId(grant) {
    for (const [name, row] of rows) if (row && row.grantId === grant) rows.delete(name);
  }
}
const life = Number(process.argv[3] ?? 3600);
const configuration = () => ({
  adapter: Memory,
  jwks: { keys: [key()] },
  cookies: { keys: ['cookie'] },
  clients: [
    {
      client_id: 'consign', token_endpoint_auth_method: 'none', redirect_uris: [], response_types: [],
      grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
    },
    {
      client_id: 'ci:1', client_secret: 'a secret/with+signs', redirect_uris: [], response_types: [],
      grant_types: ['client_credentials'],
    },
  ],
  claims: { openid: ['sub'], email: ['email'] },
  conformIdTokenClaims: false,
  ttl: { IdToken: life, AccessToken: 3600, DeviceCode: 600, RefreshToken: 86400, Grant: 86400, Session: 3600, Interaction: 600, ClientCredentials: 600 },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, email: `${id}@example.com` }) }),
  features: {
    deviceFlow: { enabled: true },
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: () => false,
      getResourceServerInfo: (ctx, resource) => {
        if (resource !== RESOURCE) throw new Error('unknown resource');
        return { scope: 'api', audience: RESOURCE, accessTokenTTL: 600, accessTokenFormat: 'jwt' };
      },
    },
  },
});

const server = createServer((request, response) => callback(request, response));
let callback;
let issuer;
const renew = () => {
  const provider = new Provider(issuer, configuration());
  callback = provider.callback();
};
server.listen(0, '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  renew();
  console.log(issuer);
});
createInterface({ input: process.stdin }).on('line', (line) => {
  if (line === 'rotate') {
    renew();
    console.log('rotated');
  }
}).on('close', () => process.exit(0));
