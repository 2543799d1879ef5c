import { readyStatus } from '../routing/transaction.ts';
import type { Classification, StatementInfo } from '../sql/types.ts';
import * as encode from '../wire/encode.ts';
import { choose } from './servers.ts';
import type { Session } from './session.ts';
import { needOf } from './start.ts';
import { simpleUnit } from './unit.ts';

/**
 * Answers `EXPLAIN (ROUTE) statement`: where the statement would go now, and why. Nothing is run, and no server is asked.
 * `message` is the Query that has it.
 */
export function explainRoute(
  session: Session,
  message: Buffer,
  statement: StatementInfo & { readonly kind: 'explain-route' },
): void {
  const text = message.subarray(5 + statement.bodyStart, 5 + statement.bodyEnd);
  const classification = session.classify(text);
  const lines = [
    `Route: ${routeOf(session, text, classification)}`,
    `Class: ${classification.reason}${classification.hint === null ? '' : ` (hint: ${classification.hint})`}`,
    ...(classification.pins.length === 0 ? [] : [`Pins: ${classification.pins.join(', ')}`]),
    `Consistency: ${session.level}, ${floorOf(session)}`,
    ...followersOf(session),
  ];
  session.out.send(encode.rowDescription([{ name: 'ROUTE' }]));
  for (const line of lines) session.out.send(encode.dataRow([line]));
  session.out.send(encode.commandComplete('EXPLAIN'));
  session.out.send(encode.readyForQuery(readyStatus(session.transaction)));
}

function routeOf(session: Session, text: Buffer, classification: Classification): string {
  const { backend, pins, transaction, context } = session;
  if (backend !== null) {
    const why = transaction.kind === 'idle' ? `pinned: ${[...pins].join(', ')}` : 'the open transaction is there';
    return `${backend.place.role} ${backend.place.node} (${why})`;
  }
  if (classification.target === 'proxy') return 'the proxy answers';
  const unit = simpleUnit(encode.query(text.toString()), classification);
  const need = needOf(session, unit);
  const choice = need === 'leader' ? { kind: 'leader' as const } : choose(session, unit, need);
  if (choice.kind === 'follower') return `follower ${choice.node}`;
  const leader = context.lease.leader();
  const named = leader === null ? `leader, when there is one: ${context.lease.explain()}` : `leader ${leader.node}`;
  if (choice.kind === 'leader') return leader === null ? named : `${named} (term ${leader.term})`;
  return `a follower that becomes fresh enough within ${session.scoped.causalWaitMs} ms, else ${named}`;
}

function floorOf(session: Session): string {
  const { floor, context } = session;
  const nowMs = context.clock.nowMs();
  const ago = (ms: number): string => (ms === -Infinity ? 'never' : `${Math.max(0, Math.round(nowMs - ms))} ms ago`);
  const from = floor.lastNode === null ? '' : ` from ${floor.lastNode}`;
  return `last commit ${ago(floor.committedAtMs)}, last read ${ago(floor.lastReadAtMs)}${from}`;
}

function followersOf(session: Session): string[] {
  const { monitor, clock, pools } = session.context;
  const nowMs = clock.nowMs();
  const lines: string[] = [];
  for (const { node, role, usable, problem, freshAsOfMs } of monitor.snapshot.nodes.values()) {
    if (role === 'leader') continue;
    const fresh =
      freshAsOfMs === -Infinity ? 'never fresh yet' : `fresh as of ${Math.round(nowMs - freshAsOfMs)} ms ago`;
    lines.push(`Follower ${node}: ${usable ? `${fresh}, ${pools.busyOf(node)} in flight` : (problem ?? 'not usable')}`);
  }
  return lines;
}
