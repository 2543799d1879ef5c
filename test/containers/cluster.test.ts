import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { buildImage, ComposeCluster, docker } from './compose.ts';
import { testedRelease } from './images.ts';

let cluster: ComposeCluster;

before(async () => {
  cluster = await ComposeCluster.start(buildImage(testedRelease(process.env)));
});
after(async () => {
  await cluster?.down();
});

test('a row written through one proxy is read through the other', async () => {
  await cluster.query('CREATE TABLE shared(id int PRIMARY KEY)');
  await cluster.query('INSERT INTO shared VALUES (1)');
  await cluster.until('the row is seen through the second proxy', async () => {
    const rows = await cluster.query('SELECT id FROM shared', cluster.ports.proxy2);
    return rows.length === 1;
  });
});

for (const [name, lose, restore] of [
  ['stopped', (node: string) => docker(['stop', cluster.container(node)]), start],
  ['killed', kill, start],
  [
    'paused',
    (node: string) => docker(['pause', cluster.container(node)]),
    (node: string) => docker(['unpause', cluster.container(node)]),
  ],
  ['cut from the network', (node: string) => cluster.cut(node), (node: string) => cluster.heal(node)],
] as const) {
  test(`the leader’s container is ${name}: writes go on, nothing acknowledged is lost, the old leader rejoins`, async () => {
    const table = `written_${name.split(' ')[0]}`;
    const writer = await cluster.startWriter(table);
    const old = await cluster.leader();
    try {
      lose(old);
      await cluster.until(
        'another node leads',
        async () => ![old, 'none'].includes(await cluster.leader(cluster.ports.http2)),
      );
      await cluster.untilMoreWritten(writer);
    } finally {
      restore(old);
      await writer.stop();
    }
    await cluster.assertAllThere(table, writer);
    await cluster.untilInStep(`${old} is a follower in step`);
    const back = (await cluster.status()).nodes.find((node) => node.node === old);
    assert.equal(back?.role, 'follower');
  });
}

for (const member of ['etcd1', 'etcd2', 'etcd3']) {
  test(`${member} is killed: nobody takes over, writes go on, and it comes back`, async () => {
    const table = `without_${member}`;
    const writer = await cluster.startWriter(table);
    const { term } = await cluster.status();
    try {
      kill(member);
      await cluster.untilMoreWritten(writer);
    } finally {
      start(member);
    }
    const health = ['exec', cluster.container(member), 'etcdctl', 'endpoint', 'health'];
    await cluster.until(`${member} answers`, async () => docker(health) !== null);
    await cluster.untilMoreWritten(writer);
    await writer.stop();
    await cluster.assertAllThere(table, writer);
    assert.equal((await cluster.status()).term, term);
  });
}

test('a proxy is killed: clients of the other one notice nothing, and it comes back', async () => {
  const writer = await cluster.startWriter('without_proxy', cluster.ports.proxy2);
  const kept = new pg.Client({ connectionString: `postgres://app:app@127.0.0.1:${cluster.ports.proxy1}/app` });
  const lost = new Promise<Error>((resolve) => kept.once('error', resolve));
  await kept.connect();
  try {
    kill('proxy1');
    assert.match((await lost).message, /terminated/);
    await cluster.untilMoreWritten(writer);
  } finally {
    start('proxy1');
    await writer.stop();
  }
  await cluster.until('the first proxy serves', async () => (await cluster.query('SELECT 1')).length === 1);
  await cluster.assertAllThere('without_proxy', writer);
});

test('a follower’s volume is deleted: the node clones the leader while writes go on', async () => {
  const writer = await cluster.startWriter('without_volume');
  const { nodes } = await cluster.status();
  const gone = nodes.find((node) => node.role === 'follower')?.node ?? '';
  try {
    cluster.replace(gone);
    await cluster.untilInStep(`${gone} is a follower in step`);
    await cluster.untilMoreWritten(writer);
  } finally {
    await writer.stop();
  }
  await cluster.assertAllThere('without_volume', writer);
  const count = `SELECT count(*)::int FROM without_volume`;
  const own = ['exec', '-e', 'PGPASSWORD=app', cluster.container(gone)];
  const there = (): string => docker([...own, 'psql', '-h', 'localhost', '-U', 'app', '-d', 'app', '-Atc', count]);
  await cluster.until('the new copy has every row', async () => Number(there()) >= writer.acknowledged.length);
});

test('the leader’s volume is deleted: a follower leads with everything, and the node clones it', async () => {
  const writer = await cluster.startWriter('without_leader');
  const old = await cluster.leader();
  try {
    cluster.replace(old);
    await cluster.until('another node leads', async () => ![old, 'none'].includes(await cluster.leader()));
    await cluster.untilMoreWritten(writer);
    await cluster.untilInStep(`${old} is a follower in step`);
  } finally {
    await writer.stop();
  }
  await cluster.assertAllThere('without_leader', writer);
});

function kill(service: string): void {
  docker(['kill', cluster.container(service)]);
}
function start(service: string): void {
  docker(['start', cluster.container(service)]);
}
