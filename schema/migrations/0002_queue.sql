-- The queue: jobs that may run, jobs that wait for their time, jobs that ended, and the workers that run them.
--
-- One row of a job lives in exactly one of three tables, so that the work of a claim never grows with anything else:
--   job          queued (due now) and running: the only table that claims and finishes touch; small and hot
--   job_later    scheduled and retrying: in no index that a claim reads, whatever its priority
--   job_history  ended: append-only
-- There are no foreign keys on these tables. A foreign key is a row trigger and a lookup for every insert and a share
-- lock on the referenced row: claims and finishes would pay it for each job, and the lock would tie the queue to the
-- long transactions of governance. Ids come from functions that hold the referenced row already.

CREATE SEQUENCE orch.job_id;
-- Every lease ever given, in order. Read only while the rows it is for are locked; never cached: a cached sequence
-- hands a later claim a smaller number.
CREATE SEQUENCE orch.job_lease;
-- The queue's virtual clock (see lane). A sequence, because it is outside transactions: claims move it without a row
-- lock and without a dead row. It may lag; it is a hint.
CREATE SEQUENCE orch.queue_clock MINVALUE 0 START 0;
-- When workers were last woken, in ms since 1970; outside transactions for the same reason.
CREATE SEQUENCE orch.queue_woken MINVALUE 0 START 0;

-- What a job needs of a worker. A few rows; a claim looks only into the classes its worker fits.
CREATE TABLE orch.job_class (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  labels text[] NOT NULL DEFAULT '{}',
  cpu numeric NOT NULL DEFAULT 1 CHECK (cpu >= 0),
  memory_bytes bigint NOT NULL DEFAULT 0 CHECK (memory_bytes >= 0),
  gpu int NOT NULL DEFAULT 0 CHECK (gpu >= 0),
  UNIQUE (labels, cpu, memory_bytes, gpu)
);

-- Start-time fair queueing. A job's tag is where its pipeline's lane ends, but not before the clock; the lane then
-- grows by what a job of this pipeline usually costs in ms of slot time. A thousand jobs of one pipeline take a
-- thousand costs; the single job of another starts at the clock, so next.
CREATE TABLE orch.lane (
  pipeline_id bigint PRIMARY KEY,
  end_tag bigint NOT NULL DEFAULT 0,
  cost_ms int NOT NULL DEFAULT 1000   -- 1 to 86400000
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

CREATE TABLE orch.worker (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL,
  host text NOT NULL,
  pid int NOT NULL,
  labels text[] NOT NULL,
  cpu numeric NOT NULL,
  memory_bytes bigint NOT NULL,
  gpu int NOT NULL,
  slots int NOT NULL CHECK (slots BETWEEN 1 AND 10000),
  lease_ms bigint NOT NULL CHECK (lease_ms BETWEEN 1000 AND 3600000),
  classes int[] NOT NULL,             -- the job_class ids this worker can run
  state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'silent', 'stopped')),
  registered_at timestamptz NOT NULL DEFAULT now(),
  heartbeat_at timestamptz NOT NULL DEFAULT now(),  -- in no index: every heartbeat is a HOT update
  free jsonb
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
CREATE INDEX worker_present ON orch.worker (id) WHERE state <> 'stopped';

-- Enums, not text with a CHECK: PostgreSQL parses a table's CHECKs and its triggers' WHEN anew for every statement, and
-- here statements are small.
CREATE TYPE orch.job_state AS ENUM ('queued', 'running');
CREATE TYPE orch.job_end AS ENUM ('succeeded', 'failed', 'cancelled', 'timed_out');
CREATE TYPE orch.job_recovery AS ENUM ('silent worker', 'hung step');

CREATE TABLE orch.job (
  id bigint NOT NULL DEFAULT nextval('orch.job_id'),
  pipeline_id bigint NOT NULL,
  proposal_id bigint,
  lease bigint NOT NULL DEFAULT 0,    -- the last one given; grows with every claim, is kept when the job goes back
  worker_id bigint,
  tag bigint NOT NULL,
  timeout_ms bigint NOT NULL,
  enqueued_at timestamptz NOT NULL DEFAULT now(),
  claimed_at timestamptz,
  deadline_at timestamptz,            -- hard: past it the step counts as hung, whatever its worker says
  class_id int NOT NULL,
  cost_ms int NOT NULL,               -- what its lane was charged
  backoff_ms int NOT NULL,
  max_ms int NOT NULL,
  progress real,
  rank smallint NOT NULL,             -- minus the priority: the index then ascends in every column
  attempt smallint NOT NULL DEFAULT 0,
  retry_limit smallint NOT NULL,
  state orch.job_state NOT NULL DEFAULT 'queued',
  step text NOT NULL,
  role text NOT NULL,
  subject text,
  progress_text text
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_vacuum_insert_threshold = -1);
COMMENT ON TABLE orch.job IS 'queued and running jobs only';
-- The claim's index: only what is due, by what it needs, then by urgency and fairness.
CREATE UNIQUE INDEX job_queued ON orch.job (class_id, rank, tag, id) WHERE state = 'queued';
-- The finish's index, and the list of what is running. A claim writes one entry, here.
CREATE UNIQUE INDEX job_running ON orch.job (id) WHERE state = 'running';
CREATE INDEX job_proposal ON orch.job (proposal_id) WHERE proposal_id IS NOT NULL;

CREATE TABLE orch.job_later (
  id bigint PRIMARY KEY DEFAULT nextval('orch.job_id'),
  due_at timestamptz NOT NULL,
  pipeline_id bigint NOT NULL,
  proposal_id bigint,
  lease bigint NOT NULL DEFAULT 0,
  timeout_ms bigint NOT NULL,
  enqueued_at timestamptz NOT NULL DEFAULT now(),
  class_id int NOT NULL,
  backoff_ms int NOT NULL,
  max_ms int NOT NULL,
  rank smallint NOT NULL,
  attempt smallint NOT NULL DEFAULT 0,
  retry_limit smallint NOT NULL,
  step text NOT NULL,
  role text NOT NULL,
  subject text
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX job_later_due ON orch.job_later (due_at);
CREATE INDEX job_later_proposal ON orch.job_later (proposal_id) WHERE proposal_id IS NOT NULL;

-- One row a job, written once. The primary key is what makes a second finish impossible, even by hand.
CREATE TABLE orch.job_history (
  id bigint PRIMARY KEY,
  pipeline_id bigint NOT NULL,
  proposal_id bigint,
  lease bigint NOT NULL,
  worker_id bigint,
  enqueued_at timestamptz NOT NULL,
  claimed_at timestamptz,
  finished_at timestamptz NOT NULL DEFAULT now(),
  class_id int NOT NULL,
  rank smallint NOT NULL,
  attempt smallint NOT NULL,
  state orch.job_end NOT NULL,
  step text NOT NULL,
  role text NOT NULL,
  subject text,
  recovery orch.job_recovery,
  result jsonb
) WITH (autovacuum_analyze_scale_factor = 0.05);
CREATE INDEX job_history_proposal ON orch.job_history (proposal_id) WHERE proposal_id IS NOT NULL;

-- Attempts that did not end their job, each with the reason by name.
CREATE TABLE orch.job_attempt (
  job_id bigint NOT NULL,
  lease bigint NOT NULL,
  attempt smallint NOT NULL,
  worker_id bigint,
  outcome text NOT NULL CHECK (outcome IN ('retry', 'silent worker', 'handed back')),
  claimed_at timestamptz,
  ended_at timestamptz NOT NULL DEFAULT now(),
  due_at timestamptz,                 -- when the next attempt may start
  result jsonb,
  PRIMARY KEY (job_id, lease)
);

-- A wish to stop, durable and apart from the job's row: whoever wishes never waits for the transaction that holds
-- the row, and cannot deadlock with one that finishes it.
CREATE TABLE orch.job_cancel (
  job_id bigint PRIMARY KEY,
  requested_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);

-- What holds even for the owner. The conditions stand in WHEN, so a lawful change never calls the function.
CREATE FUNCTION orch.queue_refuse() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '%', tg_argv[0] USING errcode = 'OR002';
END $$;

CREATE TRIGGER job_lease_grows AFTER UPDATE OF id, lease, worker_id ON orch.job FOR EACH ROW
  WHEN (new.lease < old.lease OR new.id <> old.id
        OR new.lease = old.lease AND coalesce(new.worker_id <> coalesce(old.worker_id, -1), false))
  EXECUTE FUNCTION orch.queue_refuse('a job keeps its id; whoever takes it gets a greater lease');
CREATE TRIGGER job_history_fixed BEFORE UPDATE OR DELETE ON orch.job_history FOR EACH ROW
  EXECUTE FUNCTION orch.queue_refuse('an ended job never changes');
CREATE TRIGGER job_history_kept BEFORE TRUNCATE ON orch.job_history FOR EACH STATEMENT
  EXECUTE FUNCTION orch.queue_refuse('ended jobs are kept');
CREATE TRIGGER job_attempt_fixed BEFORE UPDATE OR DELETE ON orch.job_attempt FOR EACH ROW
  EXECUTE FUNCTION orch.queue_refuse('a recorded attempt never changes');
CREATE TRIGGER job_attempt_kept BEFORE TRUNCATE ON orch.job_attempt FOR EACH STATEMENT
  EXECUTE FUNCTION orch.queue_refuse('recorded attempts are kept');

-- A place in a class's order, for the merge of classes in a claim.
CREATE TYPE orch.queue_place AS (rank smallint, tag bigint, id bigint);

-- What a worker gets from an exchange: one row per finished item ('ok' | 'lease_lost' | 'retry') and one per job it
-- now holds ('claimed').
CREATE TYPE orch.job_grant AS (
  outcome text, job bigint, lease bigint, attempt smallint, timeout_ms bigint, pipeline_id bigint, proposal_id bigint,
  step text, role text, subject text, brief jsonb
);
