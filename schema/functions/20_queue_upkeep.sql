-- Stopping jobs, and the duties that keep the queue whole. Each is safe to run anywhere, any number of times.

-- A job that waits for its time, as the row it would be in the queue.
CREATE OR REPLACE FUNCTION orch.queue_as_job(l orch.job_later) RETURNS orch.job LANGUAGE plpgsql AS $$
DECLARE
  j orch.job;
BEGIN
  j.id := l.id; j.pipeline_id := l.pipeline_id; j.proposal_id := l.proposal_id; j.lease := l.lease;
  j.enqueued_at := l.enqueued_at; j.class_id := l.class_id; j.rank := l.rank; j.attempt := l.attempt;
  j.step := l.step; j.role := l.role; j.subject := l.subject;
  RETURN j;
END $$;

-- Stops the jobs of a proposal (or one of them): what waits ends as cancelled at once, what runs gets a durable wish
-- that its worker finds with its next heartbeat. A row that somebody holds is being claimed or finished at this very
-- moment; it is not waited for, the wish is found by its worker or by upkeep. Returns {cancelled, running}.
CREATE OR REPLACE FUNCTION orch.jobs_cancel(p_proposal_id bigint, p_job bigint DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
  j orch.job;
  l orch.job_later;
  v_ended int := 0;
  v_left int;
BEGIN
  INSERT INTO orch.job_cancel (job_id)
  SELECT s.id FROM (SELECT id FROM orch.job WHERE proposal_id = p_proposal_id
                     UNION SELECT id FROM orch.job_later WHERE proposal_id = p_proposal_id) s
   WHERE p_job IS NULL OR s.id = p_job ORDER BY s.id ON CONFLICT DO NOTHING;
  FOR j IN DELETE FROM orch.job WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM orch.job WHERE proposal_id = p_proposal_id AND state = 'queued'
                AND (p_job IS NULL OR id = p_job) FOR UPDATE SKIP LOCKED)) RETURNING * LOOP
    PERFORM orch.queue_end(j, 'cancelled', NULL, NULL);
    v_ended := v_ended + 1;
  END LOOP;
  FOR l IN DELETE FROM orch.job_later WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM orch.job_later WHERE proposal_id = p_proposal_id
                AND (p_job IS NULL OR id = p_job) FOR UPDATE SKIP LOCKED)) RETURNING * LOOP
    PERFORM orch.queue_end(orch.queue_as_job(l), 'cancelled', NULL, NULL);
    v_ended := v_ended + 1;
  END LOOP;
  SELECT count(*) INTO v_left FROM orch.job
   WHERE proposal_id = p_proposal_id AND (p_job IS NULL OR id = p_job) AND state = 'running';
  IF v_left > 0 THEN PERFORM orch.queue_wake(); END IF;
  RETURN jsonb_build_object('cancelled', v_ended, 'running', v_left);
END $$;

-- Jobs whose worker is silent, gone or stopped. Locks the silent workers' rows, so that a heartbeat on its way waits
-- and then reads what became of its jobs.
CREATE OR REPLACE FUNCTION orch.queue_orphans(p_limit int, OUT silent int, OUT jobs bigint[]) LANGUAGE plpgsql AS $$
DECLARE
  v_silent bigint[];
BEGIN
  SELECT count(*) FILTER (WHERE s.state = 'active'), array_agg(s.id) INTO silent, v_silent FROM (
    SELECT id, state FROM orch.worker
     WHERE state = 'silent' OR state = 'active' AND heartbeat_at < now() - lease_ms * interval '1 ms'
     ORDER BY id FOR UPDATE SKIP LOCKED) s;
  UPDATE orch.worker SET state = 'silent' WHERE id = ANY (v_silent) AND state = 'active';
  SELECT array_agg(s.id) INTO jobs FROM (
    SELECT j.id FROM orch.job j LEFT JOIN orch.worker w ON w.id = j.worker_id
     WHERE j.state = 'running' AND (j.worker_id = ANY (v_silent) OR w.id IS NULL OR w.state = 'stopped')
     LIMIT p_limit) s;
END $$;

-- The two recoveries, and what a cancellation left behind; at most p_limit jobs each. A silent worker's jobs go back to
-- the queue or fail; a hung step, past its hard deadline, ends as timed out, however lively its worker.
-- Returns {silent_workers, requeued, failed, hung, cancelled}.
CREATE OR REPLACE FUNCTION orch.jobs_recover(p_limit int DEFAULT 1000) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
  v_silent int;
  v_orphans bigint[];
  v_requeued int := 0;
  v_hung int := 0;
  v_cancelled int := 0;
  j orch.job;
  l orch.job_later;
BEGIN
  SELECT o.silent, o.jobs INTO v_silent, v_orphans FROM orch.queue_orphans(p_limit) o;
  IF v_orphans IS NOT NULL THEN v_requeued := orch.queue_give_back(v_orphans, 'silent worker'); END IF;
  FOR j IN SELECT * FROM orch.job WHERE state = 'running' AND deadline_at < now() ORDER BY pipeline_id, id LIMIT p_limit
           FOR UPDATE SKIP LOCKED LOOP
    PERFORM orch.queue_attempt_ended(j.id, j.lease, j.worker_id, 'timed_out',
      jsonb_build_object('error', 'hung past its hard deadline', 'deadline_at', j.deadline_at), 'hung step');
    v_hung := v_hung + 1;
  END LOOP;
  IF EXISTS (SELECT FROM orch.job_cancel) THEN
    FOR j IN DELETE FROM orch.job WHERE ctid = ANY (ARRAY(
               SELECT q.ctid FROM orch.job_cancel c JOIN orch.job q ON q.id = c.job_id AND q.state = 'queued'
                LIMIT p_limit FOR UPDATE OF q SKIP LOCKED)) RETURNING * LOOP
      PERFORM orch.queue_end(j, 'cancelled', NULL, NULL);
      v_cancelled := v_cancelled + 1;
    END LOOP;
    FOR l IN DELETE FROM orch.job_later WHERE ctid = ANY (ARRAY(
               SELECT q.ctid FROM orch.job_cancel c JOIN orch.job_later q ON q.id = c.job_id
                LIMIT p_limit FOR UPDATE OF q SKIP LOCKED)) RETURNING * LOOP
      PERFORM orch.queue_end(orch.queue_as_job(l), 'cancelled', NULL, NULL);
      v_cancelled := v_cancelled + 1;
    END LOOP;
    DELETE FROM orch.job_cancel WHERE job_id IN (
      SELECT c.job_id FROM orch.job_cancel c JOIN orch.job_history h ON h.id = c.job_id LIMIT p_limit
         FOR UPDATE OF c SKIP LOCKED);
  END IF;
  RETURN jsonb_build_object('silent_workers', v_silent, 'requeued', v_requeued,
    'failed', (SELECT count(*) FROM orch.job_history WHERE id = ANY (v_orphans) AND recovery = 'silent worker'), 'hung', v_hung, 'cancelled', v_cancelled);
END $$;

-- Forgets workers that left or fell silent long ago and hold nothing. Returns how many.
CREATE OR REPLACE FUNCTION orch.workers_forget(p_limit int DEFAULT 1000) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_gone int;
BEGIN
  DELETE FROM orch.worker WHERE id IN (
    SELECT w.id FROM orch.worker w
     WHERE w.state <> 'active' AND w.heartbeat_at < now() - interval '30 days'
       AND NOT EXISTS (SELECT FROM orch.job j WHERE j.state = 'running' AND j.worker_id = w.id)
     LIMIT p_limit FOR UPDATE SKIP LOCKED);
  GET DIAGNOSTICS v_gone = ROW_COUNT;
  RETURN v_gone;
END $$;

-- The queue in numbers, for status and metrics: {queued, running, later, oldest_queued_ms, workers: {state: n}, …}.
-- Counts no more than 10000 waiting rows: a page must not hold a snapshot over a million.
CREATE OR REPLACE FUNCTION orch.queue_status() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT jsonb_build_object(
    'queued', (SELECT count(*) FROM (SELECT FROM orch.job WHERE state = 'queued' LIMIT 10000) s),
    'running', (SELECT count(*) FROM orch.job WHERE state = 'running'),
    'later', (SELECT count(*) FROM (SELECT FROM orch.job_later LIMIT 10000) s),
    'counted_up_to', 10000,
    'oldest_queued_ms', (SELECT (date_part('epoch', now() - min(s.enqueued_at)) * 1000)::bigint FROM (
      SELECT enqueued_at FROM orch.job WHERE state = 'queued' LIMIT 10000) s),
    'oldest_due_ms', (SELECT greatest(0, date_part('epoch', now() - min(due_at)) * 1000)::bigint FROM orch.job_later),
    'unservable', (SELECT count(*) FROM orch.job_class c
      WHERE EXISTS (SELECT FROM orch.job j WHERE j.class_id = c.id AND j.state = 'queued')
        AND NOT EXISTS (SELECT FROM orch.worker w WHERE w.state = 'active' AND c.id = ANY (w.classes))),
    'workers', (SELECT coalesce(jsonb_object_agg(s.state, s.n), '{}') FROM (
      SELECT state, count(*) AS n FROM orch.worker WHERE state <> 'stopped' GROUP BY state) s),
    'wishes', (SELECT count(*) FROM orch.job_cancel))
$$;
