import { LeaseholdError } from '../../common/errors.ts';
import { type Lsn, parseLsn } from '../../common/lsn.ts';

/** What pg_controldata tells of a stopped server (https://www.postgresql.org/docs/current/app-pgcontroldata.html). */
export interface ControlData {
  readonly systemId: string;
  readonly timeline: number;
  readonly checkpointLsn: Lsn;
  /** `shut down` or `shut down in recovery`: all of its WAL is applied and on disk. */
  readonly cleanShutdown: boolean;
}

/** Parses its output in the C locale. Throws where a line is missing. */
export function parseControlData(text: string): ControlData {
  const fields = new Map<string, string>();
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) fields.set(line.slice(0, colon).trim(), line.slice(colon + 1).trim());
  }
  const field = (name: string) => {
    const value = fields.get(name);
    if (value === undefined) throw new LeaseholdError('CONTROL_DATA', `pg_controldata gave no "${name}"`);
    return value;
  };
  const state = field('Database cluster state');
  return {
    systemId: field('Database system identifier'),
    // A follower may have replayed past its last checkpoint onto a newer timeline.
    timeline: Math.max(
      Number(field("Latest checkpoint's TimeLineID")),
      Number(field("Min recovery ending loc's timeline")),
    ),
    checkpointLsn: parseLsn(field('Latest checkpoint location')),
    cleanShutdown: state === 'shut down' || state === 'shut down in recovery',
  };
}
