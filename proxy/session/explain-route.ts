import { ClientError } from '../../common/errors.ts';
import { whyNot } from '../routing/why-not.ts';
import { inWords } from '../sql/reasons.ts';
import type { Classification, StatementInfo } from '../sql/types.ts';
import * as encode from '../wire/encode.ts';
import type { OwnAnswer } from './own-settings.ts';
import type { Session } from './session.ts';
import { followerRequest, choose } from './servers.ts';
import { needOf } from './start.ts';
import { simpleUnit, type Unit } from './unit.ts';

type ExplainRoute = StatementInfo & { readonly kind: 'explain-route' };

export function explainColumns(): readonly string[] {
  return ['ROUTE'];
}

/** Where a text would go now, and why; the fields of the JSON form. Times are milliseconds before now, null for never. */
interface RouteReport {
  readonly route: string;
  readonly role: 'leader' | 'follower' | 'proxy' | 'undecided';
  readonly node: string | null;
  readonly class: string;
  readonly reason: string;
  readonly statements: readonly string[];
  readonly hint: string | null;
  readonly pins: readonly string[];
  readonly retryable: boolean;
  readonly consistency: string;
  readonly maxStalenessMs: number;
  readonly causalWaitMs: number;
  readonly floor: {
    readonly lastCommitMs: number | null;
    readonly lastReadMs: number | null;
    readonly lastReadFrom: string | null;
    readonly databaseCommitMs: number | null;
  };
  readonly followers: readonly FollowerReport[];
}

interface FollowerReport {
  readonly node: string;
  readonly eligible: boolean;
  readonly why: string | null;
  readonly freshAsOfMs: number | null;
  readonly lagBytes: string | null;
  readonly inFlight: number;
}

/**
 * Answers `EXPLAIN (ROUTE[, FORMAT JSON]) text`: where the text, which may be of several statements, would go now, and why.
 * Nothing is run, and no server is asked. Throws ClientError 22023 for other options.
 */
export function explainRoute(session: Session, text: Buffer, statement: ExplainRoute): OwnAnswer {
  const { format, other, bodyStart } = statement;
  if (other !== null)
    throw invalid(`EXPLAIN (ROUTE) has no option "${other}"`, 'It knows FORMAT TEXT and FORMAT JSON.');
  if (format !== 'text' && format !== 'json') {
    throw invalid(`unrecognized value for EXPLAIN option "format": "${format}"`, 'ROUTE knows TEXT and JSON.');
  }
  if (bodyStart < 0) throw invalid('the text cannot be read', 'It must be valid UTF-8.');
  const report = reportOf(session, text.subarray(bodyStart));
  const lines = format === 'json' ? [JSON.stringify(report, null, 2)] : linesOf(report);
  return { tag: 'EXPLAIN', rows: lines.map((line) => [line]) };
}

function invalid(message: string, hint: string): ClientError {
  return new ClientError({ sqlState: '22023', message, hint });
}

function reportOf(session: Session, text: Buffer): RouteReport {
  const classification = session.classify(text);
  const unit = simpleUnit(encode.query(text.toString()), classification);
  const { floor, context } = session;
  const request = followerRequest(session, unit, 'follower');
  const { clock, databaseFloors } = context;
  const ago = (at: number): number | null => (at === -Infinity ? null : Math.max(0, Math.round(clock.nowMs() - at)));
  return {
    ...routeOf(session, unit, classification),
    class: classification.reason,
    reason: inWords(classification.reason),
    statements: classification.statements.map(({ kind }) => kind),
    hint: hintOf(classification),
    pins: classification.pins,
    retryable: classification.retryable,
    consistency: request.level,
    maxStalenessMs: session.maxStalenessMs,
    causalWaitMs: session.causalWaitMs,
    floor: {
      lastCommitMs: ago(floor.committedAtMs),
      lastReadMs: ago(floor.lastReadAtMs),
      lastReadFrom: floor.lastNode,
      databaseCommitMs: ago(databaseFloors.get(session.client.database) ?? -Infinity),
    },
    followers: followersOf(session, request, ago),
  };
}

function hintOf({ hint, consistency }: Classification): string | null {
  const parts = [...(hint === null ? [] : [hint]), ...(consistency === null ? [] : [`consistency=${consistency}`])];
  return parts.length === 0 ? null : parts.join(', ');
}

type Route = Pick<RouteReport, 'route' | 'role' | 'node'>;

function routeOf(session: Session, unit: Unit, classification: Classification): Route {
  const { backend, pins, transaction } = session;
  if (backend !== null) {
    const { role, node } = backend.place;
    const why = transaction.kind === 'idle' ? `pinned: ${[...pins].join(', ')}` : 'the open transaction is there';
    return { route: `${role} ${node} (${why})`, role, node };
  }
  if (classification.target === 'proxy') return { route: 'the proxy answers', role: 'proxy', node: null };
  if (session.scoped.shadow) return shadowRoute(session, unit);
  return splitRoute(session, unit);
}

function shadowRoute(session: Session, unit: Unit): Route {
  const node = session.context.lease.leader()?.node ?? null;
  const split = splitRoute(session, unit).route;
  return { route: `leader ${node ?? ''} (shadow mode; with the split on: ${split})`, role: 'leader', node };
}

function splitRoute(session: Session, unit: Unit): Route {
  const { context } = session;
  const need = needOf(session, unit);
  const choice = need === 'leader' ? { kind: 'leader' as const } : choose(session, unit, need);
  if (choice.kind === 'follower') return { route: `follower ${choice.node}`, role: 'follower', node: choice.node };
  const leader = context.lease.leader();
  const named = leader === null ? `leader, when there is one: ${context.lease.explain()}` : `leader ${leader.node}`;
  if (choice.kind === 'leader') {
    const route = leader === null ? named : `${named} (term ${leader.term})`;
    return { route, role: 'leader', node: leader?.node ?? null };
  }
  const route = `a follower that becomes fresh enough within ${session.causalWaitMs} ms, else ${named}`;
  return { route, role: 'undecided', node: null };
}

function followersOf(
  session: Session,
  request: ReturnType<typeof followerRequest>,
  ago: (at: number) => number | null,
): FollowerReport[] {
  const { monitor, pools } = session.context;
  const reports: FollowerReport[] = [];
  for (const at of monitor.snapshot.nodes.values()) {
    if (at.role === 'leader') continue;
    const why = whyNot(at, monitor.snapshot, request);
    const { node, freshAsOfMs, lagBytes } = at;
    reports.push({
      node,
      eligible: why === null,
      why,
      freshAsOfMs: ago(freshAsOfMs),
      lagBytes: lagBytes === null ? null : lagBytes.toString(),
      inFlight: pools.busyOf(node),
    });
  }
  return reports;
}

function linesOf(report: RouteReport): string[] {
  const { floor, pins, hint, statements } = report;
  const ago = (ms: number | null): string => (ms === null ? 'never' : `${ms} ms ago`);
  const from = floor.lastReadFrom === null ? '' : ` from ${floor.lastReadFrom}`;
  return [
    `Route: ${report.route}`,
    `Class: ${report.class}${hint === null ? '' : ` (hint: ${hint})`}`,
    `Reason: ${report.reason}`,
    ...(statements.length > 1 ? [`Statements: ${statements.join(', ')}`] : []),
    ...(pins.length === 0 ? [] : [`Pins: ${pins.join(', ')}`]),
    `Consistency: ${report.consistency}, max staleness ${report.maxStalenessMs} ms, causal wait ${report.causalWaitMs} ms`,
    `Floor: last commit ${ago(floor.lastCommitMs)}, last read ${ago(floor.lastReadMs)}${from}` +
      (report.consistency === 'database' ? `, last commit to the database ${ago(floor.databaseCommitMs)}` : ''),
    ...report.followers.map(lineOf),
  ];
}

function lineOf({ node, why, freshAsOfMs, inFlight }: FollowerReport): string {
  const fresh = freshAsOfMs === null ? 'not known to be fresh' : `fresh as of ${freshAsOfMs} ms ago`;
  return `Follower ${node}: ${why === null ? 'eligible' : `not eligible: ${why}`}; ${fresh}, ${inFlight} in flight`;
}
