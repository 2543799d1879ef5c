import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { copyFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { createAuthority, withoutOpenssl } from '../../test/support/certificates.ts';
import { LiveConfig } from '../../common/config/live.ts';
import { proxyConfig } from '../../common/config/schema.ts';
import { ConfigError } from '../../common/errors.ts';
import { endPointBinding } from '../auth/certificate.ts';
import type { ClientFacts } from '../auth/policy.ts';
import { LiveAuth } from './live-auth.ts';

const folder = mkdtempSync(join(tmpdir(), 'leasehold-live-auth-'));
after(() => rmSync(folder, { recursive: true }));
const path = (name: string): string => join(folder, name);

const FACTS: ClientFacts = {
  local: false,
  address: '10.0.0.1',
  encrypted: false,
  user: 'app',
  database: 'app',
  replication: 'off',
};
const questions = { memberOf: async () => new Set<string>(), hasHostName: async () => false };

function watch(settings: object) {
  const events: Record<string, unknown>[] = [];
  const logger = pino({}, { write: (line: string) => void events.push(JSON.parse(line)) });
  const live = new LiveConfig(proxyConfig.parse(settings));
  const auth = new LiveAuth(live, logger, 10);
  const method = async () => (await auth.current.policy.ruleFor(FACTS, questions))?.method ?? null;
  return { auth, live, method, said: (event: string) => events.filter((each) => each['event'] === event) };
}

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  for (let i = 0; !(await condition()); i++) {
    assert.ok(i < 500, 'it does not come true');
    await sleep(10);
  }
}

test('without rules everybody logs in by SCRAM', async () => {
  const { auth, method } = watch({});
  assert.equal(await method(), 'scram-sha-256');
  auth.close();
});

test('rules that change on disk are in force soon, in included files too, and a bad file changes nothing', async () => {
  writeFileSync(path('hba'), 'include more\n');
  writeFileSync(path('more'), 'host all all all md5\n');
  const { auth, method, said } = watch({ auth: { hbaFile: path('hba') } });
  assert.equal(await method(), 'md5');
  writeFileSync(path('more'), 'host all all all reject\n');
  await until(async () => (await method()) === 'reject');
  writeFileSync(path('more'), 'host all all all truts\n');
  await until(() => said('auth.reload-refused').length > 0);
  assert.equal(await method(), 'reject');
  assert.match(JSON.stringify(said('auth.reload-refused')[0]?.['faults']), /more line 1.*truts/);
  await sleep(50);
  assert.equal(said('auth.reload-refused').length, 1, 'told once');
  writeFileSync(path('more'), 'host all all all trust\n');
  await until(async () => (await method()) === 'trust');
  // A file that is new and wrong is watched as well.
  writeFileSync(path('newer'), 'host all all all rejct\n');
  writeFileSync(path('hba'), 'include newer\n');
  await until(() => said('auth.reload-refused').length === 2);
  writeFileSync(path('newer'), 'host all all all reject\n');
  await until(async () => (await method()) === 'reject');
  auth.close();
});

test('a configuration that is replaced brings its own rules', async () => {
  const { auth, live, method } = watch({ auth: { hba: ['host all all all trust'] } });
  assert.equal(await method(), 'trust');
  live.replace(proxyConfig.parse({ auth: { hba: ['host all app all md5'] } }));
  assert.equal(await method(), 'md5');
  live.replace(proxyConfig.parse({ auth: { hbaFile: path('absent') } }));
  assert.equal(await method(), 'md5');
  auth.close();
});

test('a certificate that is replaced is shown to the next client; one without its key is not', {
  skip: withoutOpenssl,
}, async () => {
  const ca = createAuthority();
  const [first, second] = [ca.issue('first'), ca.issue('second')];
  const put = (from: string, to: string): void => {
    copyFileSync(from, path('next'));
    renameSync(path('next'), path(to));
  };
  put(first.certFile, 'tls.crt');
  put(first.keyFile, 'tls.key');
  const { auth, said } = watch({ tls: { certFile: path('tls.crt'), keyFile: path('tls.key') } });
  const shown = () => auth.current.tls?.binding?.toString('hex');
  const bindingOf = (cert: string) => endPointBinding(new X509Certificate(cert).raw)?.toString('hex');
  assert.equal(shown(), bindingOf(first.cert));
  put(second.certFile, 'tls.crt');
  await until(() => said('auth.reload-refused').length === 1);
  assert.equal(shown(), bindingOf(first.cert));
  put(second.keyFile, 'tls.key');
  await until(() => shown() === bindingOf(second.cert));
  auth.close();
  ca.remove();
});

test('what is wrong at the start is told with file and line, all together', () => {
  writeFileSync(path('bad'), 'host all all all ldap\n\nlocal\n');
  const config = { auth: { hbaFile: path('bad'), ident: ['a b'] } };
  assert.throws(
    () => watch(config),
    (error: unknown) => {
      assert.ok(error instanceof ConfigError);
      const told = error.faults.map(({ source, message }) => `${source.replace(folder, '')}: ${message}`);
      assert.deepEqual(told, [
        '/bad line 1: authentication method "ldap" is not supported by the proxy; it has trust, reject, scram-sha-256, md5, password, cert',
        '/bad line 3: end-of-line before database specification',
        'proxy.auth.ident line 1: end-of-line before database user name',
      ]);
      return true;
    },
  );
  assert.throws(() => watch({ auth: { hba: [] } }), /contains no entries/);
  assert.throws(() => watch({ auth: { hba: ['hostssl all all all cert'] } }), /proxy\.tls\.clientCaFile/);
});
