import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { isNeededLibrary } from './debian.ts';
import { findEtcd, findPostgres, usualFolders } from './find.ts';
import { isReachable } from './os-user.ts';

const folder = mkdtempSync(join(tmpdir(), 'leasehold-setup-'));
after(() => rmSync(folder, { recursive: true }));

/** A folder of shell scripts that answer `--version` as PostgreSQL's programs do. */
function fakePostgres(name: string, version: string): string {
  const binDir = join(folder, name);
  mkdirSync(binDir, { recursive: true });
  for (const program of ['postgres', 'initdb', 'pg_basebackup', 'pg_rewind', 'pg_controldata']) {
    writeFileSync(join(binDir, program), `#!/bin/sh\necho "${program} (PostgreSQL) ${version}"\n`, { mode: 0o755 });
  }
  return binDir;
}

test('a PostgreSQL on the PATH is taken before those of the usual folders', async () => {
  const onPath = fakePostgres('path', '16.2');
  const usual = fakePostgres('usual', '17.1');
  const { install } = await findPostgres({ PATH: onPath }, [usual]);
  assert.equal(install?.binDir, onPath);
  assert.equal(install?.version, '16.2');
});

test('a PostgreSQL that is too old is passed over, and people are told', async () => {
  const old = fakePostgres('old', '14.9 (Debian)');
  const usual = fakePostgres('usual2', '15.6');
  const { install, problems } = await findPostgres({ PATH: old }, [usual]);
  assert.equal(install?.binDir, usual);
  assert.match(problems.join(), /14\.9; 15 or newer is needed/);
});

test('a named PostgreSQL is the only one looked at', async () => {
  const { install, problems } = await findPostgres({
    LEASEHOLD_PG_BIN: join(folder, 'none'),
    PATH: fakePostgres('p', '15.1'),
  });
  assert.equal(install, null);
  assert.match(problems.join(), /has no postgres/);
});

test('the usual folders are tried newest first', () => {
  for (const version of ['9.6', '15', '17'])
    mkdirSync(join(folder, 'root/usr/lib/postgresql', version, 'bin'), { recursive: true });
  assert.deepEqual(
    usualFolders(join(folder, 'root')).map((path) => path.split('/').at(-2)),
    ['17', '15', '9.6'],
  );
});

test('etcd is found by its version line', async () => {
  writeFileSync(join(folder, 'etcd'), '#!/bin/sh\necho "etcd Version: 3.5.16"\n', { mode: 0o755 });
  assert.deepEqual(await findEtcd({ PATH: folder }), { program: join(folder, 'etcd'), version: '3.5.16' });
  assert.equal(await findEtcd({ PATH: '' }), null);
});

test('a folder below one that is closed to others is out of reach of another user', () => {
  const closed = join(folder, 'closed');
  mkdirSync(closed);
  chmodSync(folder, 0o755);
  chmodSync(closed, 0o700);
  const other = { name: 'other', uid: 54321, gid: 54321 };
  assert.equal(isReachable(join(closed, 'not-there-yet'), other), false);
  assert.equal(isReachable(join(folder, 'not-there-yet'), other), true);
  assert.equal(isReachable(join(closed, 'x'), { ...other, uid: process.getuid?.() ?? 0 }), true);
});

test('of the dependencies only libraries are unpacked, and none of the C library, LLVM or Perl', () => {
  for (const name of ['libicu72', 'libxml2', 'libldap-2.5-0', 'libreadline8']) assert.ok(isNeededLibrary(name), name);
  for (const name of ['libc6', 'libllvm14', 'libjson-perl', 'libperl5.36', 'perl', 'ssl-cert'])
    assert.ok(!isNeededLibrary(name), name);
});
