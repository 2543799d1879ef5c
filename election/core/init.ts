import { beginClone, leastClaim } from './copy.ts';
import { orphanGone } from './orphan.ts';
import type { ModeOf } from './state.ts';
import type { Answer, Turn } from './turn.ts';

/** A node at its start: nothing of PostgreSQL runs, then what is on the disk decides. */
export function proceedInit(turn: Turn, mode: ModeOf<'INIT'>): void {
  const { state } = turn;
  if (!mode.killed) {
    if (turn.serverReady) turn.start('kill', 'kill', 30_000, { type: 'pg-kill' });
    return;
  }
  if (state.server.data === null) {
    if (turn.serverReady) turn.start('server', 'inspect', 60_000, { type: 'pg-inspect' });
    return;
  }
  if (state.view === null) return turn.note('waiting for the lease store');
  if (!turn.serverReady || !turn.idle('decide')) return;
  const { data } = state.server;
  if (data.kind === 'data') return withData(turn, data.systemId);
  if (data.kind === 'unfinished' && data.what !== 'initdb') return copyAnew(turn, `an unfinished ${data.what}`);
  if (state.view.system === null && state.view.sync === null) return bootstrap(turn);
  copyAnew(turn, 'it has no data');
}

function withData(turn: Turn, systemId: string): void {
  const { view, local } = turn.state;
  if (view === null) return;
  if (view.system !== null && view.system.systemId !== systemId) {
    if (local.bootstrapping) return copyAnew(turn, 'another node has made the cluster meanwhile');
    const known = `this cluster is PostgreSQL system ${view.system.systemId}`;
    return fail(
      turn,
      `the data directory is of PostgreSQL system ${systemId}, but ${known}: move it away, or name another cluster`,
    );
  }
  if (view.system === null && view.sync === null) {
    if (local.lineageTerm > 0n && !local.bootstrapping) {
      const lost = `the lease store knows nothing of this cluster, but this data was in its term ${local.lineageTerm}`;
      return turn.note(`${lost}: restore the store, or remove the agent's state file to begin anew from this data`);
    }
    return bootstrap(turn);
  }
  turn.go({ kind: 'FENCED', phase: 'start', untilMs: 0 });
}

function copyAnew(turn: Turn, why: string): void {
  turn.note(`${why}: waiting for an open leader to clone from`);
  beginClone(turn, why, leastClaim(turn.state));
}

/** Whoever takes the leader key first makes the cluster. */
function bootstrap(turn: Turn): void {
  const { view, config } = turn.state;
  if (view === null || view.leaderCreateRevision !== 0 || config.noFailover) {
    return turn.note('waiting for another node to make the cluster');
  }
  turn.go({ kind: 'CANDIDATE', term: (view.term.value + 1n) as never, phase: 'lease' });
}

function fail(turn: Turn, error: string): void {
  turn.log('error', 'agent.failed', error);
  turn.go({ kind: 'FENCED', phase: 'over', untilMs: 0 });
  turn.effects.push({ type: 'finished', error });
}

export function initDone(turn: Turn, mode: ModeOf<'INIT'>, answer: Answer): void {
  if (answer.lane === 'kill') {
    turn.setServer({ running: false });
    turn.go({ ...mode, killed: true });
  } else if (answer.outcome?.type === 'data') turn.setServer({ data: answer.outcome.data });
  else if (answer.what === 'orphan') orphanGone(turn, answer);
}

export function initFailed(turn: Turn, _mode: ModeOf<'INIT'>, answer: Answer): void {
  turn.backOff(answer);
}
