import { writeSync } from 'node:fs';

/** Unwritten log text kept for a reader that is slow; beyond it lines are dropped, and counted. */
const MAX_PENDING_CHARS = 1024 * 1024;
const RETRY_MS = 100;

/** The part of a stream that pino uses. */
export interface LogDestination {
  write(line: string): void;
}

/**
 * Writes log lines to a file descriptor without ever blocking or ending the process: a reader that is slow is waited
 * for up to a bound, one that is gone is forgotten. (pino's own destination waits for ever in its last flush when the
 * pipe is broken, and an agent or a proxy whose log reader died would outlive its parent.)
 */
export function logDestination(fd: number, write: (fd: number, data: Buffer) => number = writeSync): LogDestination {
  let pending = Buffer.alloc(0);
  let dropped = 0;
  let gone = false;
  let retrying = false;

  function flush(): void {
    try {
      while (pending.length > 0) pending = pending.subarray(write(fd, pending));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return retryLater();
      gone = true;
      pending = Buffer.alloc(0);
    }
  }

  function retryLater(): void {
    if (retrying) return;
    retrying = true;
    setTimeout(() => {
      retrying = false;
      flush();
    }, RETRY_MS).unref();
  }

  return {
    write(line) {
      if (gone) return;
      if (pending.length > MAX_PENDING_CHARS) {
        dropped += 1;
        return;
      }
      const note =
        dropped === 0 ? '' : `{"level":40,"event":"log.dropped","lines":${dropped},"msg":"log lines lost"}\n`;
      dropped = 0;
      pending = Buffer.concat([pending, Buffer.from(note + line)]);
      flush();
    },
  };
}
