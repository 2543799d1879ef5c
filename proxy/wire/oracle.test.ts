import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import fc from 'fast-check';
import { parse as parseStream, serialize } from 'pg-protocol';
import { ClientError } from '../../common/errors.ts';
import * as encode from './encode.ts';
import * as encodeAuth from './encode-auth.ts';

/**
 * node-postgres's own codec as an oracle that shares no code with ours: what the proxy tells a client must read there
 * as it was meant, and what the proxy tells a server must be the bytes that a client would have sent.
 */
const text = fc.string({ unit: 'grapheme', maxLength: 40 }).map((value) => value.replaceAll('\0', ''));

test('a client’s codec reads what the proxy writes to clients', async () => {
  const sent = [
    encodeAuth.authenticationSasl(['SCRAM-SHA-256']),
    encodeAuth.AUTHENTICATION_OK,
    encode.parameterStatus('TimeZone', 'Etc/UTC'),
    encode.backendKeyData(4711, Buffer.from([1, 2, 3, 4])),
    encode.rowDescription([{ name: 'größe' }, { name: 'b' }]),
    encode.dataRow(['ä', null]),
    encode.commandComplete('SELECT 1'),
    encode.parameterDescription([23, 25]),
    encode.errorResponse(
      new ClientError({ sqlState: '57P03', message: 'no leader', detail: 'why', hint: 'what to do' }),
    ),
    encode.PARSE_COMPLETE,
    encode.BIND_COMPLETE,
    encode.CLOSE_COMPLETE,
    encode.NO_DATA,
    encode.PORTAL_SUSPENDED,
    encode.EMPTY_QUERY_RESPONSE,
    encode.readyForQuery('T'),
  ];
  const read = await readAll(Buffer.concat(sent));
  const names =
    'authenticationSASL authenticationOk parameterStatus backendKeyData rowDescription dataRow commandComplete';
  const more = 'parameterDescription error parseComplete bindComplete closeComplete noData portalSuspended emptyQuery';
  assert.deepEqual(
    read.map((message) => message['name']),
    [...names.split(' '), ...more.split(' '), 'readyForQuery'],
  );
  const [, , status, key, description, row, complete, , error] = read;
  assert.deepEqual([status?.['parameterName'], status?.['parameterValue']], ['TimeZone', 'Etc/UTC']);
  assert.deepEqual([key?.['processID'], key?.['secretKey']], [4711, 0x01020304]);
  assert.deepEqual(
    (description?.['fields'] as { name: string }[] | undefined)?.map((field) => field.name),
    ['größe', 'b'],
  );
  assert.deepEqual(row?.['fields'], ['ä', null]);
  assert.equal(complete?.['text'], 'SELECT 1');
  assert.deepEqual(
    [error?.['severity'], error?.['code'], error?.['message'], error?.['detail'], error?.['hint']],
    ['ERROR', '57P03', 'no leader', 'why', 'what to do'],
  );
});

test('what the proxy writes to servers is what a client would have sent', () => {
  fc.assert(
    fc.property(text, text, fc.array(fc.nat(100_000), { maxLength: 5 }), fc.nat(1000), (a, b, types, rows) => {
      const oids = Buffer.alloc(2 + 4 * types.length);
      oids.writeInt16BE(types.length, 0);
      types.forEach((type, index) => oids.writeInt32BE(type, 2 + 4 * index));
      assert.deepEqual(encode.query(a), serialize.query(a));
      assert.deepEqual(encode.parse(a, Buffer.from(b), oids), serialize.parse({ name: a, text: b, types }));
      assert.deepEqual(encode.describe('S', a), serialize.describe({ type: 'S', name: a }));
      assert.deepEqual(encode.close('S', a), serialize.close({ type: 'S', name: a }));
      assert.deepEqual(encode.execute(a, rows), serialize.execute({ portal: a, rows }));
    }),
  );
  assert.deepEqual(encode.SYNC, serialize.sync());
  assert.deepEqual(encode.FLUSH, serialize.flush());
  assert.deepEqual(encode.TERMINATE, serialize.end());
  assert.deepEqual(encode.SSL_REQUEST, serialize.requestSsl());
  assert.deepEqual(encode.cancelRequest(7, Buffer.from([0, 0, 0, 9])), serialize.cancel(7, 9));
});

async function readAll(bytes: Buffer): Promise<Record<string, unknown>[]> {
  const stream = new PassThrough();
  const read: Record<string, unknown>[] = [];
  const ended = parseStream(stream, (message) => read.push(message as unknown as Record<string, unknown>));
  stream.end(bytes);
  await ended;
  return read;
}
