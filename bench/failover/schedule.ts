export const SCENARIOS = ['crash', 'host', 'switchover'] as const;
export type Scenario = (typeof SCENARIOS)[number];

export interface Turn {
  readonly scenario: Scenario;
  /** Index of the side; 0 is ours. */
  readonly side: number;
  /** Of this side, from 1. */
  readonly run: number;
}

export interface Wanted {
  readonly scenarios: readonly Scenario[];
  /** Of ours, for each scenario. */
  readonly runs: (scenario: Scenario) => number;
  readonly peers: number;
  readonly peerRuns: number;
}

/** All sides in turn, the fewer runs of the peers spread over ours, so that each is measured on the machine as the others found it. */
export function scheduleOf({ scenarios, runs, peers, peerRuns }: Wanted): Turn[] {
  return scenarios.flatMap((scenario) => {
    const ours = runs(scenario);
    const turns: Turn[] = [];
    let peerRun = 0;
    for (let run = 1; run <= ours; run += 1) {
      turns.push({ scenario, side: 0, run });
      while (peerRun < Math.min(peerRuns, Math.ceil((run * peerRuns) / ours))) {
        peerRun += 1;
        for (let side = 1; side <= peers; side += 1) turns.push({ scenario, side, run: peerRun });
      }
    }
    return turns;
  });
}
