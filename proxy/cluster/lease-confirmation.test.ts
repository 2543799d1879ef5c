import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseTerm } from '../../common/lsn.ts';
import type { LeaseId } from '../../election/store/port.ts';
import { appliedSeq, publication } from './applied-seq.ts';
import type { LeaderKey } from './cluster-reader.ts';
import { confirm, type ExplainFacts, explainNoLeader, leadsUntil, openTarget } from './lease-confirmation.ts';

const address = { host: 'h', port: 1 };

function route(term: number, leader = 'node2', hold = false) {
  return { term: parseTerm(term), leader, address, hold, seq: 5, nextXid: null };
}

function leaderKey(term: number, node = 'node2', createRevision = 40): LeaderKey {
  return { record: { node, term: parseTerm(term), bootId: 'b', address }, createRevision, lease: '1' as LeaseId };
}

const confirmation = confirm(40, { sentAtMs: 1000, remainingMs: 4000, marginMs: 700 });

describe('S5: what a proxy has confirmed of the lease', () => {
  it('counts from the moment the question was sent, margin taken off', () => {
    assert.equal(confirmation.untilMs, 4300);
    assert.equal(leadsUntil({ route: route(7), leader: leaderKey(7), confirmation }), 4300);
  });

  const refused = {
    'no route': { route: null, leader: leaderKey(7), confirmation },
    'no leader key': { route: route(7), leader: null, confirmation },
    'nothing confirmed': { route: route(7), leader: leaderKey(7), confirmation: null },
    'the leader key is of a newer term than the route': { route: route(7), leader: leaderKey(8), confirmation },
    'the route is of a newer term than the leader key': { route: route(8), leader: leaderKey(7), confirmation },
    'another node holds the key': { route: route(7), leader: leaderKey(7, 'node3'), confirmation },
    'the confirmation is of an earlier holding of the key': {
      route: route(7),
      leader: leaderKey(7, 'node2', 41),
      confirmation,
    },
  };
  for (const [name, facts] of Object.entries(refused)) {
    it(`fails closed: ${name}`, () => assert.equal(leadsUntil(facts), Number.NEGATIVE_INFINITY));
  }

  it('has no target while the route is held', () => {
    assert.equal(openTarget(route(7, 'node2', true)), null);
    assert.equal(openTarget(route(7))?.node, 'node2');
  });
});

describe('the reason that a held statement is given', () => {
  const facts: ExplainFacts = {
    route: route(7),
    leader: null,
    confirmation: null,
    pause: null,
    startedAtMs: 0,
    everReached: true,
    unreachableSinceMs: null,
    leaderLostAtMs: 10_000,
    heldSinceMs: null,
  };
  const cases: Record<string, [Partial<ExplainFacts>, RegExp]> = {
    'a leader was lost': [
      { leaderLostAtMs: 39_000 },
      /^term 7's leader node2 was lost 2\.0 s ago, election under way$/,
    ],
    'a leader was lost long ago': [
      {},
      /^term 7's leader node2 was lost 31 s ago, and nobody could be elected.*leasehold status/,
    ],
    'a leader was lost in a pause': [
      { pause: { by: 'ann@host', reason: null, at: 'now' } },
      /^term 7's leader node2 was lost 31 s ago, and automatic failover is paused by ann@host \(leasehold resume\)$/,
    ],
    'etcd is gone, the leader key was there': [
      { leader: leaderKey(7), unreachableSinceMs: 36_000 },
      /^etcd cannot be reached since 5\.0 s, so nobody can say whether term 7's leader node2 still leads$/,
    ],
    'etcd is gone, and the leader before it': [{ unreachableSinceMs: 36_000 }, /node2 was lost before/],
    'etcd never answered': [{ everReached: false }, /^etcd has not been reached since this proxy started 41 s ago$/],
    'a new cluster': [{ route: null }, /never had a leader/],
    'another node took over': [
      { leader: leaderKey(8, 'node3') },
      /^node3 took the lease for term 8 and is being promoted$/,
    ],
    'a planned hold': [
      { route: route(7, 'node2', true), leader: leaderKey(7), heldSinceMs: 40_700 },
      /^term 7's leader node2 holds writes since 0\.3 s/,
    ],
    'an unconfirmed lease': [{ leader: leaderKey(7) }, /could not be confirmed/],
  };
  for (const [name, [change, expected]] of Object.entries(cases)) {
    it(name, () => assert.match(explainNoLeader({ ...facts, ...change }, 41_000), expected));
  }
});

describe('the acknowledgement of a hold', () => {
  it('waits until nothing is in flight, and never goes back (property)', () => {
    const step = fc.record({ hold: fc.boolean(), inFlight: fc.nat(3) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        let applied = 0;
        steps.forEach(({ hold, inFlight }, seq) => {
          const next = appliedSeq({ route: { hold, seq }, inFlight, appliedSeq: applied });
          assert.ok(next >= applied);
          if (hold && inFlight > 0) assert.equal(next, applied);
          else assert.equal(next, seq);
          applied = next;
        });
      }),
    );
  });

  it('is published at once, mere counts later', () => {
    const record = { id: 'p', address, httpUrl: 'u', appliedSeq: 3, heldWrites: 0, inFlight: 1 };
    assert.equal(publication(null, record), 'at-once');
    assert.equal(publication(record, record), 'none');
    assert.equal(publication(record, { ...record, inFlight: 2 }), 'soon');
    assert.equal(publication(record, { ...record, appliedSeq: 4 }), 'at-once');
  });
});
