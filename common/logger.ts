import { type Logger, pino } from 'pino';
import { logDestination } from './log-destination.ts';

export type { Logger } from 'pino';

/**
 * JSON lines on standard output. Every record carries `event` (dotted, stable: what programs match on);
 * the message is for people. Never SQL parameters or passwords.
 */
export function createLogger(component: string, level = process.env['LEASEHOLD_LOG_LEVEL'] ?? 'info'): Logger {
  return pino(
    { level, base: { component, pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime },
    logDestination(1),
  );
}
