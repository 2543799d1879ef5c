import { clusterSettings } from '../../common/config/schema.ts';
import type { Keys } from '../../election/store/keys.ts';
import type { LeaseStore } from '../../election/store/port.ts';
import { decodeRecord, encodeRecord, type SettingsRecord, settingsRecord } from '../../election/store/records.ts';
import { ActionRefused } from './action-refused.ts';

/** Somebody else may change them in the same moment: so often it is tried. */
const TRIES = 5;

/**
 * Changes settings of the whole cluster in etcd; null takes one back. Throws ActionRefused 400 with every fault, by the schema of the
 * configuration itself, and 409 where what is there cannot be read or others change it all the time.
 */
export async function changeSettings(
  store: Pick<LeaseStore, 'transact'>,
  keys: Keys,
  changes: Readonly<Record<string, unknown>>,
  by: string,
  deadlineMs: number,
): Promise<SettingsRecord> {
  const known = Object.keys(clusterSettings.shape);
  if (Object.keys(changes).length === 0) {
    throw new ActionRefused(400, `name a setting of the cluster: ${known.join(', ')}`);
  }
  const unset = Object.keys(changes).filter((name) => changes[name] === null);
  const parsed = clusterSettings.safeParse({
    ...changes,
    ...Object.fromEntries(unset.map((name) => [name, undefined])),
  });
  if (!parsed.success) {
    const faults = parsed.error.issues.map(({ path, message }) =>
      path.length === 0 ? message : `${path.join('.')}: ${message}`,
    );
    throw new ActionRefused(400, `${faults.join('; ')} (settings of the cluster are ${known.join(', ')})`);
  }
  for (let tries = 0; tries < TRIES; tries++) {
    const { gets } = await store.transact({ compare: [], then: [{ type: 'get', key: keys.config }] }, { deadlineMs });
    const stored = gets[0] ?? null;
    const before = stored === null ? null : decodeRecord(settingsRecord, stored.value);
    if (stored !== null && before === null) {
      throw new ActionRefused(409, `the value of ${keys.config} in etcd cannot be read: repair or delete it`);
    }
    const merged = Object.entries({ ...before?.settings, ...parsed.data }).filter(([name]) => !unset.includes(name));
    const settings = clusterSettings.parse(Object.fromEntries(merged));
    const record = { version: (before?.version ?? 0) + 1, by, at: new Date().toISOString(), settings };
    const result = await store.transact(
      {
        compare: [{ type: 'mod-revision', key: keys.config, equals: stored?.modRevision ?? 0 }],
        then: [{ type: 'put', key: keys.config, value: encodeRecord(settingsRecord, record) }],
      },
      { deadlineMs },
    );
    if (result.succeeded) return record;
  }
  throw new ActionRefused(409, 'somebody else changes the settings all the time: look, and try again');
}
