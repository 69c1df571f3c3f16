// graphile-worker under the same load.  node graphile.mjs --case=drain|latency [--jobs=N] [--batch=500] [--procs=N]
// batch=1: one job at a time, 24 at once; else a local queue of that size with batched completion.
import { fork } from 'node:child_process';
import { Logger, run, runMigrations, runOnce } from 'graphile-worker';
import { args, connect, latency, now, number, report, sleep, url } from './common.mjs';

const logger = new Logger(() => () => {});
const batch = number('batch', 1);
const worker = { connectionString: url, concurrentJobs: 24, maxPoolSize: 25, logger };
if (batch > 1) {
  Object.assign(worker, { localQueue: { size: batch, refetchDelay: { durationMs: 10 } }, completeJobBatchDelay: 0, failJobBatchDelay: 0 });
}
const preset = { worker };

async function drain() {
  let done = 0;
  await runOnce({ preset, logger, taskList: { noop: () => { done++; } } });
  return done;
}

async function measureDrain() {
  const jobs = number('jobs', 20000), procs = number('procs', 1), db = await connect();
  await runMigrations({ preset, logger });
  const specs = JSON.stringify(Array.from({ length: jobs }, (_, id) => ({ identifier: 'noop', payload: { id } })));
  await db.query('select 1 from graphile_worker.add_jobs(array(select json_populate_recordset(null::graphile_worker.job_spec, $1::json)))', [specs]);
  await db.query('vacuum analyze graphile_worker._private_jobs');
  await db.query('checkpoint');
  const children = await Promise.all(Array.from({ length: procs }, () => new Promise((ready) => {
    const child = fork(process.argv[1], [...process.argv.slice(2), '--child=1']);
    child.once('message', () => ready(child));
  })));
  const t0 = now();
  const counts = await Promise.all(children.map((child) => new Promise((done) => { child.once('message', done); child.send('go'); })));
  const ms = now() - t0;
  const done = counts.reduce((a, b) => a + b, 0);
  if (done !== jobs) throw new Error(`${done} of ${jobs} jobs ran`);
  report({ bench: 'graphile-worker', case: 'drain', batch, procs, jobs: done, jobs_s: Math.round(done / ms * 1000) });
  await db.end();
}

async function measureLatency() {
  await runMigrations({ preset, logger });
  const db = await connect();
  let start = () => {};
  const runner = await run({ preset, logger, noHandleSignals: true, taskList: { noop: () => start(now()) } });
  await sleep(1000);
  const samples = number('samples', 500);
  const enqueue_to_start_ms = await latency(samples, () => db.query(`select graphile_worker.add_job('noop', '{"id": 1}'::json)`), (f) => { start = f; });
  report({ bench: 'graphile-worker', case: 'latency', samples, enqueue_to_start_ms });
  await runner.stop();
  await db.end();
}

if (args.child) {
  process.once('message', async () => { process.send(await drain(), () => process.exit(0)); });
  process.send('ready');
} else if (args.case === 'latency') await measureLatency();
else await measureDrain();
