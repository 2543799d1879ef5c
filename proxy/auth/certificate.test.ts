import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { withoutOpenssl } from '../../test/support/certificates.ts';
import { endPointBinding, subjectOf } from './certificate.ts';

const folder = mkdtempSync(join(tmpdir(), 'leasehold-certificates-'));
after(() => rmSync(folder, { recursive: true }));
function certificate(subject: string, ...args: string[]): Buffer {
  const [key, file] = [join(folder, 'key'), join(folder, 'crt')];
  const request = ['req', '-x509', '-nodes', '-utf8', '-days', '2', '-subj', subject, '-keyout', key, '-out', file];
  execFileSync('openssl', [...request, ...args], { stdio: 'ignore' });
  return new X509Certificate(readFileSync(file)).raw;
}

const RSA = ['-newkey', 'rsa:2048'];
const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
const PSS = ['-sigopt', 'rsa_padding_mode:pss'];
const signatures: readonly (readonly [name: string, args: string[], hash: string | null])[] = [
  ['RSA with SHA-1 (replaced)', [...RSA, '-sha1'], 'sha256'],
  ['RSA with SHA-256', [...RSA, '-sha256'], 'sha256'],
  ['RSA with SHA-384', [...RSA, '-sha384'], 'sha384'],
  ['RSA with SHA-512', [...RSA, '-sha512'], 'sha512'],
  ['RSASSA-PSS with SHA-256', [...RSA, '-sha256', ...PSS], 'sha256'],
  ['RSASSA-PSS with SHA-384', [...RSA, '-sha384', ...PSS], 'sha384'],
  ['ECDSA with SHA-256', [...EC, '-sha256'], 'sha256'],
  ['ECDSA with SHA-512', [...EC, '-sha512'], 'sha512'],
  ['Ed25519, which has no hash', ['-newkey', 'ed25519'], null],
];
for (const [name, args, hash] of signatures) {
  test(`the channel binding of a certificate signed by ${name}`, { skip: withoutOpenssl }, () => {
    const der = certificate('/CN=x', ...args);
    assert.deepEqual(endPointBinding(der), hash === null ? null : createHash(hash).update(der).digest());
  });
}

const subjects: readonly (readonly [name: string, subject: string, commonName: string | null, dn: string])[] = [
  ['several parts', '/C=DE/O=Ends, Inc./OU=a\\+b/CN=app', 'app', 'CN=app,OU=a\\+b,O=Ends\\, Inc.,C=DE'],
  ['a name outside of ASCII', '/O=Bär/CN=Zoë', 'Zoë', 'CN=Zo\\C3\\AB,O=B\\C3\\A4r'],
  ['an address and an id', '/DC=org/UID=7/emailAddress=a@b.c', null, 'emailAddress=a@b.c,UID=7,DC=org'],
  ['two values in one part', '/O=x/CN=app+UID=7', 'app', 'UID=7+CN=app,O=x'],
];
for (const [name, subject, commonName, distinguishedName] of subjects) {
  test(`a subject with ${name} is written as PostgreSQL writes it`, { skip: withoutOpenssl }, () => {
    const multi = subject.includes('+UID') ? ['-multivalue-rdn'] : [];
    const der = certificate(subject, ...EC, ...multi);
    assert.deepEqual(subjectOf(der), { commonName, distinguishedName });
    const told = execFileSync('openssl', [
      'x509',
      '-in',
      join(folder, 'crt'),
      '-noout',
      '-subject',
      '-nameopt',
      'RFC2253',
    ]);
    assert.equal(told.toString(), `subject=${distinguishedName}\n`);
  });
}

test('what is not a certificate is an error, not a guess', () => {
  assert.throws(() => endPointBinding(Buffer.from([0x30, 0x82, 0x10])), RangeError);
  assert.throws(() => subjectOf(Buffer.from('hello')), RangeError);
});
