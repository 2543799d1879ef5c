import type { StopMode } from '../admin/types.ts';
import { shuttingDown } from '../session/errors.ts';
import type { Session } from '../session/session.ts';

/** When and how the proxy was asked to stop. A later request may only make it quicker. */
export class Stopping {
  readonly begun: Promise<void>;
  #mode: StopMode = 'clients';
  #begin: () => void = () => undefined;

  /** The signal, when it aborts, asks for `transactions`. */
  constructor(signal: AbortSignal) {
    this.begun = new Promise((resolve) => {
      this.#begin = resolve;
    });
    const onAbort = (): void => this.begin('transactions');
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  }

  get mode(): StopMode {
    return this.#mode;
  }

  begin(mode: StopMode): void {
    if (HURRY[mode] > HURRY[this.#mode]) this.#mode = mode;
    this.#begin();
  }
}

const HURRY: Readonly<Record<StopMode, number>> = { clients: 0, transactions: 1, now: 2 };

export interface DrainOptions {
  readonly sessions: ReadonlySet<
    Pick<Session, 'drain' | 'terminate' | 'phase' | 'requestAt' | 'startedAt' | 'draining'>
  >;
  /** Connections that are not sessions yet: they were accepted, so they are waited for. */
  readonly arriving: () => number;
  readonly mode: () => StopMode;
  /** In the first half of the time only who did nothing for so long is ended: others may leave by themselves. */
  readonly leaveMs: number;
  readonly drainMs: () => number;
  readonly nowMs: () => number;
}

const LOOK_EVERY_MS = 10;

/** Ends all sessions, each between two of its transactions where the time allows; resolves when none is left. */
export async function drainSessions(options: DrainOptions): Promise<void> {
  const { sessions, arriving, mode, leaveMs, nowMs } = options;
  const error = shuttingDown();
  let sinceMs: number | null = null;
  for (;;) {
    if (mode() === 'now') break;
    if (mode() === 'transactions') {
      sinceMs ??= nowMs();
      const drainMs = options.drainMs();
      const passedMs = nowMs() - sinceMs;
      if (passedMs >= drainMs) break;
      for (const session of sessions) {
        if (session.draining !== null) continue;
        if (leaveMs === 0 || passedMs >= drainMs / 2 || idleMs(session) >= leaveMs) session.drain(error);
      }
    }
    if (sessions.size === 0 && arriving() === 0) return;
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
  for (const session of sessions) session.terminate(error);
}

function idleMs({ phase, requestAt, startedAt }: Pick<Session, 'phase' | 'requestAt' | 'startedAt'>): number {
  return phase === 'idle' ? Date.now() - (requestAt ?? startedAt).getTime() : 0;
}
