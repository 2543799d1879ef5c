import { parseTerm } from '../../common/lsn.ts';
import { keysOf } from '../../election/store/keys.ts';
import type { LeaseStore } from '../../election/store/port.ts';
import { encodeRecord, historyRecord } from '../../election/store/records.ts';

/** How a term came to be, as the agent of its leader writes it: a failover to `leader`. */
export async function putHistory(
  store: LeaseStore,
  leader: string,
  term: bigint,
  before: { readonly previousLeader: string; readonly nextXid: string | null },
): Promise<void> {
  const value = encodeRecord(historyRecord, {
    term: parseTerm(term),
    leader,
    previousLeader: before.previousLeader,
    reason: 'failover',
    parent: parseTerm(term - 1n),
    promoted: true,
    timeline: Number(term),
    nextXid: before.nextXid,
    at: new Date().toISOString(),
    detail: null,
  });
  const key = keysOf('main').history(parseTerm(term));
  await store.transact({ compare: [], then: [{ type: 'put', key, value }] }, { deadlineMs: 3000 });
}
