import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leaseholdConfig } from '../../common/config/schema.ts';
import { tooManyClients } from './client-limits.ts';

const config = leaseholdConfig.parse({
  proxy: { maxClients: 4, users: { ann: { maxClients: 1 } }, databases: { app: { maxClients: 2 } } },
}).proxy;
const here = (...clients: [user: string, database: string][]) =>
  clients.map(([user, database]) => ({ client: { user, database } }));

const cases: readonly [
  name: string,
  sessions: ReturnType<typeof here>,
  guest: [string, string],
  setting: string | null,
][] = [
  ['there is room', here(['bob', 'app']), ['ann', 'app'], null],
  ['the user has its share', here(['ann', 'other']), ['ann', 'app'], 'proxy.users.ann.maxClients'],
  [
    'the database has its share',
    here(['bob', 'app'], ['cid', 'app']),
    ['ann', 'app'],
    'proxy.databases.app.maxClients',
  ],
  ['another database has room', here(['bob', 'app'], ['cid', 'app']), ['ann', 'other'], null],
  ['the proxy is full', here(['a', 'x'], ['b', 'x'], ['c', 'x'], ['d', 'x']), ['ann', 'other'], 'proxy.maxClients'],
];
for (const [name, sessions, [user, database], setting] of cases) {
  test(`limits of clients: ${name}`, () => {
    const error = tooManyClients(config, sessions.length, sessions, { user, database });
    assert.equal(error?.sqlState, setting === null ? undefined : '53300');
    if (setting !== null) assert.match(error?.hint ?? '', new RegExp(`Raise ${setting.replaceAll('.', '\\.')},`));
  });
}
