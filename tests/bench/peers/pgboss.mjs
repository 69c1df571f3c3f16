// pg-boss under the same load.  node pgboss.mjs --case=drain|latency [--jobs=N] [--batch=1000]
import { PgBoss } from 'pg-boss';
import { args, connect, database, host, latency, now, number, report, sleep, user } from './common.mjs';

const queue = 'noop', notify = args.case === 'latency';
const boss = new PgBoss({ host, user, database, max: 10, useListenNotify: notify });
boss.on('error', (error) => console.error(String(error)));
await boss.start();
await boss.createQueue(queue, { notify });

if (notify) {
  let start = () => {};
  await boss.work(queue, { batchSize: 1 }, async () => { start(now()); });
  await sleep(1000);
  const samples = number('samples', 500);
  const enqueue_to_start_ms = await latency(samples, (id) => boss.send(queue, { id }), (f) => { start = f; });
  report({ bench: 'pg-boss', case: 'latency', samples, enqueue_to_start_ms });
} else {
  const jobs = number('jobs', 50000), batchSize = number('batch', 1000), db = await connect();
  for (let i = 0; i < jobs; i += 10000) {
    await boss.insert(queue, Array.from({ length: Math.min(10000, jobs - i) }, (_, k) => ({ data: { id: i + k } })));
  }
  await db.query('vacuum analyze pgboss.job');
  await db.query('checkpoint');
  let done = 0;
  const t0 = now();
  await boss.work(queue, { batchSize, localConcurrency: 2, pollingIntervalSeconds: 0.5, burstWhenBatchFull: true },
    async (batch) => { done += batch.length; });
  for (;;) { // until every completion is written
    const { rowCount } = await db.query("select 1 from pgboss.job where name = $1 and state in ('created', 'retry', 'active') limit 1", [queue]);
    if (rowCount === 0) break;
    await sleep(2);
  }
  report({ bench: 'pg-boss', case: 'drain', batch: batchSize, procs: 1, jobs: done, jobs_s: Math.round(done / (now() - t0) * 1000) });
  await db.end();
}
await boss.stop({ graceful: true, timeout: 5000 });
process.exit(0);
