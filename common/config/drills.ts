import { z } from 'zod';

/** What can be rehearsed (proxy/drill/plan.ts says what each does). */
export const DRILL_KINDS = ['switchover', 'crash', 'freeze', 'partition', 'etcd', 'lag', 'proxy'] as const;
export type DrillKind = (typeof DRILL_KINDS)[number];

/** `22:00-05:00 Europe/Vienna`: from then until then each day, by the clock of the zone; UTC where none is named. */
export const drillWindow = z
  .string()
  .regex(
    /^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d( \S+)?$/,
    'HH:MM-HH:MM and a time zone, such as 22:00-05:00 Europe/Vienna',
  )
  .refine((text) => isTimeZone(text.split(' ')[1] ?? 'UTC'), 'no time zone of that name, such as Europe/Vienna')
  .refine(
    (text) => text.slice(0, 5) !== text.slice(6, 11),
    'a window that ends when it begins: leave it out for the whole day',
  );

/** One drill that comes again. */
const scheduledDrill = z.strictObject({
  kind: z.enum(DRILL_KINDS),
  /** `mon` … `sun`; every day when absent. */
  days: z
    .array(z.enum(['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']))
    .min(1)
    .optional(),
  /** The window begins then, in `zone`, and lasts so long: a drill whose guards refuse is tried again until it ends. */
  at: z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'HH:MM'),
  windowMinutes: z.number().int().min(5).max(720).default(60),
  zone: z.string().default('UTC').refine(isTimeZone, 'no time zone of that name, such as Europe/Vienna'),
  /** As `--seconds`; the kind's own default when absent. */
  seconds: z.number().int().min(1).max(300).optional(),
  /** Guards that must not keep it from running. */
  override: z.array(z.string()).default([]),
});

/** Something broken on purpose, and measured. */
export const drillsConfig = z.strictObject({
  /** False: proxies start none, and agents refuse to break anything. */
  enabled: z.boolean().default(true),
  /** What the canary connects to, as the proxy that runs the drill sees it: a database with a role that may make a table. */
  dsn: z.string().min(1).optional(),
  /** A drill so soon after the last one is refused (guard `recent`). */
  spacingMs: z.number().int().min(0).default(60_000),
  /** The longest that a fault may be asked to last; agents refuse more. */
  maxSeconds: z.number().int().min(5).max(300).default(60),
  /** A transaction older than this, a follower further behind than that, and a drill is refused (guards `transactions`, `lag`). */
  maxTransactionMs: z.number().int().min(100).default(5000),
  maxLagBytes: z
    .number()
    .int()
    .min(0)
    .default(16 * 1024 * 1024),
  /** Reports kept in etcd. */
  keep: z.number().int().min(1).max(50).default(30),
  schedule: z.array(scheduledDrill).max(20).default([]),
});

function isTimeZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}

export type DrillsConfig = z.output<typeof drillsConfig>;
export type ScheduledDrill = z.output<typeof scheduledDrill>;
