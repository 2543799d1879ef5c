import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ConfigError } from '../errors.ts';
import { type ConfigInputs, loadConfig, redactConfig } from './load.ts';

const folder = mkdtempSync(join(tmpdir(), 'leasehold-config-'));
after(() => rmSync(folder, { recursive: true }));

function write(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

function faultsOf(inputs: ConfigInputs): string[] {
  try {
    loadConfig({ env: {}, ...inputs });
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.faults.map((fault) => `${fault.path} | ${fault.source} | ${fault.message}`);
  }
  return [];
}

test('flags win over environment, environment over file, file over defaults', () => {
  const file = write('a.yaml', 'proxy:\n  listen: { port: 1001 }\n  http: { port: 1002 }\n  maxClients: 7\n');
  const env = { LEASEHOLD_PROXY_LISTEN_PORT: '2001', LEASEHOLD_PROXY_HTTP_PORT: '2002' };
  const { config, sources } = loadConfig({ file, env, sets: ['proxy.listen.port=3001'] });
  assert.equal(config.proxy.listen.port, 3001);
  assert.equal(config.proxy.http.port, 2002);
  assert.equal(config.proxy.maxClients, 7);
  assert.equal(config.proxy.pool.size, 20);
  assert.equal(sources.get('proxy.listen.port'), '--set proxy.listen.port');
  assert.equal(sources.get('proxy.http.port'), 'LEASEHOLD_PROXY_HTTP_PORT');
  assert.equal(sources.get('proxy.maxClients'), file);
});

test('all faults are reported together, each with its source', () => {
  const file = write('b.yaml', 'cluster:\n  ttlMs: soon\n  nmae: x\nproxy:\n  maxClients: 0\n');
  const faults = faultsOf({ file, env: { LEASEHOLD_PROXY_LISTEN_PORT: 'http' }, sets: ['proxy.pool.size=-1'] });
  assert.equal(faults.length, 5, faults.join('\n'));
  const has = (start: string) =>
    assert.ok(
      faults.some((fault) => fault.startsWith(start)),
      `${start}\n${faults.join('\n')}`,
    );
  has(`cluster.ttlMs | ${file}`);
  has(`cluster.nmae | ${file} | unknown setting`);
  has(`proxy.maxClients | ${file}`);
  has('proxy.listen.port | LEASEHOLD_PROXY_LISTEN_PORT');
  has('proxy.pool.size | --set proxy.pool.size');
});

test('a misspelt field names the one that was probably meant', () => {
  assert.match(faultsOf({ sets: ['proxy.maxclients=3'] }).join(), /did you mean proxy\.maxClients\?/);
});

test('relations between fields are checked', () => {
  assert.match(faultsOf({ sets: ['cluster.ttlMs=3000', 'cluster.marginMs=1500'] }).join(), /half of cluster\.ttlMs/);
  const faults = faultsOf({ needs: ['agent', 'proxy'] }).join('\n');
  assert.match(faults, /^agent \| not given/m);
  assert.match(faults, /^service\.password \| not given/m);
});

test('a missing required field says so', () => {
  assert.match(faultsOf({ sets: ['service.user=x'] }).join(), /service\.password \| not given \| is required/);
});

test('a secret may come from a file, and its value is in no message', () => {
  const secretFile = write('secret', 'hunter2\n');
  const { config } = loadConfig({ env: { LEASEHOLD_SERVICE_PASSWORD_FILE: secretFile } });
  assert.equal(config.service?.password, 'hunter2');
  const file = write('c.yaml', 'service: { passwordFile: secret }\n');
  assert.equal(loadConfig({ env: {}, file }).config.service?.password, 'hunter2');
  assert.ok(!JSON.stringify(redactConfig(config)).includes('hunter2'));
  const faults = faultsOf({
    file: write('d.yaml', 'service: { password: [hunter2] }\ncluster: { apiToken: 12345678 }'),
  });
  assert.equal(faults.length, 2);
  assert.ok(!faults.join().includes('hunter2') && !faults.join().includes('12345678'));
});

test('a secret file that is missing is a fault, not a crash', () => {
  const faults = faultsOf({ env: { LEASEHOLD_SERVICE_PASSWORD_FILE: '/nonexistent/x' } });
  assert.match(faults.join(), /there is no such file/);
});

test('a file that is absent, or no YAML, or no mapping is a fault', () => {
  assert.match(faultsOf({ file: join(folder, 'none.yaml') }).join(), /there is no such file/);
  assert.match(faultsOf({ file: write('e.yaml', 'a: [1\nb: 2') }).join(), /is not YAML/);
  assert.match(faultsOf({ file: write('f.yaml', '- 1') }).join(), /must be a mapping/);
});

test('lists, records and booleans can be given as text', () => {
  const { config } = loadConfig({
    env: {
      LEASEHOLD_CLUSTER_ETCD: 'http://a:2379, http://b:2379',
      LEASEHOLD_AGENT_NODE: 'n1',
      LEASEHOLD_AGENT_DATA_DIR: '/d',
      LEASEHOLD_AGENT_LISTEN_PORT: '5432',
      LEASEHOLD_AGENT_REPLICATION_PASSWORD: 'p',
      LEASEHOLD_AGENT_NO_FAILOVER: 'yes',
      LEASEHOLD_AGENT_BOOTSTRAP_ROLES: '[{"name":"app","password":"app"}]',
    },
    sets: ['agent.postgres.parameters.shared_buffers=1GB'],
  });
  assert.deepEqual(config.cluster.etcd, ['http://a:2379', 'http://b:2379']);
  assert.equal(config.agent?.noFailover, true);
  assert.deepEqual(config.agent?.bootstrap.roles, [{ name: 'app', password: 'app' }]);
  assert.deepEqual(config.agent?.postgres.parameters, { shared_buffers: '1GB' });
});

test('an unknown variable is a warning: other software may set such names', () => {
  const { warnings } = loadConfig({ env: { LEASEHOLD_PROXY_PORT: 'tcp://10.0.0.1:6432' } });
  assert.equal(warnings.length, 1);
});

test('the result is frozen', () => {
  const { config } = loadConfig({ env: {} });
  assert.throws(() => Object.assign(config.proxy.listen, { port: 1 }));
});

test('TLS to etcd is for https endpoints, and a certificate needs its key', () => {
  const secure = 'cluster.etcd=https://a:2379,https://b:2379';
  const given = 'cluster.etcdTls.caFile=/ca.crt';
  assert.deepEqual(loadConfig({ env: {}, sets: [secure, given] }).config.cluster.etcdTls, { caFile: '/ca.crt' });
  assert.match(
    faultsOf({ sets: ['cluster.etcd=https://a:1,http://b:2', given] }).join(),
    /must be https.*http:\/\/b:2/,
  );
  assert.match(
    faultsOf({ sets: [secure, 'cluster.etcdTls.certFile=/a'] }).join(),
    /keyFile .*is required with certFile/,
  );
  assert.match(
    faultsOf({ sets: [secure, 'cluster.etcdTls.keyFile=/a'] }).join(),
    /certFile .*is required with keyFile/,
  );
});

test('TLS between nodes is asked of all of them: each must offer it, and know whom to believe', () => {
  const agent = {
    LEASEHOLD_AGENT_NODE: 'n1',
    LEASEHOLD_AGENT_DATA_DIR: '/d',
    LEASEHOLD_AGENT_LISTEN_PORT: '5432',
    LEASEHOLD_AGENT_REPLICATION_PASSWORD: 'p',
    LEASEHOLD_SERVICE_PASSWORD: 's',
  };
  const faults = (...sets: string[]) => {
    try {
      loadConfig({ env: agent, sets, needs: ['agent'] });
      return '';
    } catch (error) {
      return String(error);
    }
  };
  const mode = 'agent.replication.tls.mode=verify-full';
  const ssl = 'agent.postgres.parameters.ssl=on';
  assert.equal(faults(mode, ssl, 'agent.replication.tls.caFile=/ca'), '');
  assert.match(faults(mode, ssl), /replication\.tls\.caFile.* is required by mode verify-full/);
  assert.match(faults('agent.replication.tls.mode=require'), /parameters\.ssl.* must be on, with ssl_cert_file/);
});

test('a pool that may never be as large as it is said to be is a fault', () => {
  const needs: ConfigInputs['needs'] = ['proxy'];
  const faults = faultsOf({ needs, sets: ['proxy.pool.size=100'] }).join();
  assert.match(faults, /proxy\.pool\.size .*maxConnectionsPerNode \(90\)/);
  const file = write('p.yaml', 'proxy: { users: { ann: { poolSize: 95 } } }');
  assert.match(faultsOf({ needs, file }).join(), /proxy\.users\.ann\.poolSize/);
});

test('passwords of roles come from a file of JSON, and are never shown', () => {
  const secrets = write('passwords.json', '{"app": "hush", "other": "hush"}\n');
  const file = write('auth.yaml', `proxy:\n  auth: { passwordsFile: ${secrets} }\n`);
  const { config } = loadConfig({ file, env: {} });
  assert.deepEqual(config.proxy.auth.passwords, { app: 'hush', other: 'hush' });
  const shown = JSON.stringify(redactConfig(config));
  assert.match(shown, /"passwords":\{"app":"\(secret\)","other":"\(secret\)"\}/);
  assert.doesNotMatch(shown, /hush/);
  const wrong = write('wrong.json', 'app hush\n');
  const faults = faultsOf({ sets: [`proxy.auth.passwordsFile=${wrong}`] });
  assert.match(faults.join(), /^proxy\.auth\.passwords \|/);
  assert.doesNotMatch(faults.join(), /hush/);
});

test('rules are given once, and TLS to servers with all that it needs', () => {
  const sets = ['proxy.auth.hbaFile=x', 'proxy.auth.hba=local all all trust', 'proxy.serverTls.certFile=x'];
  const faults = faultsOf({ sets: [...sets, 'proxy.serverTls.mode=verify-ca'], needs: ['proxy'] }).join('\n');
  assert.match(faults, /proxy\.auth\.hba \|.*is given by proxy\.auth\.hbaFile too/);
  assert.match(faults, /proxy\.serverTls\.caFile \|.*verify-ca/);
  assert.match(faults, /proxy\.serverTls\.keyFile \|/);
});

test('an address of every kind is one that others cannot use', () => {
  for (const host of ['*', '127.0.0.1, 0.0.0.0', '::']) {
    assert.match(faultsOf({ sets: [`proxy.listen.host=${host}`], needs: ['proxy'] }).join(), /proxy\.advertise/);
  }
});
