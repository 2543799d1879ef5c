import { proceed } from './proceed.ts';
import { keepHouse, observe, settleCommon } from './observe.ts';
import type { AgentState } from './state.ts';
import { table } from './table.ts';
import { Turn } from './turn.ts';
import type { Input, InputType, StepResult } from './types.ts';

export { initialState } from './initial-state.ts';

/** Modes follow each other at once where nothing has to be waited for, but never for ever. */
const MOST_MODES_A_STEP = 12;

/** One input in, the next state and what is to be done out. Pure: the same state and input always give the same. */
export function step(state: AgentState, input: Input): StepResult {
  const turn = new Turn(state, input);
  observe(turn, input);
  react(turn, input);
  for (let round = 0; round < MOST_MODES_A_STEP; round++) {
    const before = turn.state.mode;
    proceed(turn);
    if (turn.state.mode === before) break;
  }
  keepHouse(turn);
  return { state: turn.state, effects: turn.effects };
}

function react(turn: Turn, input: Input): void {
  switch (input.type) {
    case 'effect-done':
    case 'effect-failed': {
      const answer = turn.settle(input);
      if (answer !== null && !settleCommon(turn, answer)) cell(turn, input.type, answer);
      return;
    }
    case 'command':
      return cell(turn, input.type, input.command);
    default:
      return cell(turn, input.type, undefined);
  }
}

/** The table's cell of the present mode. The mode is read here, so the pair is right by construction. */
function cell(turn: Turn, type: InputType, given: unknown): void {
  const { mode } = turn.state;
  const reaction = table[mode.kind][type] as (turn: Turn, mode: AgentState['mode'], given: unknown) => void;
  reaction(turn, mode, given);
}
