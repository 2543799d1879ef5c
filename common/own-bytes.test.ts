import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { setImmediate } from 'node:timers/promises';
import { parseVerifier } from '../proxy/auth/scram.ts';
import { StatementStore } from '../proxy/session/prepared.ts';
import { ByteCache, hashBytes } from '../proxy/sql/cache.ts';
import { ownBytes } from './own-bytes.ts';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** What is dead is freed beside the program: it takes some turns to show. */
async function collect(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) {
    gc();
    await setImmediate();
  }
}

const COUNT = 400;

/** Bytes of buffers that are alive because of what `keep` returned, each call of which comes between buffers of no duration. */
async function keptBy(keep: (index: number) => unknown): Promise<number> {
  await collect();
  const before = process.memoryUsage().arrayBuffers;
  const kept = Array.from({ length: COUNT }, (_, index) => {
    for (let i = 0; i < 3; i += 1) Buffer.allocUnsafe(Math.floor(Buffer.poolSize / 2) - 1).fill(index);
    return keep(index);
  });
  await collect();
  const bytes = process.memoryUsage().arrayBuffers - before;
  assert.equal(kept.length, COUNT);
  return bytes;
}

const LITTLE = COUNT * 1024;

test('a small buffer of Node keeps its whole slab, a copy with memory of its own does not', async () => {
  assert.ok((await keptBy(() => Buffer.from('abc'))) > 4 * LITTLE);
  assert.ok((await keptBy(() => ownBytes(Buffer.from('abc')))) < LITTLE);
});

test('what is kept for long keeps no slab: statements, texts that are classified, verifiers', async () => {
  const store = new StatementStore();
  const cache = new ByteCache<string>(COUNT * 8, 1 << 20);
  const verifier = `SCRAM-SHA-256$4096:c2FsdHNhbHQ=$${'A'.repeat(43)}=:${'A'.repeat(43)}=`;
  const keepers: Readonly<Record<string, (index: number) => unknown>> = {
    statements: (index) => {
      const text = Buffer.from(`SELECT ${index}`);
      const parts = {
        text,
        oids: Buffer.from([0, 0]),
        classification: {} as never,
        catalogVersion: 1,
        environment: '',
      };
      return store.intern('app', parts);
    },
    texts: (index) => {
      const text = Buffer.from(`SELECT ${index}`);
      return cache.set(hashBytes(text, text.length, 1), text, text.length, 'read');
    },
    verifiers: () => parseVerifier(verifier),
  };
  for (const [what, keep] of Object.entries(keepers)) {
    const bytes = await keptBy(keep);
    assert.ok(bytes < LITTLE, `${bytes} bytes for ${COUNT} ${what}`);
  }
});
