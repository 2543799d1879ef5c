import type { AgentState } from './state.ts';
import type { Input, StepResult } from './types.ts';

export { initialState } from './state.ts';

export function step(state: AgentState, input: Input): StepResult {
  return { state: { ...state, nowMs: input.nowMs }, effects: [] };
}
