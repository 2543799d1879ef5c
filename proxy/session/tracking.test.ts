import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SessionSettings } from '../routing/settings.ts';
import type { SettingsImage } from '../routing/settings-image.ts';
import type { StatementDetail } from '../sql/types.ts';
import type { Session } from './session.ts';
import { noteImage } from './tracking.ts';

const set = (name: string): StatementDetail => ({
  kind: 'set',
  name,
  value: '1',
  sql: `SET ${name} = 1`,
  local: false,
});

/** A session on a server connection that has what the session has. */
function onBackend(): {
  settings: SessionSettings;
  backend: { settings: SettingsImage | null };
  apply: (statement: StatementDetail) => void;
} {
  const settings = new SessionSettings();
  const backend: { settings: SettingsImage | null } = { settings: settings.image };
  const session = { settings, backend } as unknown as Session;
  const apply = (statement: StatementDetail): void => {
    const before = settings.image;
    settings.apply(statement);
    noteImage(session, before);
  };
  return { settings, backend, apply };
}

test('a connection has what characteristics of the session set', () => {
  const { settings, backend, apply } = onBackend();
  apply({
    kind: 'set-transaction',
    session: true,
    readOnly: true,
    isolation: null,
    deferrable: null,
  } as StatementDetail);
  assert.equal(settings.valueOf('default_transaction_read_only') !== undefined, true);
  assert.equal(backend.settings, settings.image);
});

test('a connection loses what a rollback takes back, and has what is set behind it', () => {
  const { settings, backend, apply } = onBackend();
  settings.beginTransaction();
  apply({ kind: 'savepoint', name: 'a' });
  apply(set('a.b'));
  apply({ kind: 'rollback-to', name: 'a' });
  apply(set('a.c'));
  assert.deepEqual([[...(backend.settings?.keys() ?? [])], backend.settings === settings.image], [['a.c'], true]);
});

test('a connection of which something is unknown is set anew', () => {
  const { backend, apply } = onBackend();
  backend.settings = new Map();
  apply(set('a.b'));
  assert.equal(backend.settings, null);
});
