import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  createScramClient,
  createScramServer,
  keysOfPassword,
  mockVerifier,
  OutdatedKeysError,
  parseVerifier,
  ScramError,
} from './scram.ts';
import type { ScramVerifier } from './types.ts';

async function verifierOf(password: string, salt: Buffer, iterations: number): Promise<ScramVerifier> {
  const { storedKey, serverKey } = await keysOfPassword(password, salt, iterations);
  return { iterations, salt, storedKey, serverKey };
}

test('the server side gives the answers of RFC 7677', async () => {
  const verifier = await verifierOf('pencil', Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'), 4096);
  const server = createScramServer(verifier, '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0');
  assert.equal(
    server.first('n,,n=user,r=rOprNGfwEbeRWgbNEkqO'),
    'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  );
  const result = server.final(
    'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  );
  assert.equal(result?.serverFinal, 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=');
});

test('any password logs in, and the keys recovered from the proof log in again', async () => {
  const salt = fc.uint8Array({ minLength: 1, maxLength: 20 });
  const password = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(password, salt, fc.integer({ min: 1, max: 50 }), async (secret, saltBytes, iterations) => {
      const verifier = await verifierOf(secret, Buffer.from(saltBytes), iterations);
      const first = await exchange(verifier, createScramClient({ kind: 'password', password: secret }, 'abc'));
      assert.ok(first);
      const keys = { kind: 'scram-keys', clientKey: first.clientKey, verifier } as const;
      assert.ok(await exchange(verifier, createScramClient(keys, 'def')));
    }),
    { numRuns: 50 },
  );
});

/** Null: the server refused. Throws if the server's own proof is wrong. */
async function exchange(
  verifier: ScramVerifier,
  client: ReturnType<typeof createScramClient>,
): Promise<{ clientKey: Buffer } | null> {
  const server = createScramServer(verifier, 'server-nonce');
  const result = server.final(await client.respond(server.first(client.first())));
  if (result !== null) assert.ok(client.verify(result.serverFinal));
  return result;
}

test('a wrong password and the mock verifier are refused, the latter with the same salt each time', async () => {
  const verifier = await verifierOf('right', Buffer.from('salt'), 4096);
  assert.equal(await exchange(verifier, createScramClient({ kind: 'password', password: 'wrong' }, 'n')), null);
  const secret = Buffer.from('secret');
  assert.deepEqual(mockVerifier('nobody', secret), mockVerifier('nobody', secret));
  assert.notDeepEqual(mockVerifier('nobody', secret).salt, mockVerifier('somebody', secret).salt);
  const mock = mockVerifier('nobody', secret);
  assert.equal(await exchange(mock, createScramClient({ kind: 'password', password: 'x' }, 'n')), null);
});

test('keys of an earlier password are told apart from an unreachable server', async () => {
  const before = await verifierOf('before', Buffer.from('salt1'), 4096);
  const after = await verifierOf('after', Buffer.from('salt2'), 4096);
  const client = createScramClient({ kind: 'scram-keys', clientKey: Buffer.alloc(32), verifier: before }, 'n');
  await assert.rejects(exchange(after, client), OutdatedKeysError);
});

test('a server that does not know the verifier is found out', async () => {
  const verifier = await verifierOf('right', Buffer.from('salt'), 10);
  const client = createScramClient({ kind: 'password', password: 'right' }, 'n');
  assert.equal(client.verify('v=AAAA'), false);
  const server = createScramServer({ ...verifier, serverKey: Buffer.alloc(32) }, 's');
  const result = server.final(await client.respond(server.first(client.first())));
  assert.ok(result);
  assert.equal(client.verify(result.serverFinal), false);
  assert.equal(client.verify('e=other-error'), false);
});

const malformed: readonly (readonly [string, string])[] = [
  ['channel binding', 'p=tls-server-end-point,,n=,r=abc'],
  ['authorization identity', 'n,a=other,n=,r=abc'],
  ['mandatory extension', 'n,,m=x,n=,r=abc'],
  ['no nonce', 'n,,n=user'],
  ['unprintable nonce', 'n,,n=,r=a\tb'],
  ['nonsense', 'hello'],
  ['nothing', ''],
];
for (const [name, clientFirst] of malformed) {
  test(`a first message with ${name} is refused`, async () => {
    const verifier = await verifierOf('x', Buffer.from('salt'), 1);
    assert.throws(() => createScramServer(verifier, 's').first(clientFirst), ScramError);
  });
}

test('a final message with another nonce, another header or without a proof is refused', async () => {
  const verifier = await verifierOf('x', Buffer.from('salt'), 1);
  const server = createScramServer(verifier, 's');
  server.first('y,,n=,r=abc');
  const proof = Buffer.alloc(32).toString('base64');
  assert.throws(() => server.final(`c=eSws,r=other,p=${proof}`), /nonce/);
  assert.throws(() => server.final(`c=biws,r=abcs,p=${proof}`), /channel-binding/);
  assert.throws(() => server.final('c=eSws,r=abcs'), /malformed/);
  assert.equal(server.final(`c=eSws,r=abcs,p=${proof}`), null);
});

test('verifiers of pg_authid are read, and other passwords are none', () => {
  const text =
    'SCRAM-SHA-256$4096:MTIzNDU2Nzg5MDEyMzQ1Ng==$' +
    'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=';
  assert.equal(parseVerifier(text)?.salt.toString(), '1234567890123456');
  assert.equal(parseVerifier('md59f5f4aefc3b7b4ba4a2d4b5a4e7bd0aa'), null);
  assert.equal(parseVerifier(null), null);
});
