// What the drivers of the peers share: arguments, a connection, a stopwatch, percentiles, one JSON line per run.
import pg from 'pg';

export const database = process.env.PGDATABASE;
export const host = process.env.PGHOST;
export const user = process.env.PGUSER ?? 'postgres';
export const url = `postgresql://${user}@localhost/${database}?host=${encodeURIComponent(host)}`;
export const args = Object.fromEntries(process.argv.slice(2).map((a) => a.replace(/^--/, '').split('=')));
export const number = (name, otherwise) => Number(args[name] ?? otherwise);
export const now = () => Number(process.hrtime.bigint()) / 1e6;
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
export const report = (line) => console.log(JSON.stringify(line));

export async function connect() {
  const client = new pg.Client({ host, user, database });
  await client.connect();
  return client;
}

// From the call that enqueues to the task's first line, one job at a time, some ms apart.
export async function latency(samples, enqueue, arm) {
  const took = [];
  for (let i = -50; i < samples; i++) {
    const started = new Promise((resolve) => arm(resolve));
    const t0 = now();
    await enqueue(i);
    const t1 = await started;
    if (i >= 0) took.push(t1 - t0);
    await sleep(5);
  }
  took.sort((a, b) => a - b);
  const at = (q) => Number(took[Math.floor(took.length * q)].toFixed(3));
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}
