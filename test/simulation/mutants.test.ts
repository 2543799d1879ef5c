import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InvariantViolation } from './context.ts';
import { MUTANTS } from './mutants.ts';
import { runSeed } from './world.ts';

// What shows that the simulation would find a bug: it finds these.
for (const { name, from = 1, seeds, breaks, planted } of MUTANTS) {
  test(`the simulation finds that ${name}`, (t) => {
    for (let seed = from; seed < from + seeds; seed++) {
      const { violation } = runSeed(seed, { planted, traceLines: 10 });
      if (!(violation instanceof InvariantViolation) || !breaks.includes(violation.invariant)) continue;
      t.diagnostic(`seed ${seed}: ${violation.message}`);
      return;
    }
    assert.fail(`not found within ${seeds} seeds from ${from} on`);
  });
}
