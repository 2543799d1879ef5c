import type { ProxyRecord, RouteRecord } from '../../election/store/records.ts';

export interface HoldState {
  readonly route: Pick<RouteRecord, 'hold' | 'seq'> | null;
  readonly inFlight: number;
  /** What was applied before. */
  readonly appliedSeq: number;
}

/** The route seq that this proxy has carried out: a held route is, once nothing that began before it is in flight. */
export function appliedSeq(state: HoldState): number {
  if (state.route === null) return state.appliedSeq;
  if (state.route.hold && state.inFlight > 0) return state.appliedSeq;
  return state.route.seq;
}

export type Publication = 'at-once' | 'soon' | 'none';

/**
 * A leader waits for `appliedSeq` while writes are held, so that goes out at once; the counts are for people.
 * `inFlight` while a hold drains tells the leader that this proxy is alive and what it waits for.
 */
export function publication(published: ProxyRecord | null, current: ProxyRecord): Publication {
  if (published === null || published.appliedSeq !== current.appliedSeq) return 'at-once';
  const same =
    published.heldWrites === current.heldWrites &&
    published.inFlight === current.inFlight &&
    published.draining === current.draining &&
    published.httpUrl === current.httpUrl &&
    published.address.host === current.address.host &&
    published.address.port === current.address.port;
  return same ? 'none' : 'soon';
}
