import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Issued {
  readonly cert: string;
  readonly key: string;
  readonly certFile: string;
  readonly keyFile: string;
}

/** Why tests with certificates are skipped; false: they are not. */
export const withoutOpenssl = spawnSync('openssl', ['version']).status === 0 ? false : 'no openssl program here';

/** A certificate authority for one test, in a folder of its own; made by the program openssl. */
export interface Authority {
  readonly folder: string;
  readonly cert: string;
  readonly certFile: string;
  /** `names` are subject alternative names, such as `IP:127.0.0.1`. */
  issue(commonName: string, names?: readonly string[]): Issued;
  remove(): void;
}

export function createAuthority(): Authority {
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-authority-'));
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, { stdio: 'ignore', cwd: folder });
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl('req', '-x509', ...curve, '-days', '2', '-subj', '/CN=test authority', '-keyout', 'ca.key', '-out', 'ca.crt');
  let count = 0;
  return {
    folder,
    cert: readFileSync(join(folder, 'ca.crt'), 'utf8'),
    certFile: join(folder, 'ca.crt'),
    issue(commonName, names = []) {
      const name = `${++count}`;
      openssl('req', ...curve, '-subj', `/O=Test/CN=${commonName}`, '-keyout', `${name}.key`, '-out', `${name}.csr`);
      writeFileSync(join(folder, 'ext'), names.length === 0 ? '' : `subjectAltName=${names.join(',')}\n`);
      const from = ['-in', `${name}.csr`, '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-extfile', 'ext'];
      openssl('x509', '-req', ...from, '-days', '2', '-out', `${name}.crt`);
      const [certFile, keyFile] = [join(folder, `${name}.crt`), join(folder, `${name}.key`)];
      return { certFile, keyFile, cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
    },
    remove: () => rmSync(folder, { recursive: true }),
  };
}
