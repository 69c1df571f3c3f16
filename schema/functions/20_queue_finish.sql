-- Handing in what ended: one job, a batch, an attempt that failed.

-- How a job goes on after an attempt that failed: to job_later while attempts remain, else to its end. Returns the
-- outcome for the worker ('retry' or 'ok'); NULL if the job is not this worker's under this lease.
CREATE OR REPLACE FUNCTION orch.queue_attempt_ended(p_job bigint, p_lease bigint, p_worker bigint, p_state text,
                                                    p_result jsonb, p_recovery text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  j orch.job;
  v_cancelled boolean;
  v_wait_ms float8;
  v_state text := p_state;
BEGIN
  DELETE FROM orch.job WHERE id = p_job AND lease = p_lease AND state = 'running' AND worker_id = p_worker
    RETURNING * INTO j;
  IF NOT FOUND THEN RETURN NULL; END IF;
  -- Only read here: removing the wish would make its next author wait for this transaction. Upkeep removes it.
  v_cancelled := EXISTS (SELECT FROM orch.job_cancel WHERE job_id = p_job);
  IF v_state = 'failed' AND NOT v_cancelled AND j.attempt <= j.retry_limit
     AND p_result->'retry' IS DISTINCT FROM 'false' THEN
    -- Exponential, capped, and spread over its upper half, so that what failed together does not return together.
    v_wait_ms := least(j.max_ms, j.backoff_ms * 2.0 ^ least(j.attempt - 1, 30)) * (0.5 + random() / 2);
    INSERT INTO orch.job_later (id, due_at, pipeline_id, proposal_id, lease, timeout_ms, enqueued_at, class_id,
                                backoff_ms, max_ms, rank, attempt, retry_limit, step, role, subject)
    VALUES (j.id, now() + v_wait_ms * interval '1 ms', j.pipeline_id, j.proposal_id, j.lease, j.timeout_ms,
            j.enqueued_at, j.class_id, j.backoff_ms, j.max_ms, j.rank, j.attempt, j.retry_limit, j.step, j.role,
            j.subject);
    INSERT INTO orch.job_attempt (job_id, lease, attempt, worker_id, outcome, claimed_at, due_at, result)
    VALUES (j.id, j.lease, j.attempt, j.worker_id, 'retry', j.claimed_at,
            now() + v_wait_ms * interval '1 ms', p_result);
    RETURN 'retry';
  END IF;
  IF v_cancelled AND v_state = 'failed' THEN v_state := 'cancelled'; END IF;
  PERFORM orch.queue_end(j, v_state, p_result, p_recovery);
  RETURN 'ok';
END $$;

-- The end of a job whose row has just left the hot table.
CREATE OR REPLACE FUNCTION orch.queue_end(j orch.job, p_state text, p_result jsonb, p_recovery text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO orch.job_history (id, pipeline_id, proposal_id, lease, worker_id, enqueued_at, claimed_at, class_id, rank,
                                attempt, state, step, role, subject, recovery, result)
  VALUES (j.id, j.pipeline_id, j.proposal_id, j.lease, j.worker_id, j.enqueued_at, j.claimed_at, j.class_id, j.rank,
          j.attempt, p_state::orch.job_end, j.step, j.role, j.subject, p_recovery::orch.job_recovery, p_result);
  IF j.proposal_id IS NOT NULL THEN
    PERFORM orch.proposal_on_job(j.proposal_id, j.id, j.step, j.role, j.subject, p_state, p_result);
  END IF;
END $$;

-- Ends one job that succeeded: what queue_succeed does, without the weight of a batch.
CREATE OR REPLACE FUNCTION orch.queue_succeed_one(p_worker bigint, p_job bigint, p_lease bigint, p_result jsonb)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  j orch.job;
  v_slot_ms float8;
BEGIN
  DELETE FROM orch.job WHERE id = p_job AND state = 'running' AND lease = p_lease AND worker_id = p_worker
    RETURNING * INTO j;
  IF NOT FOUND THEN RETURN false; END IF;
  INSERT INTO orch.job_history (id, pipeline_id, proposal_id, lease, worker_id, enqueued_at, claimed_at, class_id, rank,
                                attempt, state, step, role, subject, result)
  VALUES (j.id, j.pipeline_id, j.proposal_id, j.lease, j.worker_id, j.enqueued_at, j.claimed_at, j.class_id, j.rank,
          j.attempt, 'succeeded', j.step, j.role, j.subject, p_result);
  v_slot_ms := date_part('epoch', now() - j.claimed_at) * 1000;
  IF v_slot_ms >= 1000 OR random() < 0.0625 THEN
    PERFORM orch.queue_lane_learn(j.pipeline_id, j.class_id, j.rank, 1, v_slot_ms);
  END IF;
  IF j.proposal_id IS NOT NULL THEN
    PERFORM orch.proposal_on_job(j.proposal_id, j.id, j.step, j.role, j.subject, 'succeeded', p_result);
  END IF;
  RETURN true;
END $$;

-- Ends jobs that succeeded: one statement for the whole batch. Returns the ids that were this worker's to end, and
-- among them those whose proposal must hear of it.
CREATE OR REPLACE FUNCTION orch.queue_succeed(p_worker bigint, p_jobs bigint[], p_leases bigint[], p_results jsonb[],
                                              OUT ended bigint[], OUT told bigint[])
-- The planner takes a batch for ten rows and what runs for one: it would compare every pair. One look into the index
-- per id, and a hash over the batch, is right for any number.
LANGUAGE plpgsql SET enable_nestloop = off AS $$
DECLARE
  r record;
BEGIN
  FOR r IN
    WITH f AS MATERIALIZED (
      SELECT f.job, f.lease, f.result FROM unnest(p_jobs, p_leases, p_results) f(job, lease, result)),
    d AS (
      DELETE FROM orch.job j USING f
       WHERE j.id = ANY (p_jobs) AND j.state = 'running' AND j.worker_id = p_worker
         AND j.id = f.job AND j.lease = f.lease
      RETURNING j.id, j.pipeline_id, j.proposal_id, j.lease, j.worker_id, j.enqueued_at, j.claimed_at, j.class_id,
                j.rank, j.attempt, j.step, j.role, j.subject, f.result),
    h AS (
      INSERT INTO orch.job_history (id, pipeline_id, proposal_id, lease, worker_id, enqueued_at, claimed_at, class_id,
                                    rank, attempt, state, step, role, subject, result)
      SELECT id, pipeline_id, proposal_id, lease, worker_id, enqueued_at, claimed_at, class_id, rank, attempt,
             'succeeded', step, role, subject, result FROM d)
    SELECT pipeline_id, class_id, rank, count(*) AS n, array_agg(id) AS ended,
           array_agg(id) FILTER (WHERE proposal_id IS NOT NULL) AS told,
           avg(date_part('epoch', now() - claimed_at)) * 1000 AS slot_ms
      FROM d GROUP BY pipeline_id, class_id, rank
  LOOP
    ended := ended || r.ended;
    told := told || r.told;
    PERFORM orch.queue_lane_learn(r.pipeline_id, r.class_id, r.rank, r.n, r.slot_ms);
  END LOOP;
END $$;

-- Locks the pipelines of a batch, all before the first is told and in one order: telling locks more (their audit chains,
-- and that of the server), and a later pipeline must not be waited for with those in hand.
CREATE OR REPLACE FUNCTION orch.queue_lock_pipelines(p_ids bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM orch.pipeline WHERE id = ANY (p_ids) ORDER BY id FOR NO KEY UPDATE;
END $$;

-- Hands in a batch: p_states as 'succeeded', 'failed', 'cancelled' or 'timed_out' (NULL: all succeeded).
CREATE OR REPLACE FUNCTION orch.queue_finish(p_worker bigint, p_jobs bigint[], p_leases bigint[], p_states text[],
                                             p_results jsonb[]) RETURNS SETOF orch.job_grant
LANGUAGE plpgsql AS $$
DECLARE
  v_ended bigint[];
  v_told bigint[];
  v_good bigint[];
  v_good_leases bigint[];
  v_good_results jsonb[];
  v_outcome text;
  r record;
BEGIN
  IF cardinality(p_jobs) > 10000 OR cardinality(p_leases) IS DISTINCT FROM cardinality(p_jobs)
     OR cardinality(p_states) <> cardinality(p_jobs) OR cardinality(p_results) <> cardinality(p_jobs)
     OR NOT p_states <@ ARRAY['succeeded', 'failed', 'cancelled', 'timed_out'] THEN
    RAISE EXCEPTION 'a batch of finished jobs is malformed' USING ERRCODE = 'OR003',
      HINT = 'arrays of one length, at most 10000, states succeeded, failed, cancelled or timed_out';
  END IF;
  IF p_states IS NULL OR 'succeeded' = ALL (p_states) THEN
    SELECT s.ended, s.told INTO v_ended, v_told FROM orch.queue_succeed(p_worker, p_jobs, p_leases, p_results) s;
    IF v_told IS NOT NULL THEN
      PERFORM orch.queue_lock_pipelines(ARRAY(SELECT pipeline_id FROM orch.job_history WHERE id = ANY (v_told)));
      FOR r IN SELECT * FROM orch.job_history WHERE id = ANY (v_told) ORDER BY pipeline_id, proposal_id, id LOOP
        PERFORM orch.proposal_on_job(r.proposal_id, r.id, r.step, r.role, r.subject, r.state::text, r.result);
      END LOOP;
    END IF;
    RETURN QUERY SELECT CASE WHEN cardinality(v_ended) = cardinality(p_jobs) OR f.job = ANY (v_ended) THEN 'ok'
                             ELSE 'lease_lost' END,
                        f.job, f.lease, NULL::smallint, NULL::bigint, NULL::bigint, NULL::bigint, NULL, NULL, NULL,
                        NULL::jsonb FROM unnest(p_jobs, p_leases) f(job, lease);
    RETURN;
  END IF;
  PERFORM orch.queue_lock_pipelines(ARRAY(SELECT pipeline_id FROM orch.job WHERE id = ANY (p_jobs) AND proposal_id IS NOT NULL));
  SELECT array_agg(f.job), array_agg(f.lease), array_agg(f.result) INTO v_good, v_good_leases, v_good_results
    FROM unnest(p_jobs, p_leases, p_states, p_results) f(job, lease, state, result) WHERE f.state = 'succeeded';
  IF v_good IS NOT NULL THEN
    RETURN QUERY SELECT * FROM orch.queue_finish(p_worker, v_good, v_good_leases, NULL, v_good_results);
  END IF;
  FOR r IN SELECT * FROM unnest(p_jobs, p_leases, p_states, p_results) f(job, lease, state, result)
            WHERE f.state <> 'succeeded' ORDER BY f.job LOOP
    v_outcome := coalesce(orch.queue_attempt_ended(r.job, r.lease, p_worker, r.state, r.result, NULL), 'lease_lost');
    RETURN NEXT (v_outcome, r.job, r.lease, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)::orch.job_grant;
  END LOOP;
END $$;

-- Hands in one job: 'ok', 'retry' or 'lease_lost'.
CREATE OR REPLACE FUNCTION orch.job_finish(p_worker bigint, p_job bigint, p_lease bigint, p_state text, p_result jsonb)
RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  RETURN (SELECT outcome FROM orch.queue_finish(p_worker, ARRAY[p_job], ARRAY[p_lease], ARRAY[p_state],
                                                ARRAY[p_result]));
END $$;
