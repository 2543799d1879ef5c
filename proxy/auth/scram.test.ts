import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
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

describe('with channel binding', async () => {
  const channel = createHash('sha256').update('certificate').digest();
  const verifier = await verifierOf('x', Buffer.from('salt'), 10);
  const password = { kind: 'password', password: 'x' } as const;
  const offered = { data: channel, selected: false };

  test('a proof for the same channel logs in, one for another channel does not', async () => {
    const server = createScramServer(verifier, 's', { data: channel, selected: true });
    const client = createScramClient(password, 'n', channel);
    assert.equal(client.first(), 'p=tls-server-end-point,,n=,r=n');
    const result = server.final(await client.respond(server.first(client.first())));
    assert.ok(result !== null && client.verify(result.serverFinal));
    const other = createScramServer(verifier, 's', { data: Buffer.alloc(32), selected: true });
    const final = await client.respond(other.first(client.first()));
    assert.throws(() => other.final(final), { message: 'SCRAM channel binding check failed', sqlState: '28000' });
  });

  test('the keys of a login with channel binding log in elsewhere, with and without it', async () => {
    const server = createScramServer(verifier, 's', { data: channel, selected: true });
    const client = createScramClient(password, 'n', channel);
    const login = server.final(await client.respond(server.first(client.first())));
    assert.ok(login !== null);
    const keys = { kind: 'scram-keys', clientKey: login.clientKey, verifier } as const;
    for (const to of [Buffer.from('another certificate'), 'none'] as const) {
      const next = createScramServer(verifier, 's', {
        data: typeof to === 'string' ? null : to,
        selected: to !== 'none',
      });
      const second = createScramClient(keys, 'n', to);
      assert.ok(next.final(await second.respond(next.first(second.first()))));
    }
  });

  test('a client that was told that we have none is not let in', () => {
    assert.throws(() => createScramServer(verifier, 's', offered).first('y,,n=,r=abc'), {
      message: 'SCRAM channel binding negotiation error',
      sqlState: '28000',
    });
    assert.ok(createScramServer(verifier, 's').first('y,,n=,r=abc'), 'we have none: it is right');
    assert.ok(createScramServer(verifier, 's', offered).first('n,,n=,r=abc'), 'it has none');
  });

  test('what is selected and what is said must be the same', () => {
    const selected = { data: channel, selected: true };
    assert.throws(() => createScramServer(verifier, 's', selected).first('n,,n=,r=abc'), /malformed/);
    assert.throws(() => createScramServer(verifier, 's', selected).first('p=tls-unique,,n=,r=abc'), /unsupported/);
    assert.throws(
      () => createScramServer(verifier, 's', offered).first('p=tls-server-end-point,,n=,r=abc'),
      ScramError,
    );
  });
});

test('the client side gives the answers of RFC 7677', async () => {
  // The RFC's user name is not sent by PostgreSQL's clients; the proof is of what the client itself sent.
  const client = createScramClient({ kind: 'password', password: 'pencil' }, 'rOprNGfwEbeRWgbNEkqO');
  const final = await client.respond(
    'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  );
  const verifier = await verifierOf('pencil', Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'), 4096);
  assert.equal(verifier.storedKey.toString('base64'), 'WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=');
  assert.equal(verifier.serverKey.toString('base64'), 'wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=');
  assert.match(final, /^c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj\)hNlF\$k0,p=[A-Za-z0-9+/]{43}=$/);
});

test('verifiers of pg_authid are read, and other passwords are none', () => {
  const text =
    'SCRAM-SHA-256$4096:MTIzNDU2Nzg5MDEyMzQ1Ng==$' +
    'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=';
  assert.equal(parseVerifier(text)?.salt.toString(), '1234567890123456');
  assert.equal(parseVerifier('md59f5f4aefc3b7b4ba4a2d4b5a4e7bd0aa'), null);
  assert.equal(parseVerifier(null), null);
});
