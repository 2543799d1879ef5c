import { Logger, makeWorkerUtils, run as runWorker } from 'graphile-worker';
import pg from 'pg';
import { run, same } from './harness.mjs';
import { everyJobIsDone, nothingUnhandled } from './jobs.mjs';

const { PGUSER, PGPASSWORD, PGHOST, PGPORT, PGDATABASE } = process.env;
const pgPool = new pg.Pool({
  host: PGHOST,
  port: Number(PGPORT),
  user: PGUSER,
  password: PGPASSWORD,
  database: PGDATABASE,
  ssl: false,
  max: 6,
});
const errors = [];
pgPool.on('error', (error) => errors.push(error));
// Also while it is lent out: its listening connection ends with the leader, and the worker connects again by itself.
pgPool.on('connect', (client) => client.on('error', () => {}));
const said = [];
const logger = new Logger(() => (level, message) => {
  if (level === 'error') said.push(message);
});

await run({
  migrate: async () => {
    const utils = await makeWorkerUtils({ pgPool, logger });
    await utils.migrate();
    await utils.migrate();
    await utils.release();
  },
  'read-your-writes': async () => {
    const utils = await makeWorkerUtils({ pgPool, logger });
    for (let i = 0; i < 20; i++) {
      const job = await utils.addJob('later', { i }, { jobKey: `key ${i}`, runAt: new Date(Date.now() + 3_600_000) });
      const again = await utils.addJob(
        'later',
        { again: i },
        { jobKey: `key ${i}`, runAt: new Date(Date.now() + 3_600_000) },
      );
      same([again.id, again.payload], [job.id, { again: i }]);
      same((await utils.completeJobs([job.id])).length, 1);
    }
    await utils.release();
  },
  jobs: async () => {
    const done = new Map();
    // It listens, and polls besides.
    const runner = await runWorker({
      pgPool,
      logger,
      concurrency: 4,
      pollInterval: 500,
      noHandleSignals: true,
      taskList: { job: async ({ number }) => void done.set(number, (done.get(number) ?? 0) + 1) },
    });
    await everyJobIsDone(done, (number) => runner.addJob('job', { number }));
    await runner.stop();
    if (said.length > 0) console.error(said.join('\n'));
    nothingUnhandled([]);
  },
});
