import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { replicationConfig } from '../../common/config/replication.ts';
import { parseTerm } from '../../common/lsn.ts';
import {
  commandLine,
  ignoredParameters,
  primaryConninfo,
  quoteSetting,
  renderConfig,
  renderConninfo,
  renderHba,
  renderIdent,
  renderPassFile,
  renderSynchronous,
  slotName,
  withoutReloadedSettings,
} from './settings.ts';

const dynamic = { primaryConninfo: "host='a'", primarySlotName: 's', synchronousStandbyNames: '', generation: 7 };

const replication = replicationConfig.parse({ user: 'repl', password: 'p' });

describe('the files that the agent writes for PostgreSQL', () => {
  test('quotes and backslashes of a setting survive', () => {
    assert.equal(quoteSetting(`it's a \\`), `'it''s a \\\\'`);
  });

  test('a line break cannot smuggle another setting in', () => {
    assert.throws(() => quoteSetting('a\nfsync = off'), RangeError);
  });

  test('quotes and backslashes of a conninfo survive', () => {
    assert.equal(renderConninfo({ host: `a'b\\c`, port: 5 }), `host='a\\'b\\\\c' port='5'`);
  });

  test('a follower names itself, its passfile and no password', () => {
    const text = primaryConninfo({ node: 'b', term: parseTerm(7), host: 'h', port: 1 }, 'a', replication, '/p');
    assert.match(text, /application_name='a'/);
    assert.match(text, /passfile='\/p'/);
    assert.doesNotMatch(text, /password=/);
  });

  test('colons and backslashes of a password survive the passfile', () => {
    assert.equal(renderPassFile('u', 'a:b\\c'), '*:*:*:u:a\\:b\\\\c\n');
  });

  test('what safety needs beats a parameter of the configuration', () => {
    const text = renderConfig('/d', { synchronous_standby_names: 'x', Fsync: 'off', work_mem: '8MB' }, dynamic);
    assert.doesNotMatch(text, /synchronous_standby_names = 'x'|fsync/i);
    assert.match(text, /work_mem = '8MB'/);
    assert.deepEqual(ignoredParameters({ fsync: 'off', work_mem: '1', PORT: '1' }), ['fsync', 'PORT']);
  });

  test('a parameter of the configuration beats our default', () => {
    const text = renderConfig('/d', { recovery_min_apply_delay: '300ms', max_connections: '50' }, dynamic);
    assert.ok(text.indexOf("max_connections = '50'") > text.indexOf("max_connections = '200'"));
    assert.match(text, /recovery_min_apply_delay = '300ms'/);
  });

  test('logical decoding may be asked for, less than streaming may not', () => {
    const fixed = { configFile: '', hbaFile: '', identFile: '', socketDir: '', host: '', port: 1 };
    assert.ok(commandLine('/d', { ...fixed, walLevel: 'logical' }).includes('wal_level=logical'));
    assert.ok(commandLine('/d', { ...fixed, walLevel: 'minimal' }).includes('wal_level=replica'));
  });

  test('the synchronous rule is a quorum, empty only for k = 0', () => {
    assert.equal(renderSynchronous(['b', 'c'], 1), 'ANY 1 ("b", "c")');
    assert.equal(renderSynchronous([], 1), 'ANY 1 ("Nobody yet")');
    assert.equal(renderSynchronous(['b'], 0), '');
  });

  test('a slot is one term’s, and named in the letters that PostgreSQL allows', () => {
    assert.equal(slotName(parseTerm(12), 'node-a'), 'leasehold_t12_node_a');
    assert.ok(slotName(parseTerm(10 ** 9), 'a'.repeat(40)).length < 64);
  });

  test('a fenced server admits the agent and replication only, whatever the configuration adds', () => {
    const lines = ['host all all 10.0.0.0/8 trust'];
    const fenced = renderHba({ clear: true, replicationUser: 'r"x', leads: true, open: false, lines });
    assert.doesNotMatch(fenced, /trust|all all 0/);
    assert.match(fenced, /host replication "r""x"/);
    const open = renderHba({ clear: true, replicationUser: 'r', leads: true, open: true, lines });
    assert.ok(open.indexOf('trust') > open.indexOf('host all leasehold 0.0.0.0/0 reject'));
    assert.match(open, /host all all ::\/0 scram-sha-256/);
  });

  test('a server that does not lead refuses followers, clones and rewinds before any other line is looked at', () => {
    const lines = ['host replication all all trust', 'host all all all trust'];
    const follower = renderHba({ clear: true, replicationUser: 'r', leads: false, open: true, lines });
    for (const database of ['replication', 'postgres']) {
      const refused = follower.indexOf(`host ${database} "r" ::/0 reject`);
      assert.ok(refused > 0 && refused < follower.indexOf('trust'));
      assert.doesNotMatch(follower, new RegExp(`host ${database} "r" \\S+ scram`));
    }
  });

  test('where nothing may go in the clear, a leader refuses who comes so', () => {
    const lines = ['host replication all all trust'];
    const text = renderHba({ replicationUser: 'r', clear: false, leads: true, open: true, lines });
    for (const database of ['replication', 'postgres']) {
      const admitted = text.indexOf(`hostssl ${database} "r" ::/0 scram-sha-256`);
      const refused = text.indexOf(`host ${database} "r" ::/0 reject`);
      assert.ok(admitted > 0 && admitted < refused && refused < text.indexOf('trust'));
    }
  });

  test('connections to other nodes use the TLS that the configuration asks for', () => {
    const peer = { node: 'b', term: parseTerm(7), host: 'h', port: 1 };
    const tls = { mode: 'verify-full', caFile: '/ca' } as const;
    const text = primaryConninfo(peer, 'a', { ...replication, tls }, '/p');
    assert.match(text, /sslmode='verify-full' sslrootcert='\/ca'/);
    assert.match(primaryConninfo(peer, 'a', replication, '/p'), /sslmode='prefer'(?! sslrootcert)/);
  });

  test('each operating-system user is named once', () => {
    assert.equal(renderIdent(['me', 'me']), 'leasehold "me" leasehold\n');
  });

  test('what ALTER SYSTEM wrote of ours is taken out, the rest stays', () => {
    const auto = "# c\nwork_mem = '4MB'\nSynchronous_Standby_Names = ''\nprimary_conninfo = 'x'\n";
    assert.equal(withoutReloadedSettings(auto), "# c\nwork_mem = '4MB'\n");
  });
});
