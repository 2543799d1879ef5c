import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COUNT, keptBy, LITTLE } from '../../test/support/kept-bytes.ts';
import { parseVerifier } from '../auth/scram.ts';
import { ByteCache, hashBytes } from '../sql/cache.ts';
import { StatementStore } from './prepared.ts';

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
