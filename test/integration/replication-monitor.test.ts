import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import pg from 'pg';
import { pino } from 'pino';
import { monotonicClock } from '../../common/clock.ts';
import { parseTerm } from '../../common/lsn.ts';
import { createReplicationMonitor } from '../../replication-monitor/sampler.ts';
import type { NodeFreshness, ReplicationMonitor } from '../../replication-monitor/types.ts';
import { type StreamingPair, startStreamingPair } from '../support/streaming-pair.ts';

const credentials = { user: 'monitor', password: 'monitor' };
const now = () => monotonicClock.nowMs();

describe('the replication monitor on a leader and a follower', () => {
  let pair: StreamingPair;
  let monitor: ReplicationMonitor;

  before(async () => {
    pair = await startStreamingPair();
    monitor = createReplicationMonitor({ clock: monotonicClock, credentials, logger: pino({ level: 'silent' }) });
    monitor.setTargets(targets(1, 'node1'));
  });
  after(async () => {
    await monitor.close();
    await pair[Symbol.asyncDispose]();
  });

  function targets(term: number, leader: string | null) {
    const nodes = [pair.leader, pair.follower].map(({ name, port }) => ({ node: name, host: '127.0.0.1', port }));
    const follows = parseTerm(term);
    return { term: follows, leader, nodes: nodes.map((node) => ({ ...node, follows })) };
  }

  function seen(name: string): NodeFreshness {
    const node = monitor.snapshot.nodes.get(name);
    assert.ok(node !== undefined);
    return node;
  }

  /** As a session does: wakes, and looks at each new snapshot. Resolves to how long it took. */
  async function untilSeen(condition: () => boolean, ms: number, what: string): Promise<number> {
    const start = now();
    await new Promise<void>((resolve, reject) => {
      const finish = (error?: Error) => {
        clearTimeout(timer);
        unsubscribe();
        if (error === undefined) resolve();
        else reject(error);
      };
      const timer = setTimeout(
        () => finish(new Error(`not within ${ms} ms: ${what}; ${inspect(monitor.snapshot)}`)),
        ms,
      );
      const look = () => {
        if (condition()) finish();
      };
      const unsubscribe = monitor.subscribe(look);
      look();
    });
    return now() - start;
  }

  const freshAsOf = (timeMs: number) => () => seen('node2').usable && seen('node2').freshAsOfMs >= timeMs;

  async function wakeUntilFresh(ms = 1000): Promise<number> {
    const since = now();
    monitor.wake();
    return untilSeen(freshAsOf(since), ms, 'the follower is fresh as of the wake-up');
  }

  it('tells leader from follower, and why a follower may serve', async () => {
    await untilSeen(freshAsOf(0), 5000, 'the follower is fresh');
    const leader = seen('node1');
    const follower = seen('node2');
    assert.equal(leader.role, 'leader');
    assert.equal(leader.freshAsOfMs, Number.POSITIVE_INFINITY);
    assert.equal(follower.role, 'follower');
    assert.deepEqual([follower.streaming, follower.timeline, follower.problem, follower.lagBytes], [true, 1, null, 0n]);
  });

  it('finds an idle follower fresh within milliseconds of a wake-up', async () => {
    await sleep(300);
    const times: number[] = [];
    for (let n = 0; n < 20; n++) {
      times.push(await wakeUntilFresh());
      await sleep(17);
    }
    times.sort((a, b) => a - b);
    assert.ok((times[10] ?? 99) < 15, `median ${times[10]} ms, longest ${times[19]} ms`);
  });

  it('shows every commit acknowledged before the moment as of which a follower is called fresh', async () => {
    const writer = new pg.Client({ host: '127.0.0.1', port: pair.leader.port, ...credentials, database: 'postgres' });
    const reader = new pg.Client({ host: '127.0.0.1', port: pair.follower.port, ...credentials, database: 'postgres' });
    await pair.leader.sql('CREATE TABLE exact (n int PRIMARY KEY); GRANT ALL ON exact TO monitor');
    await Promise.all([writer.connect(), reader.connect()]);
    const times: number[] = [];
    try {
      for (let n = 0; n < 300; n++) {
        await writer.query('INSERT INTO exact VALUES ($1)', [n]);
        times.push(await wakeUntilFresh());
        const { rows } = await reader.query('SELECT count(*)::int AS n FROM exact');
        assert.equal(rows[0].n, n + 1);
      }
    } finally {
      await writer.end();
      await reader.end();
    }
    times.sort((a, b) => a - b);
    assert.ok((times[150] ?? 99) < 25, `median ${times[150]} ms, longest ${times[299]} ms`);
  });

  it('finds an idle follower fresh after a segment switch', async () => {
    for (let n = 0; n < 3; n++) {
      await pair.leader.sql('INSERT INTO t VALUES (1); SELECT pg_switch_wal()');
      await wakeUntilFresh();
    }
  });

  it('finds an idle follower fresh where the last record ends at the boundary of a page', async () => {
    // A message that fills its page to the last byte: 24 bytes of record header, 5 of data header, 24 of message
    // header, a prefix of 2, the rest is content. Then the insert position stands behind the next page's header.
    const fill = `DO $$
      DECLARE left_on_page int;
      BEGIN
        LOOP
          left_on_page := 8192 - (pg_current_wal_insert_lsn() - '0/0') % 8192;
          EXIT WHEN left_on_page > 400;
          PERFORM pg_logical_emit_message(false, 'x', repeat('y', 400));
        END LOOP;
        PERFORM pg_logical_emit_message(false, 'x', repeat('y', left_on_page - 55));
      END $$`;
    let offset = '';
    for (let attempt = 0; attempt < 20 && offset !== '24'; attempt++) {
      await pair.leader.sql(fill);
      await wakeUntilFresh();
      offset = await pair.leader.sql("SELECT (pg_current_wal_insert_lsn() - '0/0') % 8192");
    }
    assert.equal(offset, '24', 'the case was met');
    await wakeUntilFresh();
  });

  it('does not wait for what an open transaction wrote and nobody flushes', async () => {
    const open = new pg.Client({ host: '127.0.0.1', port: pair.leader.port, ...credentials, database: 'postgres' });
    await open.connect();
    try {
      for (let n = 0; n < 5; n++) {
        await open.query('BEGIN');
        await open.query('INSERT INTO exact VALUES ($1)', [10_000 + n]);
        const { rows } = await open.query('SELECT pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn() AS ahead');
        assert.equal(rows[0].ahead, true);
        const tookMs = await wakeUntilFresh();
        assert.ok(tookMs < 200, `${tookMs} ms`);
        await open.query('ROLLBACK');
      }
    } finally {
      await open.end();
    }
  });

  it('calls a follower with a delay fresh as of that long ago', async () => {
    await pair.follower.sql("ALTER SYSTEM SET recovery_min_apply_delay = '300ms'");
    await pair.follower.sql('SELECT pg_reload_conf()');
    const stop = new AbortController();
    const writer = new pg.Client({ host: '127.0.0.1', port: pair.leader.port, ...credentials, database: 'postgres' });
    await writer.connect();
    const load = (async () => {
      for (let n = 20_000; !stop.signal.aborted; n++) {
        await writer.query('INSERT INTO exact VALUES ($1)', [n]);
        await sleep(5);
      }
    })();
    try {
      await sleep(1200);
      for (let n = 0; n < 10; n++) {
        const behindMs = now() - seen('node2').freshAsOfMs;
        // Only commits are delayed: it is as fresh as the moment before the first commit that still waits.
        assert.ok(behindMs > 150 && behindMs < 800, `${behindMs} ms behind`);
        await sleep(60);
      }
    } finally {
      stop.abort();
      await load;
      await writer.end();
      await pair.follower.sql('ALTER SYSTEM RESET recovery_min_apply_delay');
      await pair.follower.sql('SELECT pg_reload_conf()');
    }
    await sleep(400);
    await wakeUntilFresh();
  });

  it('takes a paused follower out without delaying the leader, and back in', async () => {
    pair.follower.pause();
    try {
      await untilSeen(() => !seen('node2').usable, 2000, 'the paused follower is not usable');
      assert.match(seen('node2').problem ?? '', /has not answered/);
      assert.ok((seen('node1').probeMs ?? 99) < 50);
      assert.equal(seen('node1').usable, true);
    } finally {
      pair.follower.resume();
    }
    await untilSeen(() => seen('node2').usable, 5000, 'the follower is back');
    await wakeUntilFresh();
  });

  it('forgets the freshness of a follower whose connection was lost, until it has answered again', async () => {
    await pair.follower.kill();
    await untilSeen(() => !seen('node2').usable, 300, 'the killed follower is not usable');
    assert.equal(seen('node2').freshAsOfMs, Number.NEGATIVE_INFINITY);
    await pair.follower.start();
    await untilSeen(() => seen('node2').usable, 5000, 'the follower is back');
    await wakeUntilFresh(3000);
  });

  it('keeps followers usable while the leader is gone, and starts anew with a new term', async () => {
    await pair.leader.kill();
    await untilSeen(() => !seen('node1').usable, 300, 'the killed leader is not usable');
    await sleep(300);
    const frozen = seen('node2').freshAsOfMs;
    assert.equal(seen('node2').usable, true);
    assert.ok(now() - frozen > 250);
    await sleep(200);
    assert.equal(seen('node2').freshAsOfMs, frozen);

    monitor.setTargets(targets(2, 'node2'));
    assert.equal(seen('node2').usable, false);
    await untilSeen(() => /still in recovery/.test(seen('node2').problem ?? ''), 1000, 'node2 is not promoted yet');
    await pair.follower.promote();
    await untilSeen(() => seen('node2').role === 'leader', 1000, 'node2 leads');
    assert.equal(seen('node2').timeline, 2);

    await pair.leader.start();
    await untilSeen(() => /not in recovery/.test(seen('node1').problem ?? ''), 3000, 'the old leader is recognised');
    assert.equal(seen('node1').usable, false);
  });
});
