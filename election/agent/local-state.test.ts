import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { LeaseholdError, StoreError } from '../../common/errors.ts';
import type { Lsn, Term } from '../../common/lsn.ts';
import { EMPTY_LOCAL_STATE, type LocalState } from '../core/types.ts';
import { layoutOf } from '../postgres/files.ts';
import { identityFor } from '../postgres/identity.ts';
import { EffectTimeout, toFailure } from './failures.ts';
import { openLocalState } from './local-state.ts';
import { toPlain } from './node-control.ts';

const folder = mkdtempSync(join(tmpdir(), 'leasehold-local-'));
after(() => rmSync(folder, { recursive: true }));

const local: LocalState = {
  pledge: { node: 'a', term: 12n as Term, timeline: 3, flushedLsn: 0x1_0000_0028n as Lsn, lineage: 11n as Term },
  lineageTerm: 11n as Term,
  baseTerm: 9n as Term,
  bootstrapping: true,
};

/** Whoever runs the tests owns the folder, so no user is changed to. */
const self = { ...identityFor(undefined), switchUser: false };

test('the local state outlives the agent', async () => {
  const file = await openLocalState(layoutOf(join(folder, 'data')), self);
  assert.deepEqual(file.read(), EMPTY_LOCAL_STATE);
  await file.write(local);
  assert.deepEqual(file.read(), local);
  const again = await openLocalState(layoutOf(join(folder, 'data')), self);
  assert.deepEqual(again.read(), local);
});

test('a damaged local state stops the agent with a text that says what to do', async () => {
  const file = await openLocalState(layoutOf(join(folder, 'data2')), self);
  for (const text of ['', '{', '{}', '{"version":2}', '{"version":1,"pledge":null,"lineageTerm":"-1"}']) {
    writeFileSync(file.path, text);
    assert.throws(
      () => file.read(),
      (error) => error instanceof LeaseholdError && error.code === 'LOCAL_STATE' && error.message.includes(file.path),
      text,
    );
  }
});

test('every error becomes plain data', () => {
  const open = new AbortController().signal;
  assert.deepEqual(toFailure(new StoreError('unknown', 'x'), open), {
    code: 'STORE',
    message: 'x',
    applied: 'unknown',
  });
  assert.equal(toFailure(Object.assign(new Error('x'), { code: 'ENOSPC' }), open).code, 'ENOSPC');
  assert.equal(toFailure('x', open).code, 'ERROR');
  const late = AbortSignal.abort(new EffectTimeout('pg-start', 5));
  assert.equal(toFailure(new Error('aborted'), late).code, 'TIMEOUT');
});

test('the status has no value that JSON lacks', () => {
  const plain = toPlain({ term: 3n, flushedLsn: 0x1_0000_0028n, members: new Map([['a', { at: 1n }]]), none: null });
  assert.deepEqual(plain, { term: '3', flushedLsn: '1/28', members: { a: { at: '1' } }, none: null });
});
