import type { ConsistencyLevel } from '../routing/choose-node.ts';
import { strongerLevel } from '../routing/own-settings.ts';
import type { Session } from './session.ts';
import type { Unit } from './unit.ts';

/** `any`: a server of the cluster, whatever it has replayed. */
export type Need = 'leader' | 'follower' | 'any';

/** The consistency level that a unit is to have: the session's, or that of a comment before it. */
export function levelOf(session: Session, unit: Unit, need: Need): ConsistencyLevel {
  if (need === 'any') return 'eventual';
  const { hinted, unhinted } = unit.plan;
  const level = hinted === null || unhinted ? session.level : hinted;
  return hinted === null || !unhinted ? level : strongerLevel(level, hinted);
}
