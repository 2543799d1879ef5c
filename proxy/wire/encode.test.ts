import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ClientError } from '../../common/errors.ts';
import * as decode from './decode.ts';
import * as encode from './encode.ts';
import * as encodeAuth from './encode-auth.ts';

/** Any text that the protocol can carry: no zero byte, whole code points. */
const text = fc.string({ unit: 'grapheme', maxLength: 40 }).map((value) => value.replaceAll('\0', ''));

/** Body bounds of a typed message, after a check of its length word. */
function bodyOf(message: Buffer, type: string): readonly [Buffer, number, number] {
  assert.equal(String.fromCharCode(message[0] as number), type);
  assert.equal(message.readInt32BE(1), message.length - 1);
  return [message, 5, message.length];
}

test('what is encoded is decoded to the same, for any text', () => {
  fc.assert(
    fc.property(text, text, fc.integer({ min: 0, max: 2 ** 31 - 1 }), (a, b, n) => {
      assert.deepEqual(decode.decodeParameterStatus(...bodyOf(encode.parameterStatus(a, b), 'S')), [a, b]);
      assert.deepEqual(decode.decodeExecute(...bodyOf(encode.execute(a, n), 'E')), { portal: a, maxRows: n });
      assert.deepEqual(decode.decodeTarget(...bodyOf(encode.close('S', a), 'C')), { kind: 'S', name: a });
      assert.deepEqual(decode.decodeTarget(...bodyOf(encode.describe('P', a), 'D')), { kind: 'P', name: a });
      const parse = encode.parse(a, Buffer.from(b));
      const parsed = decode.decodeParse(...bodyOf(parse, 'P'));
      assert.equal(parsed.name, a);
      assert.equal(parse.toString('utf8', parsed.textStart, parsed.textEnd), b);
      const bind = encode.bind(a, b);
      const bound = decode.decodeBind(...bodyOf(bind, 'B'));
      assert.deepEqual([bound.portal, bound.statement, bound.tailStart], [a, b, bind.length - 6]);
      assert.deepEqual(decode.decodeBindParameters(bind, bound.tailStart, bind.length), []);
      const key = decode.decodeBackendKeyData(...bodyOf(encode.backendKeyData(n, Buffer.from('abcd')), 'K'));
      assert.deepEqual(key, { processId: n, secretKey: Buffer.from('abcd') });
    }),
  );
});

test('start-up packets are decoded to what was asked', () => {
  const parameters = new Map([
    ['user', 'app'],
    ['database', 'база'],
    ['options', ''],
  ]);
  assert.deepEqual(decode.decodeStartupPacket(encode.startupMessage(parameters)), {
    kind: 'startup',
    minor: 0,
    parameters,
  });
  assert.deepEqual(decode.decodeStartupPacket(encode.SSL_REQUEST), { kind: 'ssl' });
  const cancel = encode.cancelRequest(7, Buffer.from([1, 2, 3, 4]));
  assert.deepEqual(decode.decodeStartupPacket(cancel), {
    kind: 'cancel',
    processId: 7,
    secretKey: Buffer.from([1, 2, 3, 4]),
  });
  assert.deepEqual(decode.decodeStartupPacket(Buffer.from([0, 0, 0, 8, 0, 2, 0, 0])), {
    kind: 'unsupported',
    major: 2,
    minor: 0,
  });
});

test('an error carries severity twice, SQLSTATE, message, detail and hint', () => {
  const error = new ClientError({ sqlState: '57P03', message: 'no leader', detail: 'node1 ‹lost›', hint: 'wait' });
  const message = encode.errorResponse(error);
  assert.deepEqual(decode.decodeErrorFields(...bodyOf(message, 'E')), {
    severity: 'ERROR',
    sqlState: '57P03',
    message: 'no leader',
    detail: 'node1 ‹lost›',
    hint: 'wait',
    file: '',
    routine: '',
  });
  const source = { file: 'plancache.c', line: 722, routine: 'RevalidateCachedQuery' };
  const known = encode.errorResponse(new ClientError({ sqlState: '0A000', message: 'x', source }));
  const { file, routine } = decode.decodeErrorFields(...bodyOf(known, 'E'));
  assert.deepEqual({ file, line: 722, routine }, source);
  assert.match(known.toString('latin1'), /\0L722\0R/);
  const notice = encode.noticeResponse({ severity: 'WARNING', sqlState: '25P01', message: 'x' });
  assert.equal(decode.decodeErrorFields(...bodyOf(notice, 'N')).severity, 'WARNING');
});

test('rows of text and NULL have the bytes that the protocol names', () => {
  assert.equal(
    encode.dataRow(['é', null, '']).toString('hex'),
    '44000000140003' + '00000002c3a9' + 'ffffffff' + '00000000',
  );
  assert.equal(
    encode.rowDescription([{ name: 'a' }]).toString('hex'),
    '540000001a0001' + '6100' + '00000000' + '0000' + '00000019' + 'ffff' + 'ffffffff' + '0000',
  );
  assert.equal(encode.commandComplete('SHOW').toString('hex'), '430000000953484f5700');
  assert.equal(encode.readyForQuery('E').toString('hex'), '5a0000000545');
  assert.equal(encodeAuth.AUTHENTICATION_OK.toString('hex'), '520000000800000000');
  assert.equal(encode.parameterDescription([23]).toString('hex'), '740000000a000100000017');
});

test('authentication messages round-trip', () => {
  const sasl = bodyOf(encodeAuth.authenticationSasl(['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256']), 'R');
  assert.deepEqual(decode.decodeAuthentication(...sasl), {
    kind: 'sasl',
    mechanisms: ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'],
  });
  assert.deepEqual(decode.decodeAuthentication(...bodyOf(encodeAuth.authenticationSaslFinal('v=x'), 'R')), {
    kind: 'sasl-final',
    data: 'v=x',
  });
  assert.deepEqual(decode.decodeSaslInitialResponse(...bodyOf(encodeAuth.saslInitialResponse('M', 'n,,'), 'p')), {
    mechanism: 'M',
    data: 'n,,',
  });
});

test('no bytes make a decoder read outside of its bounds or throw anything but 08P01', () => {
  const decoders = [
    decode.decodeSaslInitialResponse,
    decode.queryTextEnd,
    decode.decodeParse,
    decode.decodeBind,
    decode.decodeBindParameters,
    decode.decodeTarget,
    decode.decodeExecute,
    decode.decodeAuthentication,
    decode.decodeParameterStatus,
    decode.decodeBackendKeyData,
    decode.decodeErrorFields,
    decode.decodeCommandTag,
    (buffer: Buffer, start: number, end: number) => decode.decodeStartupPacket(buffer.subarray(start, end)),
  ];
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.array(fc.constantFrom(0, 0, 1, 2, 255, 83, 97), { maxLength: 40 }).map((list) => Uint8Array.from(list)),
  );
  fc.assert(
    fc.property(bytes, fc.constantFrom(...decoders), (body, decoder) => {
      // Zero bytes behind the end: a decoder that looked there would find its terminators.
      const buffer = Buffer.concat([Buffer.from('xx'), body, Buffer.alloc(8)]);
      const outcome = run(() => decoder(buffer, 2, 2 + body.length));
      const hidden = run(() => decoder(buffer.fill(97, 2 + body.length), 2, 2 + body.length));
      assert.deepEqual(hidden, outcome);
      if (outcome instanceof Error) assert.equal((outcome as ClientError).sqlState, '08P01');
    }),
    { numRuns: 2000 },
  );
});

function run(decode: () => unknown): unknown {
  try {
    return decode();
  } catch (error) {
    return error;
  }
}
