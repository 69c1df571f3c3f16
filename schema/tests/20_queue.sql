-- The queue: every arrow of a job, the two recoveries by name, fairness, capacity, and I5 against the owner.
BEGIN;
SELECT plan(95);

-- Proposals are told of ends; here it is only written down.
CREATE TABLE told (proposal bigint, job bigint, state text);
CREATE OR REPLACE FUNCTION orch.proposal_on_job(p_proposal_id bigint, p_job_id bigint, p_step text, p_role text,
  p_subject text, p_state text, p_result jsonb) RETURNS void LANGUAGE sql AS
  'INSERT INTO public.told VALUES (p_proposal_id, p_job_id, p_state)';
CREATE OR REPLACE FUNCTION orch.job_brief(j orch.job) RETURNS jsonb LANGUAGE sql STABLE AS
  'SELECT jsonb_build_object(''job'', j.id, ''lease'', j.lease)';
CREATE FUNCTION worker(p_name text DEFAULT 'w', p_labels text[] DEFAULT '{}', p_cpu numeric DEFAULT 4) RETURNS bigint
  LANGUAGE sql AS
  'SELECT (orch.worker_register(p_name, ''h'', 1, p_labels, p_cpu, 8000000000, 1, 8, 10000) ->> ''worker'')::bigint';
CREATE FUNCTION place(p_job bigint) RETURNS text LANGUAGE sql AS $$
  SELECT coalesce((SELECT state::text FROM orch.job WHERE id = p_job),
    (SELECT 'later' FROM orch.job_later WHERE id = p_job), (SELECT state::text FROM orch.job_history WHERE id = p_job)) $$;

SELECT worker() AS w1 \gset
SELECT worker('w2') AS w2 \gset
SELECT worker('gpu', '{gpu}', 4) AS w3 \gset

-- queued -> running -> succeeded
SELECT orch.job_enqueue(1, NULL, 'a', 'step') AS a \gset
SELECT is(place(:a), 'queued', 'an enqueued job waits');
SELECT job, lease, attempt FROM orch.job_claim(:w1, 1) \gset
SELECT is(:job::bigint, :a::bigint, 'and is claimed');
SELECT is(place(:a), 'running', 'queued -> running');
SELECT is((SELECT count(*) FROM orch.job_claim(:w2, 5)), 0::bigint, 'nobody else gets it');
SELECT is(orch.job_progress(:a, :lease, 0.5, 'half'), 'ok', 'its holder reports progress');
SELECT is(orch.job_progress(:a, :lease + 1, 0.6, 'x'), 'lease_lost', 'another lease does not');
SELECT is(orch.job_finish(:w1, :a, :lease + 1, 'succeeded', NULL), 'lease_lost', 'a wrong lease finishes nothing');
SELECT is(orch.job_finish(:w2, :a, :lease, 'succeeded', NULL), 'lease_lost', 'nor does another worker');
SELECT is(orch.job_finish(:w1, :a, :lease, 'succeeded', '{"exit_code": 0}'), 'ok', 'running -> succeeded');
SELECT is(place(:a), 'succeeded', 'it left the hot table');
SELECT is(orch.job_finish(:w1, :a, :lease, 'failed', NULL), 'lease_lost', 'I5: it finishes once');
SELECT is((SELECT result ->> 'exit_code' FROM orch.job_history WHERE id = :a), '0', 'with its result');

-- I5, against the owner
SELECT throws_ok(format('UPDATE orch.job_history SET state = ''failed'' WHERE id = %s', :a), 'OR002', NULL, 'an ended job never changes');
SELECT throws_ok(format('DELETE FROM orch.job_history WHERE id = %s', :a), 'OR002', NULL, 'and never goes away');
SELECT throws_ok('TRUNCATE orch.job_history', 'OR002', NULL, 'not by TRUNCATE either');
INSERT INTO orch.job (id, pipeline_id, lease, worker_id, tag, timeout_ms, claimed_at, deadline_at, class_id, cost_ms,
  backoff_ms, max_ms, rank, attempt, retry_limit, state, step, role)
VALUES (:a, 1, :lease, :w1, 0, 1000, now(), now(), 1, 1, 1, 1, 0, 1, 0, 'running', 'a', 'step');
SELECT throws_ok(format('SELECT orch.job_finish(%s, %s, %s, ''succeeded'', NULL)', :w1, :a, :lease), '23505', NULL,
  'a row put back by hand cannot finish a second time');
DELETE FROM orch.job WHERE id = :a;
SELECT orch.job_enqueue(1, NULL, 'b', 'step') AS b \gset
SELECT lease AS lb FROM orch.job_claim(:w1, 1) \gset
SELECT throws_ok(format('UPDATE orch.job SET lease = lease - 1 WHERE id = %s', :b), 'OR002', NULL, 'a lease never goes back');
SELECT throws_ok(format('UPDATE orch.job SET worker_id = %s WHERE id = %s', :w2, :b), 'OR002', NULL, 'nor to another worker under the same number');
SELECT throws_ok(format('UPDATE orch.job SET worker_id = NULL, state = ''queued'' WHERE id = %s', :b), 'OR002', NULL, 'nor back without a new one');
SELECT throws_ok(format('UPDATE orch.job SET id = id + 1000 WHERE id = %s', :b), 'OR002', NULL, 'a job keeps its id');
SELECT is(orch.job_release(:w1, :b, :lb), 'ok', 'running -> queued, handed back');
SELECT is((SELECT attempt FROM orch.job WHERE id = :b), 0::smallint, 'no attempt is burnt');
SELECT FROM setval('orch.job_lease', 1, false);
SELECT throws_ok(format('SELECT orch.job_claim(%s, 1)', :w1), 'OR002', NULL, 'a lease sequence wound back gives no claim');
SELECT FROM setval('orch.job_lease', 1000);
SELECT lease AS lb2 FROM orch.job_claim(:w2, 1) \gset
SELECT is(orch.job_finish(:w1, :b, :lb, 'succeeded', NULL), 'lease_lost', 'the old holder brings too late');
SELECT is(orch.job_finish(:w2, :b, :lb2, 'failed', '{"error": "x"}'), 'ok', 'running -> failed, without retries');
SELECT is(place(:b), 'failed', 'recorded as failed');

-- running -> later -> queued: retries
SELECT orch.job_enqueue(1, NULL, 'c', 'step', NULL, 0, NULL, 1000, '{"limit": 1, "backoff_ms": 8000, "max_ms": 60000}') AS c \gset
SELECT lease AS lc FROM orch.job_claim(:w1, 1) \gset
SELECT is(orch.job_finish(:w1, :c, :lc, 'failed', '{"retry": true}'), 'retry', 'a failure with attempts left is a retry');
SELECT is(place(:c), 'later', 'it waits outside of the claims'' index');
SELECT ok(due_at - now() BETWEEN interval '4 s' AND interval '8 s', 'for the backoff, jittered') FROM orch.job_later WHERE id = :c;
SELECT is(outcome, 'retry', 'the attempt is recorded by name') FROM orch.job_attempt WHERE job_id = :c;
SELECT is(orch.jobs_promote_due(10), 0, 'not before its time');
UPDATE orch.job_later SET due_at = now() WHERE id = :c;
SELECT is(orch.jobs_promote_due(10), 1, 'in time it is promoted');
SELECT lease AS lc2, attempt AS ac FROM orch.job_claim(:w1, 1) \gset
SELECT ok(:lc2 > :lc AND :ac = 2, 'the second attempt has a greater lease');
SELECT is(orch.job_finish(:w1, :c, :lc2, 'failed', NULL), 'ok', 'and is the last');
SELECT is(place(:c), 'failed', 'failed for good');

-- Recovery: a silent worker, with and without attempts left
SELECT orch.job_enqueue(1, NULL, 'd', 'step', NULL, 0, NULL, 1000, '{"limit": 1}') AS d \gset
SELECT lease AS ld FROM orch.job_claim(:w1, 1) \gset
SELECT is(orch.jobs_recover() ->> 'silent_workers', '0', 'a live worker keeps its job');
UPDATE orch.worker SET heartbeat_at = now() - interval '11 s' WHERE id = :w1;
SELECT is(orch.jobs_recover() ->> 'requeued', '1', 'running -> queued on a lost lease');
SELECT is(outcome, 'silent worker', 'recorded by name') FROM orch.job_attempt WHERE job_id = :d;
SELECT throws_ok(format('SELECT orch.job_claim(%s, 1)', :w1), 'OR004', NULL, 'a silent worker takes nothing');
SELECT is(orch.worker_heartbeat(:w1, ARRAY[:d], ARRAY[:ld]::bigint[]) #> '{lost,0,job}', to_jsonb(:d), 'its heartbeat tells what it lost');
SELECT lease AS ld2 FROM orch.job_claim(:w2, 1) \gset
UPDATE orch.worker SET heartbeat_at = now() - interval '11 s' WHERE id = :w2;
SELECT FROM orch.jobs_recover();
SELECT is(state || ', ' || recovery, 'failed, silent worker', 'no attempt left: failed') FROM orch.job_history WHERE id = :d;
SELECT FROM orch.worker_heartbeat(:w2, NULL, NULL);

-- Recovery: a hung step
SELECT orch.job_enqueue(1, NULL, 'e', 'step') AS e \gset
SELECT lease AS le FROM orch.job_claim(:w1, 1) \gset
UPDATE orch.job SET deadline_at = now() - interval '1 s' WHERE id = :e;
SELECT is(orch.jobs_recover() ->> 'hung', '1', 'a hung step is found');
SELECT is(state || ', ' || recovery, 'timed_out, hung step', 'running -> timed_out, by name') FROM orch.job_history WHERE id = :e;
SELECT is(orch.job_finish(:w1, :e, :le, 'succeeded', NULL), 'lease_lost', 'whatever its worker brings');

-- Cancelling
SELECT orch.job_enqueue(2, 7, 'f', 'train') AS f, orch.job_enqueue(2, 7, 'g', 'step', NULL, -5) AS g,
       orch.job_enqueue(2, 7, 'h', 'step', NULL, 0, NULL, 1000, NULL, now() + interval '1 h') AS h \gset
SELECT lease AS lf, brief FROM orch.job_claim(:w1, 1) \gset
SELECT is(:'brief'::jsonb, jsonb_build_object('job', :f, 'lease', :lf), 'a proposal''s job comes with its brief');
SELECT is(orch.jobs_cancel(7), '{"running": 1, "cancelled": 2}', 'what waits ends at once');
SELECT is(ARRAY[place(:g), place(:h), place(:f)], ARRAY['cancelled', 'cancelled', 'running'], 'what runs is asked');
SELECT is(orch.worker_heartbeat(:w1, ARRAY[:f], ARRAY[:lf]::bigint[]) #> '{cancels,0,job}', to_jsonb(:f), 'by the heartbeat');
SELECT is(orch.job_progress(:f, :lf, 0.1, ''), 'cancel', 'and by progress');
SELECT FROM orch.worker_stop(:w1);
SELECT is(place(:f), 'cancelled', 'a cancelled job that is handed back is not queued again');
SELECT FROM orch.jobs_recover();
SELECT is((SELECT count(*) FROM orch.job_cancel), 0::bigint, 'the wishes are cleared away');
SELECT results_eq('SELECT job, state FROM told ORDER BY job', format('VALUES (%s::bigint, ''cancelled''), (%s, ''cancelled''), (%s, ''cancelled'')', :f, :g, :h),
  'the proposal heard of each end once');

-- A batch: who lost a lease does not spoil it
SELECT orch.job_enqueue_many(1, NULL, ARRAY['i', 'j', 'k'], 'step') AS i \gset
SELECT array_agg(job) AS jobs, array_agg(lease) AS leases FROM orch.job_claim(:w2, 3) \gset
SELECT FROM (SELECT orch.job_release(:w2, j.id, j.lease) FROM orch.job j WHERE j.id = :i + 1) s;
SELECT results_eq(format('SELECT outcome, count(*) FROM orch.job_exchange(%s, %L, %L, NULL, NULL, 1) GROUP BY 1 ORDER BY 1', :w2, :'jobs', :'leases'),
  $$VALUES ('claimed', 1::bigint), ('lease_lost', 1), ('ok', 2)$$, 'finish a batch and claim in one statement');
SELECT is(orch.worker_resume(:w2, NULL, NULL) ->> 'handed_back', '1', 'what a lost answer granted goes back');
SELECT job AS x, lease AS lx FROM orch.job_claim(:w2, 1) \gset
SELECT FROM orch.job_finish(:w2, :x, :lx, 'timed_out', NULL);
SELECT is(place(:x), 'timed_out', 'running -> timed_out, said by the worker');

SELECT FROM orch.job_enqueue(1, NULL, 'l', 'step');
SELECT job AS y, lease AS ly FROM orch.job_exchange(:w2, NULL, NULL, NULL, NULL, 1) \gset
SELECT is((SELECT array_agg(outcome) FROM orch.job_exchange(:w2, ARRAY[:y], ARRAY[:ly - 1], NULL, NULL, 0)), ARRAY['lease_lost'], 'one, with a wrong lease');
SELECT is((SELECT array_agg(outcome) FROM orch.job_exchange(:w3, ARRAY[:y], ARRAY[:ly], NULL, NULL, 0)), ARRAY['lease_lost'], 'or by another worker');
SELECT is((SELECT array_agg(outcome) FROM orch.job_exchange(:w2, ARRAY[:y], ARRAY[:ly], NULL, ARRAY['{"exit_code": 0}']::jsonb[], 0)), ARRAY['ok'], 'and rightly');
SELECT is((SELECT array_agg(outcome) FROM orch.job_exchange(:w2, ARRAY[:y], ARRAY[:ly], NULL, NULL, 0)), ARRAY['lease_lost'], 'once');

-- One for one: job_swap agrees with job_exchange, in the plain case and in every other
DELETE FROM orch.job;
SELECT orch.job_enqueue_many(1, NULL, ARRAY['s1', 's2', 's3', 's4'], 'step') AS s1 \gset
SELECT id AS alone FROM orch.job_class WHERE labels = '{}' AND cpu = 1 AND memory_bytes = 0 AND gpu = 0 \gset
SELECT is((SELECT classes FROM orch.worker WHERE id = :w2), ARRAY[:alone], 'a worker of one kind of job');
SELECT job AS x, lease AS lx FROM orch.job_claim(:w2, 1) \gset
SELECT results_eq(format('SELECT outcome, job, attempt::int, step FROM orch.job_swap(%s, %s, %s, ''{"exit_code": 0}'')', :w2, :x, :lx),
  format('VALUES (''ok'', %s::bigint, NULL::int, NULL), (''claimed'', %s, 1, ''s2'')', :s1, :s1 + 1), 'one ends, the next is taken');
SELECT is(state || ' ' || step || ' ' || (result ->> 'exit_code') || ' ' || (worker_id = :w2 AND lease = :lx AND claimed_at IS NOT NULL),
  'succeeded s1 0 true', 'and the first is history') FROM orch.job_history WHERE id = :s1;
SELECT lease AS l2 FROM orch.job WHERE id = :s1 + 1 AND state = 'running' AND worker_id = :w2 AND deadline_at > now() \gset
SELECT ok(:l2 > :lx, 'under a greater lease, with a deadline');
SELECT results_eq(format('SELECT outcome, step FROM orch.job_swap(%s, %s, %s, NULL)', :w2, :s1 + 1, :lx),
  $$VALUES ('lease_lost', NULL), ('claimed', 's3')$$, 'a wrong lease ends nothing; the free slot is filled');
SELECT is((SELECT outcome FROM orch.job_swap(:w3, :s1 + 1, :l2, NULL) LIMIT 1), 'lease_lost', 'nor does another worker');
SELECT is(place(:s1 + 1), 'running', 'so it runs on');
SELECT results_eq(format('SELECT outcome FROM orch.job_swap(%s, %s, %s, NULL)', :w2, :s1 + 1, :l2), $$VALUES ('ok')$$, 'with nothing left, it only ends');
SELECT results_eq(format('SELECT outcome FROM orch.job_swap(%s, %s, %s, NULL)', :w2, :s1 + 1, :l2), $$VALUES ('lease_lost')$$, 'once');
SELECT lease AS l3 FROM orch.job WHERE id = :s1 + 2 \gset
SELECT orch.job_enqueue(1, NULL, 'low', 'step', NULL, -1) AS low, orch.job_enqueue(1, NULL, 'high', 'step', NULL, 1) AS high \gset
SELECT results_eq(format('SELECT outcome, step FROM orch.job_swap(%s, %s, %s, NULL)', :w2, :s1 + 2, :l3),
  $$VALUES ('ok', NULL), ('claimed', 'high')$$, 'in order of priority');
SELECT lease AS lh FROM orch.job WHERE id = :high \gset
SELECT orch.job_enqueue(1, NULL, 'two', 'step', NULL, 2, '{"cpu": 2}') AS two \gset
SELECT results_eq(format('SELECT outcome, step FROM orch.job_swap(%s, %s, %s, NULL, ''{"cpu": 1}'')', :w2, :high, :lh),
  $$VALUES ('ok', NULL::text)$$, 'a bigger job that must wait for room is not overtaken');
SELECT lease AS lx FROM orch.job_claim(:w2, 1, '{"cpu": 2}') \gset
SELECT results_eq(format('SELECT outcome, step FROM orch.job_swap(%s, %s, %s, NULL, ''{"cpu": 2}'')', :w2, :two, :lx),
  $$VALUES ('ok', NULL), ('claimed', 'low')$$, 'from one kind of job to another');
SELECT lease AS lx FROM orch.job WHERE id = :low \gset
SELECT FROM orch.job_enqueue(1, NULL, 'left', 'step');
UPDATE orch.worker SET state = 'silent' WHERE id = :w2;
SELECT results_eq(format('SELECT outcome FROM orch.job_swap(%s, %s, %s, NULL)', :w2, :low, :lx), $$VALUES ('ok')$$,
  'a silent worker hands in, and takes nothing');
SELECT FROM orch.worker_heartbeat(:w2, NULL, NULL);
DELETE FROM orch.job;

-- A proposal hears of it before the claim, so that the step that follows is taken at once, with its brief
CREATE OR REPLACE FUNCTION orch.proposal_on_job(p_proposal_id bigint, p_job_id bigint, p_step text, p_role text,
  p_subject text, p_state text, p_result jsonb) RETURNS void LANGUAGE sql AS $$
  INSERT INTO public.told VALUES (p_proposal_id, p_job_id, p_state);
  SELECT orch.job_enqueue(2, p_proposal_id, 'second', 'step') WHERE p_step = 'first' $$;
UPDATE orch.worker SET classes = ARRAY[:alone] WHERE id = :w2;
SELECT orch.job_enqueue(2, 9, 'first', 'train') AS first \gset
SELECT lease AS lx FROM orch.job_claim(:w2, 1) \gset
SELECT FROM setval('orch.queue_clock', 0);
CREATE TEMPORARY TABLE swapped AS SELECT * FROM orch.job_swap(:w2, :first, :lx, '{"output": "x"}');
SELECT is((SELECT array_agg(outcome || coalesce(' ' || step, '')) FROM swapped), ARRAY['ok', 'claimed second'],
  'what the proposal asks for next is taken at once');
SELECT is(brief, jsonb_build_object('job', job, 'lease', lease), 'with its brief') FROM swapped WHERE step = 'second';
SELECT is((SELECT array_agg(state) FROM told WHERE job = :first), ARRAY['succeeded'], 'the proposal heard once');
SELECT is(pg_sequence_last_value('orch.queue_clock'), (SELECT tag FROM orch.job WHERE step = 'second'), 'and the clock moved');
SELECT orch.job_enqueue(1, NULL, 'here', 'step') AS here, orch.job_enqueue(1, NULL, 'elsewhere', 'step', NULL, 9, '{"cpu": 3}') AS elsewhere \gset
UPDATE orch.worker SET classes = ARRAY[:alone] WHERE id = :w2;
SELECT job AS x, lease AS lx FROM swapped WHERE step = 'second' \gset
SELECT results_eq(format('SELECT outcome, step FROM orch.job_swap(%s, %s, %s, NULL)', :w2, :x, :lx),
  $$VALUES ('ok', NULL), ('claimed', 'here')$$, 'never what the worker cannot run');
SELECT lease AS lx FROM orch.job WHERE id = :here \gset
SELECT FROM orch.job_enqueue(1, NULL, 'left', 'step');
UPDATE orch.worker SET state = 'silent', classes = ARRAY[:alone] WHERE id = :w2;
SELECT results_eq(format('SELECT outcome FROM orch.job_swap(%s, %s, %s, NULL)', :w2, :here, :lx), $$VALUES ('ok')$$,
  'a silent worker of one kind of job takes nothing either');
SELECT FROM orch.worker_heartbeat(:w2, NULL, NULL);
UPDATE orch.worker w SET classes = orch.queue_classes_for(w.labels, w.cpu, w.memory_bytes, w.gpu) WHERE id = :w2;
DELETE FROM orch.job;

-- Fair: the one job of a pipeline does not wait for another's hundred; priority comes first
SELECT FROM orch.job_enqueue_many(11, NULL, array_fill('flood'::text, ARRAY[100]), 'step');
SELECT FROM orch.job_claim(:w2, 5);
SELECT orch.job_enqueue(12, NULL, 'single', 'step') AS single, orch.job_enqueue(11, NULL, 'urgent', 'step', NULL, 5) AS urgent \gset
SELECT is((SELECT job FROM orch.job_claim(:w2, 1)), :urgent::bigint, 'the urgent one first');
SELECT ok(:single IN (SELECT job FROM orch.job_claim(:w2, 2)), 'then the single one, before ninety-five');

-- Fair also after one from the far end of the flood was taken first, for its priority or for its kind
DELETE FROM orch.job;
SELECT FROM orch.job_enqueue_many(13, NULL, array_fill('flood'::text, ARRAY[100]), 'step');
SELECT orch.job_enqueue(13, NULL, 'urgent', 'step', NULL, 5) AS urgent \gset
SELECT is((SELECT job FROM orch.job_claim(:w2, 1)), :urgent::bigint, 'the urgent one of the flood first');
SELECT orch.job_enqueue(14, NULL, 'single', 'step') AS single, orch.job_enqueue(14, NULL, 'third', 'step', NULL, 4) AS third \gset
SELECT is((SELECT array_agg(step ORDER BY job) FROM orch.job_claim(:w2, 3)), ARRAY['flood', 'single', 'third'],
  'then another pipeline''s, before the ninety-nine that are left');
SELECT orch.job_enqueue(14, NULL, 'again', 'step') AS again \gset
SELECT ok(:again IN (SELECT job FROM orch.job_claim(:w2, 3)), 'and its next: what it had of another priority does not count against it');
SELECT FROM orch.job_enqueue(13, NULL, 'other kind', 'step', NULL, 0, '{"cpu": 2, "labels": ["gpu"]}');
UPDATE orch.worker SET classes = ARRAY[orch.queue_class('{"cpu": 2, "labels": ["gpu"]}')] WHERE id = :w3;
SELECT is((SELECT step FROM orch.job_claim(:w3, 1)), 'other kind', 'a worker of another kind takes the last of the flood');
SELECT orch.job_enqueue(15, NULL, 'late', 'step') AS late \gset
SELECT ok(:late IN (SELECT job FROM orch.job_claim(:w2, 3)), 'which moves nobody behind the flood');
-- What runs far ahead elsewhere (a kind of job with faster workers) does not put a newcomer behind those who wait here.
SELECT FROM setval('orch.queue_clock', 900000000);
SELECT orch.job_enqueue(16, NULL, 'new', 'step') AS new \gset
SELECT ok(:new IN (SELECT job FROM orch.job_claim(:w2, 3)), 'nor does a clock that is ahead of those who wait');
-- A job that was given back keeps its place, early; a newcomer's thousand do not start there.
UPDATE orch.job SET tag = 1 WHERE id = (SELECT min(id) FROM orch.job WHERE state = 'running');
SELECT FROM orch.worker_stop(:w2);
SELECT FROM orch.job_enqueue_many(17, NULL, array_fill('more'::text, ARRAY[50]), 'step');
SELECT is((SELECT min(tag) FROM orch.job WHERE step = 'more'),
  (SELECT min(tag) FROM orch.job WHERE state = 'queued' AND lease = 0 AND step <> 'more'), 'newcomers start where the others are, not where an early job came back');
SELECT is((SELECT count(DISTINCT tag) FROM orch.job WHERE step = 'more'), 50::bigint, 'one behind the other');
SELECT worker('w2') AS w2 \gset
UPDATE orch.worker w SET classes = orch.queue_classes_for(w.labels, w.cpu, w.memory_bytes, w.gpu) WHERE id = :w3;

-- Capacity and labels: in order, and only what fits
DELETE FROM orch.job WHERE state = 'queued';
SELECT orch.job_enqueue(20, NULL, 'big', 'step', NULL, 1, '{"cpu": 3}') AS big, orch.job_enqueue(20, NULL, 'small', 'step', NULL, 0, '{"cpu": 1}') AS small,
       orch.job_enqueue(20, NULL, 'gpu', 'step', NULL, 2, '{"cpu": 1, "gpu": 1, "labels": ["gpu"]}') AS gpu,
       orch.job_enqueue(20, NULL, 'huge', 'step', NULL, 9, '{"cpu": 64}') AS huge \gset
SELECT is((SELECT count(*) FROM orch.job_claim(:w2, 5, '{"cpu": 2}')), 0::bigint, 'a small job does not overtake a big one that must wait for room');
SELECT is((SELECT array_agg(step) FROM orch.job_claim(:w3, 5, '{"cpu": 4, "gpu": 1}')), ARRAY['gpu', 'big'], 'in order, up to what is free');
SELECT is((SELECT array_agg(step) FROM orch.job_claim(:w2, 5, '{"cpu": 2}')), ARRAY['small'], 'what no worker could run blocks nobody');

-- Refused input, and the worker's role
SELECT throws_ok($$SELECT orch.job_enqueue(1, NULL, 'x', 'cook')$$, 'OR003', NULL, 'an unknown role is refused');
SELECT throws_ok(format('SELECT orch.job_exchange(%s, ARRAY[1, 2]::bigint[], ARRAY[1]::bigint[], NULL, NULL, 0)', :w2), 'OR003', NULL, 'so is a lopsided batch');
SELECT is((SELECT count(*) FROM information_schema.role_table_grants WHERE grantee = 'orch_worker' AND table_schema = 'orch'), 0::bigint, 'a worker reads no table');
SELECT ok(has_function_privilege('orch_worker', 'orch.job_exchange(bigint,bigint[],bigint[],text[],jsonb[],int,jsonb)', 'EXECUTE')
  AND has_function_privilege('orch_worker', 'orch.job_swap(bigint,bigint,bigint,jsonb,text)', 'EXECUTE')
  AND NOT has_function_privilege('orch_worker', 'orch.job_enqueue(bigint,bigint,text,text,text,int,jsonb,bigint,jsonb,timestamptz)', 'EXECUTE')
  AND NOT has_function_privilege('orch_worker', 'orch.queue_end(orch.job,text,jsonb,text)', 'EXECUTE'), 'and calls its own functions only');
SELECT * FROM finish();
ROLLBACK;
