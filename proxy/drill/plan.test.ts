import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { facts, node, request } from '../../test/support/drills.ts';
import { planDrill } from './plan.ts';
import { planText, refusalText } from './text.ts';
import type { DrillFacts, DrillRequest } from './types.ts';

/** The guards that refuse. */
function refusing(
  kind: DrillRequest['kind'],
  changes: Partial<DrillFacts>,
  more: Partial<DrillRequest> = {},
): string[] {
  return planDrill(request(kind, more), facts(changes))
    .guards.filter((g) => !g.passed && !g.overridden)
    .map((g) => g.name);
}

const SERVER = { rewindHints: true, fullPageWrites: true, transactions: [], ddl: [], prepared: 0, backups: 0 };

describe('guards of a drill', () => {
  const cases: readonly [string, DrillRequest['kind'], Partial<DrillFacts>, string[]][] = [
    ['nothing is wrong', 'crash', {}, []],
    ['no leader', 'crash', { leader: null }, ['leader', 'target', 'nodes']],
    ['a failover under way', 'switchover', { held: true }, ['leader']],
    ['drills turned off', 'lag', { limits: { ...facts().limits, enabled: false } }, ['enabled']],
    ['a paused cluster', 'crash', { maintenance: true }, ['maintenance']],
    ['paused clients', 'lag', { clientsPaused: true }, ['maintenance']],
    [
      'a node out of step',
      'crash',
      { nodes: [node('node1'), node('node2'), node('node3', { usable: false, streaming: false })] },
      ['nodes', 'quorum'].slice(0, 1).concat(['quorum']),
    ],
    ['nobody in the quorum', 'crash', { sync: { members: [], k: 0 } }, ['quorum']],
    ['nobody in the quorum, and no leader moves', 'lag', { sync: { members: [], k: 0 } }, []],
    [
      'a follower far behind',
      'partition',
      { nodes: [node('node1'), node('node2', { lagBytes: 2_000_000 }), node('node3')] },
      ['lag'],
    ],
    ['another time of day', 'lag', { limits: { ...facts().limits, window: '03:00-04:00' } }, ['window']],
    ['the time of day for drills', 'crash', { limits: { ...facts().limits, window: '00:00-01:00 UTC' } }, []],
    [
      'a long transaction',
      'switchover',
      { server: { ...SERVER, transactions: [{ pid: 9, user: 'app', seconds: 61 }] } },
      ['transactions'],
    ],
    ['a prepared transaction', 'crash', { server: { ...SERVER, prepared: 1 } }, ['transactions']],
    ['DDL', 'freeze', { server: { ...SERVER, ddl: [{ pid: 9, what: 'create index' }] } }, ['ddl']],
    ['a base backup', 'etcd', { server: { ...SERVER, backups: 1 } }, ['backup']],
    ['no hints for pg_rewind', 'crash', { server: { ...SERVER, rewindHints: false } }, ['rewind']],
    [
      'no hints for pg_rewind, which a switchover does without',
      'switchover',
      { server: { ...SERVER, rewindHints: false } },
      [],
    ],
    [
      'a leader that cannot be asked',
      'switchover',
      { server: null, serverProblem: 'timeout' },
      ['transactions', 'ddl', 'backup'],
    ],
  ];
  for (const [name, kind, changes, expected] of cases) {
    test(`${kind}: ${name}`, () => assert.deepEqual(refusing(kind, changes).sort(), [...expected].sort()));
  }

  test('a drill soon after another is refused, later it is not', () => {
    const past = [
      {
        id: 'x',
        kind: 'crash',
        outcome: 'passed',
        startedAtMs: 0,
        endedAtMs: 970_000,
        seconds: null,
        what: 'postgres',
        writeStallMs: 200,
      },
    ] as const;
    assert.deepEqual(refusing('lag', { past }), ['recent']);
    assert.deepEqual(refusing('lag', { past, atMs: 1_040_000 }), []);
    assert.deepEqual(refusing('lag', { past }, { override: ['recent'] }), []);
  });

  test('what no override helps against stays refused, and an unknown name is told', () => {
    assert.deepEqual(refusing('crash', { writable: false }, { override: ['leader'] }), ['leader']);
    const plan = planDrill(request('crash', { override: ['lagg'] }), facts());
    assert.equal(plan.allowed, false);
    assert.match(refusalText(plan), /no guard lagg to override; there are enabled, leader.*recent$/);
  });

  test('an override is by name: others still refuse', () => {
    const changes = { maintenance: true, sync: { members: [], k: 0 } };
    assert.deepEqual(refusing('crash', changes, { override: ['quorum'] }), ['maintenance']);
    const text = planText(planDrill(request('crash', { override: ['quorum'] }), facts(changes)));
    assert.match(text, /OVERRULED quorum/);
    assert.match(text, /REFUSES +maintenance .*\(--override maintenance\)/);
    assert.match(text, /the drill is refused by maintenance. To run it all the same: --override maintenance$/);
  });

  test('a fault may not last longer than the setting allows', () => {
    assert.deepEqual(refusing('lag', {}, { seconds: 61 }), ['seconds']);
    assert.deepEqual(refusing('lag', {}, { seconds: 60 }), []);
  });
});

describe('the plan of a drill', () => {
  test('a switchover goes to who is asked for, else to a synchronous follower of the highest priority', () => {
    const nodes = [
      node('node1'),
      node('node2', { priority: 10 }),
      node('node3', { priority: 20 }),
      node('node4', { priority: 99, noFailover: true }),
    ];
    assert.equal(planDrill(request('switchover'), facts({ nodes })).target, 'node3');
    assert.equal(planDrill(request('switchover', { target: 'node2' }), facts({ nodes })).candidate, 'node2');
    assert.match(refusalText(planDrill(request('switchover', { target: 'node1' }), facts())), /node1 is no follower/);
  });

  test('a single proxy is not sent away, nor the one that runs the drill', () => {
    assert.match(refusalText(planDrill(request('proxy'), facts({ proxies: ['proxy1'] }))), /proxy1 is the only proxy/);
    assert.match(
      refusalText(planDrill(request('proxy', { target: 'proxy1' }), facts())),
      /runs the drill and cannot leave/,
    );
    assert.deepEqual(planDrill(request('proxy'), facts()).targets, ['proxy2']);
  });

  test('a fault of the leader is not aimed at others; etcd is lost by every agent', () => {
    assert.match(
      refusalText(planDrill(request('crash', { target: 'node2' }), facts())),
      /happens to the leader \(node1\), not to node2/,
    );
    assert.deepEqual(planDrill(request('etcd'), facts()).targets, ['node1', 'node2', 'node3']);
  });

  test('a new leader is expected of a fault that outlives the lease only', () => {
    const leads = (kind: DrillRequest['kind'], seconds: number) =>
      planDrill(request(kind, { seconds }), facts()).candidate;
    assert.deepEqual([leads('partition', 12), leads('partition', 2)], ['node2', null]);
    assert.deepEqual([leads('freeze', 12), leads('freeze', 2)], ['node2', null]);
    assert.equal(leads('etcd', 12), null);
  });

  test('the prediction is the median of what was measured of the same kind and length, else comes from the settings', () => {
    const past = [900, 100, 300].map((writeStallMs, i) => ({
      id: String(i),
      kind: 'crash' as const,
      outcome: 'passed' as const,
      startedAtMs: 0,
      endedAtMs: 0,
      seconds: null,
      what: 'postgres',
      writeStallMs,
    }));
    const { predicted } = planDrill(request('crash'), facts({ past }));
    assert.deepEqual(predicted, { stallMs: 300, worstMs: 900, from: '3 past drills' });
    assert.equal(planDrill(request('switchover'), facts({ past })).predicted.from, 'the settings');
    assert.equal(planDrill(request('partition', { seconds: 12 }), facts()).predicted.stallMs, 5300);
  });
});
