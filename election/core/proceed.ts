import { assertNever } from '../../common/never.ts';
import { proceedDemoting } from './demote.ts';
import { proceedCandidate, proceedPledged } from './elect.ts';
import { proceedCopying } from './copy.ts';
import { proceedFenced, proceedFollower } from './follow.ts';
import { proceedInit } from './init.ts';
import { proceedHeld, proceedOpen } from './lead.ts';
import { releaseOrphan, releaseWithoutLease } from './orphan.ts';
import { proceedPromoting } from './promote.ts';
import { proceedDraining } from './switchover.ts';
import type { Turn } from './turn.ts';

/** Starts whatever the mode may start now, by the facts as they stand; at most one thing in each lane. */
export function proceed(turn: Turn): void {
  releaseOrphan(turn);
  releaseWithoutLease(turn);
  const { mode } = turn.state;
  switch (mode.kind) {
    case 'INIT':
      return proceedInit(turn, mode);
    case 'CLONING':
    case 'REWINDING':
      return proceedCopying(turn, mode);
    case 'FOLLOWER':
      return proceedFollower(turn, mode);
    case 'PLEDGED':
      return proceedPledged(turn, mode);
    case 'CANDIDATE':
      return proceedCandidate(turn, mode);
    case 'PROMOTING':
      return proceedPromoting(turn);
    case 'LEADER_HELD':
      return proceedHeld(turn);
    case 'LEADER_OPEN':
      return proceedOpen(turn);
    case 'DRAINING':
      return proceedDraining(turn);
    case 'DEMOTING':
      return proceedDemoting(turn, mode);
    case 'FENCED':
      return proceedFenced(turn, mode);
    default:
      return assertNever(mode, 'mode');
  }
}
