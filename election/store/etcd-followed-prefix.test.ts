import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { IEvent, IKeyValue, IRangeResponse } from 'etcd3';
import fc from 'fast-check';
import { FollowedPrefix } from './etcd-followed-prefix.ts';
import { isOldEtcd } from './etcd-version.ts';
import type { StoreSnapshot } from './port.ts';

function kv(key: string, value: string, revision: number): IKeyValue {
  return {
    key: Buffer.from(key),
    value: Buffer.from(value),
    version: '1',
    lease: '0',
    create_revision: String(revision),
    mod_revision: String(revision),
  };
}

/** etcd's history: the state after each revision, and the event that made it. */
class History {
  readonly states: Map<string, IKeyValue>[] = [new Map()];
  readonly events: IEvent[] = [];

  change(key: string, value: string | null): void {
    const revision = this.states.length;
    const state = new Map(this.states.at(-1));
    const changed = kv(key, value ?? '', revision);
    if (value === null) state.delete(key);
    else state.set(key, changed);
    this.states.push(state);
    this.events.push({ type: (value === null ? 'DELETE' : 'PUT') as 'Put', kv: changed, prev_kv: changed });
  }

  read(revision: number, cluster = '1'): IRangeResponse {
    const kvs = [...(this.states[revision]?.values() ?? [])];
    const header = { cluster_id: cluster, member_id: '1', revision: String(revision), raft_term: '1' };
    return { header, kvs, more: false, count: String(kvs.length) };
  }
}

function content(keys: StoreSnapshot['keys']): string {
  return [...keys.values()]
    .map((one) => `${one.key}=${one.value}`)
    .toSorted((a, b) => a.localeCompare(b))
    .join();
}

describe('a followed prefix', () => {
  it('shows only states that were, in order, whatever mix of late reads and repeated events comes (property)', () => {
    const change = fc.record({ key: fc.constantFrom('a', 'b', 'c'), value: fc.option(fc.constantFrom('x', 'y')) });
    const input = fc.record({
      read: fc.boolean(),
      from: fc.double({ min: 0, max: 1, noNaN: true }),
      length: fc.nat(3),
    });
    fc.assert(
      fc.property(
        fc.array(change, { minLength: 1, maxLength: 30 }),
        fc.array(input, { maxLength: 40 }),
        (changes, inputs) => {
          const history = new History();
          for (const one of changes) history.change(one.key, one.value);
          const seen: StoreSnapshot[] = [];
          const followed = new FollowedPrefix((snapshot) => seen.push(snapshot));
          followed.adoptRead(history.read(0));
          for (const one of inputs) {
            const at = Math.floor(one.from * (changes.length + 1));
            if (one.read) followed.adoptRead(history.read(Math.min(at, changes.length)));
            // A watch shows no gap: events start at or before the next revision.
            else
              followed.applyEvents(
                history.events.slice(Math.min(at, followed.revision), followed.revision + one.length),
              );
          }
          for (const [index, snapshot] of seen.entries()) {
            assert.ok(snapshot.revision >= (seen[index - 1]?.revision ?? 0));
            const then = [...(history.states[snapshot.revision]?.values() ?? [])];
            const expected = then.map((one) => `${one.key.toString()}=${one.value.toString()}`);
            assert.equal(content(snapshot.keys), expected.toSorted((a, b) => a.localeCompare(b)).join());
          }
        },
      ),
    );
  });

  it('calls a watch silent after two reads with changes of which it said nothing', () => {
    const history = new History();
    for (let n = 0; n < 6; n++) history.change('a', String(n));
    const followed = new FollowedPrefix(() => undefined);
    followed.adoptRead(history.read(1));
    followed.adoptRead(history.read(2));
    assert.equal(followed.watchIsSilent, false);
    followed.applyEvents(history.events.slice(1, 3));
    followed.adoptRead(history.read(4));
    assert.equal(followed.watchIsSilent, false);
    followed.adoptRead(history.read(5));
    assert.equal(followed.watchIsSilent, true);
    followed.adoptRead(history.read(6));
    assert.equal(followed.watchIsSilent, false, 'a new watch starts with a clean record');
  });

  it('starts anew with an etcd that was restored from a backup', () => {
    const history = new History();
    for (let n = 0; n < 6; n++) history.change('a', String(n));
    const followed = new FollowedPrefix(() => undefined);
    followed.adoptRead(history.read(6));
    followed.adoptRead(history.read(2));
    assert.equal(followed.revision, 6);
    followed.adoptRead(history.read(2, '2'));
    assert.equal(followed.revision, 2);
  });
});

describe("etcd's versions that can serve stale reads", () => {
  const cases = {
    '3.4.23': true,
    '3.4.42': false,
    '3.5.27': true,
    '3.5.28': false,
    '3.6.0': false,
    '3.3.9': true,
    odd: false,
  };
  for (const [version, old] of Object.entries(cases)) {
    it(version, () => assert.equal(isOldEtcd(version), old));
  }
});
