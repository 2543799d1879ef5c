import { PgBoss } from 'pg-boss';
import { run, same } from './harness.mjs';
import { everyJobIsDone, nothingUnhandled } from './jobs.mjs';

const { PGUSER, PGPASSWORD, PGHOST, PGPORT, PGDATABASE } = process.env;
const errors = [];
const boss = new PgBoss({
  host: PGHOST,
  port: Number(PGPORT),
  user: PGUSER,
  password: PGPASSWORD,
  database: PGDATABASE,
  ssl: false,
  max: 5,
});
boss.on('error', (error) => errors.push(error));

await run({
  migrate: async () => {
    await boss.start();
    same(await boss.isInstalled(), true);
  },
  'read-your-writes': async () => {
    await boss.createQueue('read');
    for (let i = 0; i < 20; i++) {
      const id = await boss.send('read', { i }, { retryLimit: 2 });
      const [job] = await boss.fetch('read');
      same([job?.id, job?.data], [id, { i }]);
      await boss.complete('read', id);
      same((await boss.findJobs('read', { id }))[0]?.state, 'completed');
    }
  },
  jobs: async () => {
    await boss.start();
    await boss.createQueue('jobs');
    const done = new Map();
    await boss.work('jobs', { batchSize: 20, pollingIntervalSeconds: 0.5 }, async (jobs) => {
      for (const job of jobs) done.set(job.data.number, (done.get(job.data.number) ?? 0) + 1);
    });
    await everyJobIsDone(done, (number) => boss.send('jobs', { number }, { retryLimit: 3 }));
    await boss.stop({ graceful: true, timeout: 10_000 });
    nothingUnhandled(errors);
  },
});
