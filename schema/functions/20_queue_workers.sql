-- Workers: coming, staying, going; and giving back what they hold.

-- The classes that a worker of this size and these labels could run if it were empty.
CREATE OR REPLACE FUNCTION orch.queue_classes_for(p_labels text[], p_cpu numeric, p_memory_bytes bigint, p_gpu int)
RETURNS int[] LANGUAGE sql STABLE AS $$
  SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM orch.job_class
   WHERE labels <@ p_labels AND cpu <= p_cpu AND memory_bytes <= p_memory_bytes AND gpu <= p_gpu
$$;

-- Every start of a worker process is a new worker. Returns {worker, lease_ms, labels}: the id for all other calls.
CREATE OR REPLACE FUNCTION orch.worker_register(p_name text, p_host text, p_pid int, p_labels text[], p_cpu numeric,
  p_memory_bytes bigint, p_gpu int, p_slots int, p_lease_ms bigint) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_labels text[] := coalesce((SELECT array_agg(DISTINCT l ORDER BY l) FROM unnest(p_labels) l), '{}');
  v_id bigint;
BEGIN
  IF p_name IS NULL OR length(p_name) NOT BETWEEN 1 AND 200 OR length(p_host) > 255 OR cardinality(v_labels) > 64
     OR NOT p_cpu >= 0 OR p_cpu = 'NaN' OR p_memory_bytes < 0 OR p_gpu < 0 OR p_slots NOT BETWEEN 1 AND 10000
     OR p_lease_ms NOT BETWEEN 1000 AND 3600000 THEN
    RAISE EXCEPTION 'worker "%" is out of bounds', left(p_name, 200) USING ERRCODE = 'OR003',
      HINT = 'name up to 200 letters, up to 64 labels, 1 to 10000 slots, lease 1 s to 1 h';
  END IF;
  -- Against queue_class: either it sees this worker, or this sees its class.
  PERFORM pg_advisory_xact_lock(hashtext('orch.job_class'));
  INSERT INTO orch.worker (name, host, pid, labels, cpu, memory_bytes, gpu, slots, lease_ms, classes)
  VALUES (p_name, coalesce(p_host, ''), p_pid, v_labels, p_cpu, p_memory_bytes, p_gpu, p_slots, p_lease_ms,
          orch.queue_classes_for(v_labels, p_cpu, p_memory_bytes, p_gpu))
  RETURNING id INTO v_id;
  RETURN jsonb_build_object('worker', v_id, 'lease_ms', p_lease_ms, 'labels', to_jsonb(v_labels));
END $$;

-- "I live, and hold these." One row changes, however many jobs. Returns {ok, cancels: [{job, lease}], lost: [{job,
-- lease}]}: what to stop, and what belongs to somebody else by now (stop it, and do not hand it in). ok is false when
-- the worker is unknown or was stopped: it must register again.
CREATE OR REPLACE FUNCTION orch.worker_heartbeat(p_worker bigint, p_jobs bigint[], p_leases bigint[],
  p_free jsonb DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
  v_cancels jsonb;
  v_lost jsonb;
BEGIN
  UPDATE orch.worker SET heartbeat_at = now(), state = 'active', free = p_free
   WHERE id = p_worker AND state <> 'stopped';
  IF NOT FOUND THEN RETURN '{"ok": false, "cancels": [], "lost": []}'; END IF;
  IF cardinality(p_jobs) > 0 THEN
    SELECT jsonb_agg(jsonb_build_object('job', h.job, 'lease', h.lease)) FILTER (WHERE j.id IS NULL),
           jsonb_agg(jsonb_build_object('job', h.job, 'lease', h.lease)) FILTER (WHERE j.id IS NOT NULL AND
             EXISTS (SELECT FROM orch.job_cancel c WHERE c.job_id = h.job))
      INTO v_lost, v_cancels
      FROM unnest(p_jobs, p_leases) h(job, lease)
      LEFT JOIN orch.job j ON j.id = h.job AND j.lease = h.lease AND j.state = 'running' AND j.worker_id = p_worker;
  END IF;
  RETURN jsonb_build_object('ok', true, 'cancels', coalesce(v_cancels, '[]'), 'lost', coalesce(v_lost, '[]'));
END $$;

-- Gives running jobs back to the queue, at the place they had. An attempt that its worker hands back does not count;
-- one that a silent worker took away does, and ends the job as failed when none remain. Returns how many were requeued.
CREATE OR REPLACE FUNCTION orch.queue_give_back(p_jobs bigint[], p_outcome text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
  j orch.job;
  v_back int := 0;
BEGIN
  FOR j IN SELECT * FROM orch.job WHERE id = ANY (p_jobs) AND state = 'running' ORDER BY pipeline_id, id
           FOR UPDATE SKIP LOCKED LOOP
    IF EXISTS (SELECT FROM orch.job_cancel WHERE job_id = j.id) THEN
      DELETE FROM orch.job WHERE id = j.id AND state = 'running';
      PERFORM orch.queue_end(j, 'cancelled', NULL, nullif(p_outcome, 'handed back'));
    ELSIF p_outcome = 'silent worker' AND j.attempt > j.retry_limit THEN
      DELETE FROM orch.job WHERE id = j.id AND state = 'running';
      PERFORM orch.queue_end(j, 'failed', '{"error": "the worker fell silent, and no attempt is left"}', p_outcome);
    ELSE
      UPDATE orch.job SET state = 'queued', lease = nextval('orch.job_lease'), worker_id = NULL, claimed_at = NULL, deadline_at = NULL, progress = NULL,
             progress_text = NULL, attempt = j.attempt - (p_outcome = 'handed back')::int
       WHERE id = j.id AND state = 'running';
      INSERT INTO orch.job_attempt (job_id, lease, attempt, worker_id, outcome, claimed_at)
      VALUES (j.id, j.lease, j.attempt, j.worker_id, p_outcome, j.claimed_at);
      v_back := v_back + 1;
    END IF;
  END LOOP;
  IF v_back > 0 THEN PERFORM orch.queue_wake(); END IF;
  RETURN v_back;
END $$;

-- Gives one job back without burning an attempt: 'ok' or 'lease_lost'.
CREATE OR REPLACE FUNCTION orch.job_release(p_worker bigint, p_job bigint, p_lease bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
  PERFORM FROM orch.job WHERE id = p_job AND lease = p_lease AND state = 'running' AND worker_id = p_worker FOR UPDATE;
  IF NOT FOUND THEN RETURN 'lease_lost'; END IF;
  PERFORM orch.queue_give_back(ARRAY[p_job], 'handed back');
  RETURN 'ok';
END $$;

-- After a broken connection, and with no exchange under way: "these I hold, nothing else". What a lost answer had
-- granted goes back. Returns {ok, handed_back, cancels, lost} as a heartbeat does.
CREATE OR REPLACE FUNCTION orch.worker_resume(p_worker bigint, p_jobs bigint[], p_leases bigint[]) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
  v_beat jsonb := orch.worker_heartbeat(p_worker, p_jobs, p_leases);
  v_stray bigint[];
BEGIN
  SELECT array_agg(j.id) INTO v_stray FROM orch.job j
   WHERE j.state = 'running' AND j.worker_id = p_worker
     AND NOT EXISTS (SELECT FROM unnest(p_jobs, p_leases) h(job, lease) WHERE h.job = j.id AND h.lease = j.lease);
  RETURN v_beat || jsonb_build_object('handed_back', orch.queue_give_back(coalesce(v_stray, '{}'), 'handed back'));
END $$;

-- A worker leaves. What it still holds goes back without burning an attempt. Returns {handed_back}.
CREATE OR REPLACE FUNCTION orch.worker_stop(p_worker bigint) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
  UPDATE orch.worker SET state = 'stopped', heartbeat_at = now() WHERE id = p_worker AND state <> 'stopped';
  RETURN jsonb_build_object('handed_back', orch.queue_give_back(
    coalesce((SELECT array_agg(id) FROM orch.job WHERE state = 'running' AND worker_id = p_worker), '{}'),
    'handed back'));
END $$;
