import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAll, parseHbaLine } from '../../proxy/auth/hba-rules.ts';
import { readHbaText } from '../../proxy/auth/hba-text.ts';
import { parseStartupOptions } from '../../proxy/auth/startup-options.ts';
import { ClientError } from '../../common/errors.ts';
import { createClassifier } from '../../proxy/sql/classify.ts';
import type { Classification, ClassifyOptions } from '../../proxy/sql/types.ts';
import * as decode from '../../proxy/wire/decode.ts';
import { type FrameSink, FrameReader, gatherLimits } from '../../proxy/wire/frames.ts';
import { Random } from '../simulation/random.ts';
import { someCatalog } from '../support/volatility.ts';
import { noise } from './bytes/mutate.ts';
import { soup } from './soup.ts';

const FRESH_SEED = Date.now() % 1_000_000_000;
const SEEDS = [1, FRESH_SEED];
const OPTIONS: ClassifyOptions = { standardConformingStrings: true, systemCatalogs: 'leader' };

for (const seed of SEEDS) {
  const name = seed === FRESH_SEED ? `fresh seed ${seed}` : `seed ${seed}`;

  test(`what a statement is does not depend on which came before it (${name})`, async () => {
    const random = new Random(seed);
    const shared = await createClassifier();
    for (let i = 0; i < 1_500; i++) {
      const text = soup(random);
      const options = random.chance(0.1) ? { ...OPTIONS, standardConformingStrings: false } : OPTIONS;
      const alone = await createClassifier({ entries: 4 });
      const [a, b] = [shared, alone].map((each) => essence(each.classify(text, someCatalog, options), text));
      assert.deepEqual(a, b, JSON.stringify(text.toString('latin1')));
    }
  });

  test(`decoders take any bytes, or refuse them with an error for the client (${name})`, () => {
    const random = new Random(seed);
    for (let i = 0; i < 3_000; i++) {
      const bytes = noise(random, random.below(60));
      for (const run of DECODERS) {
        try {
          run(bytes);
        } catch (error) {
          assert.ok(error instanceof ClientError, `${String(error)} from ${bytes.toString('hex')}`);
        }
      }
    }
  });

  test(`a rules file of any words gives rules or faults (${name})`, () => {
    const random = new Random(seed);
    const files = {
      read: () => '',
      list: () => [],
      resolve: (_from: string, path: string) => path,
      exists: () => false,
    };
    for (let i = 0; i < 2_000; i++) {
      const text = Array.from({ length: 1 + random.below(30) }, () => RULE_WORDS[random.below(RULE_WORDS.length)]).join(
        ' ',
      );
      const { lines, faults } = readHbaText('pg_hba.conf', text, files);
      const parsed = parseAll(lines, parseHbaLine);
      assert.equal(parsed.rules.length + parsed.faults.length, lines.length, `${text}: ${faults.length}`);
    }
  });

  test(`any bytes, cut anywhere, give the same messages as uncut (${name})`, () => {
    const random = new Random(seed);
    for (let i = 0; i < 1_000; i++) {
      const stream = Buffer.concat(Array.from({ length: 1 + random.below(6) }, () => message(random)));
      assert.deepEqual(readCut(stream, random), readCut(stream, null), stream.toString('hex'));
    }
  });
}

test('deep nesting and endless operators are classified in bounded time', async () => {
  const classifier = await createClassifier();
  const deep = [
    `SELECT ${'('.repeat(100_000)}1${')'.repeat(100_000)}`,
    `SELECT ${'('.repeat(100_000)}`,
    `SELECT 1${' + 1'.repeat(100_000)}`,
    `SELECT ${'ARRAY['.repeat(50_000)}`,
    `SELECT ${'/*'.repeat(100_000)}`,
    `SELECT ${'$$ '.repeat(100_001)}`,
    `${'SELECT 1;'.repeat(20_000)}`,
    `SELECT ${'CASE WHEN '.repeat(20_000)}`,
  ];
  for (const text of deep) {
    const startedMs = performance.now();
    const { target } = classifier.classify(Buffer.from(text), someCatalog, OPTIONS);
    assert.equal(target, 'leader', text.slice(0, 30));
    assert.ok(performance.now() - startedMs < 2_000, `${text.slice(0, 30)} took ${performance.now() - startedMs} ms`);
  }
});

/** What of a classification decides about the statement: with the texts that it names, not where they stand. */
function essence({ target, retryable, pins, statements }: Classification, text: Buffer): unknown {
  const texts = statements.map(({ start, end }) => (start < 0 ? null : text.toString('latin1', start, end)));
  return { target, retryable, pins, statements, texts };
}

const DECODERS: readonly ((bytes: Buffer) => unknown)[] = [
  (bytes) => decode.decodeStartupPacket(bytes),
  (bytes) => decode.decodeSaslInitialResponse(bytes, 0, bytes.length),
  (bytes) => decode.queryTextEnd(bytes, 0, bytes.length),
  (bytes) => decode.decodeParse(bytes, 0, bytes.length),
  (bytes) => decode.decodeBind(bytes, 0, bytes.length),
  (bytes) => decode.decodeBindParameters(bytes, 0, bytes.length),
  (bytes) => decode.decodeTarget(bytes, 0, bytes.length),
  (bytes) => decode.decodeExecute(bytes, 0, bytes.length),
  (bytes) => decode.decodeAuthentication(bytes, 0, bytes.length),
  (bytes) => decode.decodeParameterStatus(bytes, 0, bytes.length),
  (bytes) => decode.decodeNegotiateProtocolVersion(bytes, 0, bytes.length),
  (bytes) => decode.decodeBackendKeyData(bytes, 0, bytes.length),
  (bytes) => decode.decodeErrorFields(bytes, 0, bytes.length),
  (bytes) => parseStartupOptions(bytes.toString('latin1')),
];

const RULE_WORDS =
  'local host hostssl hostnossl all samehost samenet replication sameuser +group /^a.*$ "quoted" " , ,, @file include include_dir \n \n \\\n # trust reject scram-sha-256 md5 cert map=m clientcert=verify-full 127.0.0.1/32 ::1/128 10.0.0.0 255.0.0.0 1.2.3.4/99 .example.org é \0'.split(
    ' ',
  );

const LIMITS = gatherLimits('QPB', 64, 'd');

function message(random: Random): Buffer {
  if (random.chance(0.05)) return noise(random, random.below(12));
  const body = noise(random, random.chance(0.1) ? random.below(3_000) : random.below(80));
  const out = Buffer.alloc(5 + body.length);
  out.write(random.pick(['Q', 'P', 'B', 'd', 'd', 'x']), 0, 'latin1');
  out.writeInt32BE(4 + body.length, 1);
  body.copy(out, 5);
  return out;
}

/** The messages as type and bytes, parts put together; and how it ended. */
function readCut(stream: Buffer, random: Random | null): string[] {
  const seen: string[] = [];
  let open = '';
  const sink: FrameSink = {
    onMessage: (type, buffer, start, end) => seen.push(`${type} ${buffer.toString('hex', start, end)}`) > 0,
    onPart: (type, buffer, start, end, first, last) => {
      open = (first ? '' : open) + buffer.toString('hex', start, end);
      if (last) seen.push(`${type} ${open}`);
      return true;
    },
  };
  const reader = new FrameReader(sink, LIMITS);
  try {
    for (let at = 0; at < stream.length; ) {
      const size = random === null ? stream.length : 1 + random.below(random.chance(0.5) ? 7 : 500);
      reader.push(stream.subarray(at, at + size));
      at += size;
    }
  } catch (error) {
    assert.ok(error instanceof ClientError, String(error));
    seen.push(`refused: ${error.message}`);
  }
  return seen;
}
