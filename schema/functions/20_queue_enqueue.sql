-- Putting jobs in: now, for later, many at once; and moving what has become due to where claims look.

-- Wakes the workers when this transaction commits, at most once per cool-down over all connections. A hint: what a
-- missed one costs is a worker's next look, a cool-down after its last wake-up, or its poll.
CREATE OR REPLACE FUNCTION orch.queue_wake() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  c_cooldown_ms CONSTANT bigint := 4;
  v_now_ms bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
  v_last_ms bigint := coalesce(pg_sequence_last_value('orch.queue_woken'), 0);
BEGIN
  -- A clock that was set back must not silence the queue.
  IF v_now_ms - v_last_ms BETWEEN 0 AND c_cooldown_ms - 1 THEN RETURN; END IF;
  PERFORM setval('orch.queue_woken', v_now_ms), pg_notify('orch_jobs', '');
END $$;

-- The class of a need, made on first sight. {cpu, memory_bytes, gpu, labels}, each optional.
CREATE OR REPLACE FUNCTION orch.queue_class(p_resources jsonb) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
  v_labels text[];
  v_cpu numeric := coalesce((p_resources->>'cpu')::numeric, 1);
  v_memory bigint := coalesce((p_resources->>'memory_bytes')::bigint, 0);
  v_gpu int := coalesce((p_resources->>'gpu')::int, 0);
  v_id int;
BEGIN
  IF jsonb_typeof(p_resources->'labels') = 'array' THEN
    SELECT array_agg(DISTINCT l ORDER BY l) INTO v_labels FROM jsonb_array_elements_text(p_resources->'labels') l;
  END IF;
  v_labels := coalesce(v_labels, '{}');
  IF v_cpu < 0 OR v_memory < 0 OR v_gpu < 0 OR v_cpu = 'NaN' THEN
    RAISE EXCEPTION 'resources must not be negative' USING ERRCODE = 'OR003';
  END IF;
  SELECT id INTO v_id FROM orch.job_class
   WHERE labels = v_labels AND cpu = v_cpu AND memory_bytes = v_memory AND gpu = v_gpu;
  IF FOUND THEN RETURN v_id; END IF;
  -- A worker that registers now must see the class, or this must see the worker.
  PERFORM pg_advisory_xact_lock(hashtext('orch.job_class'));
  INSERT INTO orch.job_class (labels, cpu, memory_bytes, gpu) VALUES (v_labels, v_cpu, v_memory, v_gpu)
    ON CONFLICT (labels, cpu, memory_bytes, gpu) DO NOTHING RETURNING id INTO v_id;
  IF v_id IS NULL THEN
    SELECT id INTO STRICT v_id FROM orch.job_class
     WHERE labels = v_labels AND cpu = v_cpu AND memory_bytes = v_memory AND gpu = v_gpu;
    RETURN v_id;
  END IF;
  UPDATE orch.worker w SET classes = w.classes || v_id
   WHERE w.state <> 'stopped' AND v_labels <@ w.labels AND v_cpu <= w.cpu AND v_memory <= w.memory_bytes
     AND v_gpu <= w.gpu;
  RETURN v_id;
END $$;

-- Puts one job into the queue and returns its id. p_retry = {limit, backoff_ms, max_ms}. With p_due_at in the future
-- the job waits apart. Higher p_priority runs first.
CREATE OR REPLACE FUNCTION orch.job_enqueue(
  p_pipeline_id bigint, p_proposal_id bigint, p_step text, p_role text, p_subject text DEFAULT NULL,
  p_priority int DEFAULT 0, p_resources jsonb DEFAULT NULL, p_timeout_ms bigint DEFAULT 1800000,
  p_retry jsonb DEFAULT NULL, p_due_at timestamptz DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN orch.job_enqueue_many(p_pipeline_id, p_proposal_id, ARRAY[p_step], p_role, p_subject, p_priority, p_resources,
                               p_timeout_ms, p_retry, p_due_at);
END $$;

-- Puts one job per element of p_steps into the queue, alike in all else; returns the first id. The ids follow each
-- other only if nobody else enqueued meanwhile.
CREATE OR REPLACE FUNCTION orch.job_enqueue_many(
  p_pipeline_id bigint, p_proposal_id bigint, p_steps text[], p_role text, p_subject text DEFAULT NULL,
  p_priority int DEFAULT 0, p_resources jsonb DEFAULT NULL, p_timeout_ms bigint DEFAULT 1800000,
  p_retry jsonb DEFAULT NULL, p_due_at timestamptz DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_class int := orch.queue_class(p_resources);
  v_limit int := coalesce((p_retry->>'limit')::int, 0);
  v_backoff_ms bigint := coalesce((p_retry->>'backoff_ms')::bigint, 10000);
  v_max_ms bigint := coalesce((p_retry->>'max_ms')::bigint, 600000);
  v_first bigint;
  v_tag bigint;
  v_cost_ms int;
BEGIN
  IF p_pipeline_id IS NULL OR cardinality(p_steps) NOT BETWEEN 1 AND 100000 OR
     p_role NOT IN ('train', 'step', 'evaluate') OR p_subject NOT IN ('candidate', 'champion')
     OR p_priority NOT BETWEEN -1000 AND 1000
     OR p_timeout_ms NOT BETWEEN 1 AND 2592000000 OR v_limit NOT BETWEEN 0 AND 1000
     OR v_backoff_ms NOT BETWEEN 0 AND 86400000 OR v_max_ms NOT BETWEEN 0 AND 86400000 THEN
    RAISE EXCEPTION 'job of pipeline % is out of bounds', p_pipeline_id USING ERRCODE = 'OR003',
      HINT = 'role train, step or evaluate; priority -1000..1000; timeout up to 30 days; retry limit up to 1000';
  END IF;
  IF p_due_at > now() THEN
    WITH i AS (
      INSERT INTO orch.job_later (due_at, pipeline_id, proposal_id, timeout_ms, class_id, backoff_ms, max_ms, rank,
                                  retry_limit, step, role, subject)
      SELECT p_due_at, p_pipeline_id, p_proposal_id, p_timeout_ms, v_class, v_backoff_ms, v_max_ms, -p_priority,
             v_limit, s, p_role, p_subject FROM unnest(p_steps) s RETURNING id)
    SELECT min(id) INTO v_first FROM i;
    RETURN v_first;
  END IF;
  SELECT l.tag, l.cost_ms INTO v_tag, v_cost_ms
    FROM orch.queue_lane_take(p_pipeline_id, v_class, (-p_priority)::smallint, cardinality(p_steps)) l;
  IF cardinality(p_steps) = 1 THEN
    INSERT INTO orch.job (pipeline_id, proposal_id, tag, timeout_ms, class_id, cost_ms, backoff_ms, max_ms,
                          rank, retry_limit, step, role, subject)
    VALUES (p_pipeline_id, p_proposal_id, v_tag, p_timeout_ms, v_class, v_cost_ms, v_backoff_ms, v_max_ms,
            -p_priority, v_limit, p_steps[1], p_role, p_subject) RETURNING id INTO v_first;
  ELSE
    WITH i AS (
      INSERT INTO orch.job (pipeline_id, proposal_id, tag, timeout_ms, class_id, cost_ms, backoff_ms, max_ms,
                            rank, retry_limit, step, role, subject)
      SELECT p_pipeline_id, p_proposal_id, v_tag + (s.n - 1) * v_cost_ms, p_timeout_ms, v_class, v_cost_ms,
             v_backoff_ms, v_max_ms, -p_priority, v_limit, s.step, p_role, p_subject
        FROM unnest(p_steps) WITH ORDINALITY s(step, n) RETURNING id)
    SELECT min(id) INTO v_first FROM i;
  END IF;
  PERFORM orch.queue_wake();
  RETURN v_first;
END $$;

-- Moves up to p_limit jobs whose time has come to where claims look; returns how many. Safe to run anywhere, any
-- number of times. Only the pipelines are waited for, in the order of their ids: whoever enqueues for a pipeline by its
-- governance holds it, and takes its lanes in any order.
CREATE OR REPLACE FUNCTION orch.jobs_promote_due(p_limit int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
  v_ids bigint[];
  v_lane record;
  v_tag bigint;
  v_cost_ms int;
  v_moved int := 0;
BEGIN
  SELECT array_agg(s.id) INTO v_ids FROM (
    SELECT id FROM orch.job_later WHERE due_at <= now() ORDER BY due_at LIMIT p_limit FOR UPDATE SKIP LOCKED) s;
  IF v_ids IS NULL THEN RETURN 0; END IF;
  PERFORM orch.queue_lock_pipelines(ARRAY(SELECT pipeline_id FROM orch.job_later WHERE id = ANY (v_ids)));
  FOR v_lane IN
    SELECT pipeline_id, class_id, rank, array_agg(id ORDER BY due_at, id) AS ids FROM orch.job_later
     WHERE id = ANY (v_ids) GROUP BY pipeline_id, class_id, rank ORDER BY pipeline_id, class_id, rank
  LOOP
    SELECT l.tag, l.cost_ms INTO v_tag, v_cost_ms
      FROM orch.queue_lane_take(v_lane.pipeline_id, v_lane.class_id, v_lane.rank, cardinality(v_lane.ids)) l;
    WITH d AS (DELETE FROM orch.job_later WHERE id = ANY (v_lane.ids) RETURNING *)
    INSERT INTO orch.job (id, pipeline_id, proposal_id, lease, tag, timeout_ms, enqueued_at, class_id, cost_ms,
                          backoff_ms, max_ms, rank, attempt, retry_limit, step, role, subject)
    SELECT id, pipeline_id, proposal_id, lease, v_tag + (o.n - 1) * v_cost_ms, timeout_ms, enqueued_at, class_id,
           v_cost_ms, backoff_ms, max_ms, rank, attempt, retry_limit, step, role, subject
      FROM d JOIN unnest(v_lane.ids) WITH ORDINALITY o(id, n) USING (id);
    v_moved := v_moved + cardinality(v_lane.ids);
  END LOOP;
  PERFORM orch.queue_wake();
  RETURN v_moved;
END $$;
