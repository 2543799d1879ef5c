import type { ScheduledDrill } from '../../common/config/drills.ts';

/** A window of a scheduled drill that is open now. */
export interface OpenWindow {
  readonly drill: ScheduledDrill;
  /** Which drill, and which of its windows: the same in every proxy, and for as long as the window is open. */
  readonly entry: string;
  readonly window: string;
}

const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;
const DAY_MINUTES = 24 * 60;

/** Pure. A window may reach past midnight; it belongs to the day on which it began, in the drill's zone. */
export function openWindows(schedule: readonly ScheduledDrill[], now: Date): OpenWindow[] {
  return schedule.flatMap((drill) => {
    const entry = [drill.kind, drill.at, drill.zone, (drill.days ?? []).join('+'), drill.seconds ?? '']
      .join(' ')
      .trim();
    for (const daysAgo of [0, 1]) {
      const day = localDay(new Date(now.getTime() - daysAgo * DAY_MINUTES * 60_000), drill.zone);
      if (drill.days !== undefined && !drill.days.includes(day.weekday)) continue;
      const [hours = 0, minutes = 0] = drill.at.split(':').map(Number);
      const since = localDay(now, drill.zone).minutes + daysAgo * DAY_MINUTES - (hours * 60 + minutes);
      if (since >= 0 && since < drill.windowMinutes) return [{ drill, entry, window: day.date }];
    }
    return [];
  });
}

/** Whether the moment lies in the window of the day (`drillWindow` of the schema). Pure. */
export function isWithin(window: string, now: Date): boolean {
  const [hours = '', zone = 'UTC'] = window.split(' ');
  const [from = 0, until = 0] = hours.split('-').map((text) => {
    const [hour = 0, minute = 0] = text.split(':').map(Number);
    return hour * 60 + minute;
  });
  const { minutes } = localDay(now, zone);
  return from < until ? minutes >= from && minutes < until : minutes >= from || minutes < until;
}

interface LocalDay {
  readonly date: string;
  readonly weekday: (typeof WEEKDAYS)[number];
  /** Since midnight, as the clock on the wall says. */
  readonly minutes: number;
}

function localDay(at: Date, timeZone: string): LocalDay {
  const format = new Intl.DateTimeFormat('en-CA', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
  });
  const parts = new Map(format.formatToParts(at).map(({ type, value }) => [type, value]));
  const date = `${parts.get('year')}-${parts.get('month')}-${parts.get('day')}`;
  const weekday = WEEKDAYS[new Date(`${date}T12:00:00Z`).getUTCDay()] as LocalDay['weekday'];
  return { date, weekday, minutes: Number(parts.get('hour')) * 60 + Number(parts.get('minute')) };
}

/** What etcd keeps: the window of each entry that had its drill last. Bounded by what schedules may hold. */
export type ScheduleRecord = Readonly<Record<string, string>>;

const MAX_ENTRIES = 60;

/** With the claim; entries that no schedule has named for longest go first. */
export function claimed(record: ScheduleRecord, { entry, window }: OpenWindow): ScheduleRecord {
  const others = Object.entries(record).filter(([name]) => name !== entry);
  return Object.fromEntries([...others.slice(-(MAX_ENTRIES - 1)), [entry, window]]);
}

/** Without it: the drill was refused before anything was done, and may be tried again. */
export function unclaimed(record: ScheduleRecord, { entry, window }: OpenWindow): ScheduleRecord {
  return Object.fromEntries(Object.entries(record).filter(([name, value]) => name !== entry || value !== window));
}
