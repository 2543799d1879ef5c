import type { ClusterContent } from '../cluster/cluster-reader.ts';
import type { Attempt } from './attempts.ts';
import type { Phases, Sighting } from './types.ts';

export type BareSighting = Omit<Sighting, 'atMs'>;

/** What changed between two looks at etcd, in words. Pure; the caller notes the time. */
export function sightingsOf(before: ClusterContent, after: ClusterContent): BareSighting[] {
  const seen: BareSighting[] = [];
  const see = (type: Sighting['type'], node: string | null, text: string) => seen.push({ type, node, text });
  for (const [node, member] of after.members) {
    const was = before.members.get(node);
    if (was?.state === member.state) continue;
    const from = was === undefined ? 'back in etcd' : was.state;
    see('state', node, `${node}: ${from} → ${member.state}`);
  }
  for (const node of before.members.keys()) {
    if (!after.members.has(node)) see('gone', node, `${node}: its agent's key in etcd has expired`);
  }
  if (before.leader !== null && before.leader.createRevision !== after.leader?.createRevision) {
    const { node } = before.leader.record;
    see('leader-gone', node, `${node} has given up the leader key, or lost it with its lease`);
  }
  if (after.leader !== null && before.leader?.createRevision !== after.leader.createRevision) {
    const { node, term } = after.leader.record;
    see('leader-taken', node, `${node} is elected for term ${term}`);
  }
  const route = after.route;
  if (route?.hold === true && before.route?.hold !== true) {
    see('held', route.leader, `writes are told to wait (term ${route.term})`);
  }
  for (const [term, record] of after.history) {
    if (record.promoted === true && before.history.get(term)?.promoted !== true) {
      see('promoted', record.leader, `${record.leader} is promoted, timeline ${record.timeline}`);
    }
  }
  if (route?.hold === false && (before.route?.hold !== false || before.route.term !== route.term)) {
    see('open', route.leader, `writes are open on ${route.leader}, term ${route.term}`);
  }
  return seen;
}

/** States in which a leader still does its work. */
const LEADS = / → LEADER_(OPEN|HELD)$/;

/**
 * The time from the fault to the first write, cut at what was seen in etcd. `writes` in the same milliseconds as the sightings.
 */
export function phasesOf(timeline: readonly Sighting[], leader: string | null, writes: readonly Attempt[]): Phases {
  const struckMs = timeline.find((one) => one.type === 'struck')?.atMs ?? 0;
  const find = (fromMs: number, matches: (one: Sighting) => boolean) =>
    timeline.find((one) => one.atMs >= fromMs && matches(one))?.atMs ?? null;
  const goneMs = find(struckMs, (one) => one.type === 'leader-gone' && one.node === leader);
  const detectedMs = find(
    struckMs,
    (one) =>
      one.type === 'held' ||
      ((one.type === 'leader-gone' || one.type === 'gone' || (one.type === 'state' && !LEADS.test(one.text))) &&
        one.node === leader),
  );
  const takenMs = goneMs === null ? null : find(goneMs, (one) => one.type === 'leader-taken');
  const promotedMs = takenMs === null ? null : find(takenMs, (one) => one.type === 'promoted');
  const openMs = takenMs === null ? null : find(takenMs, (one) => one.type === 'open');
  const firstMs =
    openMs === null
      ? null
      : (writes.find((write) => write.outcome === 'acknowledged' && write.endedMs >= openMs)?.endedMs ?? null);
  const between = (from: number | null, to: number | null) => (from === null || to === null ? null : to - from);
  return {
    detectionMs: between(struckMs, detectedMs),
    fenceMs: between(detectedMs, goneMs),
    electionMs: between(goneMs, takenMs),
    promotionMs: between(takenMs, promotedMs),
    openingMs: between(promotedMs ?? takenMs, openMs),
    firstWriteMs: between(openMs, firstMs),
  };
}
