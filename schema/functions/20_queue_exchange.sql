-- What a worker does all day: hand in what ended (20_queue_finish.sql), take what is next, in one statement and one
-- transaction.

-- Where a worker of several classes goes on: the class with the best head (its place n in p_classes), and the head of
-- the next best as the bound up to which that class comes first. NULL when nothing waits.
CREATE OR REPLACE FUNCTION orch.queue_next_class(p_classes int[], p_from orch.queue_place[], OUT n int,
                                                 OUT until orch.queue_place) LANGUAGE plpgsql AS $$
DECLARE
  r record;
BEGIN
  SELECT s.n, s.until INTO r FROM (
    SELECT c.n, h.rank, h.tag, h.id,
           lead((h.rank, h.tag, h.id)::orch.queue_place) OVER (ORDER BY h.rank, h.tag, h.id) AS until
      FROM unnest(p_classes, p_from) WITH ORDINALITY c(class, rank, tag, id, n)
     CROSS JOIN LATERAL (
       SELECT j.rank, j.tag, j.id FROM orch.job j
        WHERE j.class_id = c.class AND j.state = 'queued' AND (j.rank, j.tag, j.id) >= (c.rank, c.tag, c.id)
        ORDER BY j.rank, j.tag, j.id LIMIT 1) h) s
   ORDER BY s.rank, s.tag, s.id LIMIT 1;
  n := r.n;
  until := r.until;
END $$;

-- Gives the class's next job between two places to the worker. Leases are drawn while the row is locked: a later claim
-- of it draws a greater one. The grant's job is NULL when there is none.
CREATE OR REPLACE FUNCTION orch.queue_take_one(p_worker bigint, p_class int, p_from orch.queue_place,
                                               p_until orch.queue_place) RETURNS orch.job_grant LANGUAGE plpgsql AS $$
DECLARE
  r orch.job_grant;
  v_row tid;
  v_tag bigint;
BEGIN
  IF p_until IS NULL THEN
    SELECT q.ctid, q.tag INTO v_row, v_tag FROM orch.job q WHERE q.class_id = p_class AND q.state = 'queued'
     ORDER BY q.rank, q.tag, q.id LIMIT 1 FOR UPDATE SKIP LOCKED;
  ELSE
    SELECT q.ctid, q.tag INTO v_row, v_tag FROM orch.job q
     WHERE q.class_id = p_class AND q.state = 'queued' AND (q.rank, q.tag, q.id) >= (p_from.rank, p_from.tag, p_from.id)
       AND (q.rank, q.tag, q.id) < (p_until.rank, p_until.tag, p_until.id)
     ORDER BY q.rank, q.tag, q.id LIMIT 1 FOR UPDATE SKIP LOCKED;
  END IF;
  IF v_row IS NULL THEN RETURN NULL; END IF;
  UPDATE orch.job j
     SET state = 'running', lease = nextval('orch.job_lease'), worker_id = p_worker, attempt = j.attempt + 1,
         claimed_at = now(), deadline_at = now() + (j.timeout_ms + 60000) * interval '1 ms'
   WHERE j.ctid = v_row
  RETURNING 'claimed', j.id, j.lease, j.attempt, j.timeout_ms, j.pipeline_id, j.proposal_id, j.step, j.role, j.subject,
            CASE WHEN j.proposal_id IS NOT NULL THEN orch.job_brief(j) END
    INTO r;
  PERFORM orch.queue_clock_advance(v_tag);
  RETURN r;
END $$;

-- Gives up to p_limit of the class's next jobs between two places to the worker; the grants come in no order.
CREATE OR REPLACE FUNCTION orch.queue_take(p_worker bigint, p_class int, p_from orch.queue_place,
                                           p_until orch.queue_place, p_limit int) RETURNS SETOF orch.job_grant
LANGUAGE plpgsql AS $$
DECLARE
  v_rows tid[];
  v_tag bigint;
BEGIN
  SELECT array_agg(s.ctid), max(s.tag) INTO v_rows, v_tag FROM (
    SELECT q.ctid, q.tag FROM orch.job q
     WHERE q.class_id = p_class AND q.state = 'queued' AND (q.rank, q.tag, q.id) >= (p_from.rank, p_from.tag, p_from.id)
       AND (q.rank, q.tag, q.id) < (p_until.rank, p_until.tag, p_until.id)
     ORDER BY q.rank, q.tag, q.id LIMIT p_limit FOR UPDATE SKIP LOCKED) s;
  IF v_rows IS NULL THEN RETURN; END IF;
  RETURN QUERY
    UPDATE orch.job j
       SET state = 'running', lease = nextval('orch.job_lease'), worker_id = p_worker, attempt = j.attempt + 1,
           claimed_at = now(), deadline_at = now() + (j.timeout_ms + 60000) * interval '1 ms'
     WHERE j.ctid = ANY (v_rows)
    RETURNING 'claimed', j.id, j.lease, j.attempt, j.timeout_ms, j.pipeline_id, j.proposal_id, j.step, j.role,
              j.subject, CASE WHEN j.proposal_id IS NOT NULL THEN orch.job_brief(j) END;
  PERFORM orch.queue_clock_advance(v_tag);
END $$;

-- Hands in what ended and takes what is next, in one transaction. One row per finished job, 'ok', 'retry' (it will run
-- again) or 'lease_lost' (nothing changed: the job is not this worker's any more), and one 'claimed' row per job taken,
-- in no order. A slot is free only when this has answered.
--
-- Taken are the next jobs, by priority, fairness tag and id, among all that the worker could run if it were empty, up
-- to p_slots and as long as they fit what is free ({cpu, memory_bytes, gpu}; NULL: only slots count). The first that
-- does not fit ends the claim, so a big job is never overtaken for ever by small ones.
--
-- Each class has its own ordered stretch of the index. For a worker of several classes the heads are merged: from the
-- class with the best head, take what stands before the second-best head; then look again. So only rows that are taken
-- are ever locked, and a row that another worker is just taking is stepped over.
CREATE OR REPLACE FUNCTION orch.job_exchange(p_worker bigint, p_jobs bigint[], p_leases bigint[], p_states text[],
  p_results jsonb[], p_slots int, p_free jsonb DEFAULT NULL) RETURNS SETOF orch.job_grant
-- Plans must not depend on when they were made: the table is empty or huge within minutes.
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  c_start CONSTANT orch.queue_place := (-32768, 0, 0);
  c_end CONSTANT orch.queue_place := (32767, 0, 0);
  v_cpu numeric := (p_free->>'cpu')::numeric;
  v_memory bigint := (p_free->>'memory_bytes')::bigint;
  v_gpu int := (p_free->>'gpu')::int;
  v_left int := p_slots;
  v_classes int[];
  v_from orch.queue_place[];  -- per class: where the claim has not looked yet
  v_next record;
  v_need record;              -- of the class at hand
  v_fit int;
  v_got int;
  r orch.job_grant;
BEGIN
  IF cardinality(p_jobs) = 1 AND cardinality(p_leases) = 1 AND coalesce(p_states[1], 'succeeded') = 'succeeded' THEN
    r.outcome := CASE WHEN orch.queue_succeed_one(p_worker, p_jobs[1], p_leases[1], p_results[1]) THEN 'ok'
                      ELSE 'lease_lost' END;
    r.job := p_jobs[1]; r.lease := p_leases[1];
    RETURN NEXT r;
  ELSIF cardinality(p_jobs) > 0 THEN
    RETURN QUERY SELECT * FROM orch.queue_finish(p_worker, p_jobs, p_leases, p_states, p_results);
  END IF;
  IF p_slots NOT BETWEEN 0 AND 10000 THEN
    RAISE EXCEPTION 'cannot claim % jobs at once', p_slots USING ERRCODE = 'OR003', HINT = '0 to 10000';
  END IF;
  IF coalesce(p_slots, 0) = 0 THEN RETURN; END IF;
  SELECT w.classes, c.* INTO v_need FROM orch.worker w LEFT JOIN orch.job_class c ON c.id = w.classes[1]
   WHERE w.id = p_worker AND w.state = 'active';
  IF NOT FOUND THEN
    IF cardinality(p_jobs) > 0 THEN RETURN; END IF; -- given up on: it may still hand in, and not take
    RAISE EXCEPTION 'worker % is not active', p_worker USING ERRCODE = 'OR004',
      HINT = 'after a heartbeat it is active again; after a stop it must register';
  END IF;
  v_classes := v_need.classes;
  IF cardinality(v_classes) > 1 THEN v_from := array_fill(c_start, ARRAY[cardinality(v_classes)]); END IF;
  WHILE v_left > 0 LOOP
    IF v_from IS NOT NULL THEN
      v_next := orch.queue_next_class(v_classes, v_from);
      EXIT WHEN v_next.n IS NULL;
      SELECT v_classes AS classes, c.* INTO v_need FROM orch.job_class c WHERE c.id = v_classes[v_next.n];
    END IF;
    v_fit := v_left;
    IF p_free IS NOT NULL THEN
      v_fit := least(v_left, floor(v_cpu / nullif(v_need.cpu, 0)), v_memory / nullif(v_need.memory_bytes, 0),
                     v_gpu / nullif(v_need.gpu, 0));
      EXIT WHEN v_fit <= 0;
    END IF;
    v_got := 0;
    IF v_fit = 1 THEN
      IF v_from IS NULL THEN
        r := orch.queue_take_one(p_worker, v_need.id, NULL, NULL);
      ELSE
        r := orch.queue_take_one(p_worker, v_need.id, v_from[v_next.n], coalesce(v_next.until, c_end));
      END IF;
      IF r.job IS NOT NULL THEN
        RETURN NEXT r;
        v_got := 1;
      END IF;
    ELSIF v_from IS NULL THEN
      RETURN QUERY SELECT * FROM orch.queue_take(p_worker, v_need.id, c_start, c_end, v_fit);
      GET DIAGNOSTICS v_got = ROW_COUNT;
    ELSE
      RETURN QUERY SELECT * FROM orch.queue_take(p_worker, v_need.id, v_from[v_next.n], coalesce(v_next.until, c_end),
                                                 v_fit);
      GET DIAGNOSTICS v_got = ROW_COUNT;
    END IF;
    EXIT WHEN v_from IS NULL;
    EXIT WHEN v_next.until IS NULL;
    v_left := v_left - v_got;
    v_cpu := v_cpu - v_need.cpu * v_got;
    v_memory := v_memory - v_need.memory_bytes * v_got;
    v_gpu := v_gpu - v_need.gpu * v_got;
    IF v_got < v_fit THEN v_from[v_next.n] := v_next.until; END IF;
  END LOOP;
END $$;

-- Hands in one job that succeeded and takes one: what a busy worker does all day, so without the weight of arrays and
-- batches. Answers as job_exchange does, with which it agrees in everything; whatever is not the plain case goes there.
--
-- The plain case: all that the worker can run needs the same as the job that ends. Then the next fits where that one was,
-- whatever else runs, and stands at the head of one stretch of the index. So p_free, JSON as for job_exchange, is a text:
-- in the plain case nobody reads it.
--
-- Written for what PostgreSQL does at every call (docs/performance.md has the instructions that each piece costs):
-- setting up a statement is dearer than running it, so statements are few and return few columns; an expression is as
-- dear as a column, so the rare duties share one condition.
CREATE OR REPLACE FUNCTION orch.job_swap(p_worker bigint, p_job bigint, p_lease bigint, p_result jsonb, p_free text DEFAULT NULL)
RETURNS SETOF orch.job_grant LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  v_pipeline bigint;
  v_proposal bigint;
  v_enqueued timestamptz;
  v_claimed timestamptz;
  v_class int;
  v_rank smallint;
  v_attempt smallint;
  v_step text;
  v_role text;
  v_subject text;
  v_duties boolean;
  r orch.job_grant;
BEGIN
  DELETE FROM orch.job q WHERE q.id = p_job AND q.state = 'running' AND q.lease = p_lease AND q.worker_id = p_worker
    RETURNING q.pipeline_id, q.proposal_id, q.enqueued_at, q.claimed_at, q.class_id, q.rank, q.attempt, q.step, q.role, q.subject,
              q.proposal_id IS NOT NULL OR q.claimed_at <= now() - interval '1 s' OR random() < 0.0625
    INTO v_pipeline, v_proposal, v_enqueued, v_claimed, v_class, v_rank, v_attempt, v_step, v_role, v_subject, v_duties;
  IF NOT FOUND THEN
    RETURN QUERY SELECT * FROM orch.job_exchange(p_worker, ARRAY[p_job], ARRAY[p_lease], NULL, ARRAY[p_result], 1, p_free::jsonb);
    RETURN;
  END IF;
  INSERT INTO orch.job_history (id, pipeline_id, proposal_id, lease, worker_id, enqueued_at, claimed_at, class_id, rank,
                                attempt, state, step, role, subject, result)
  VALUES (p_job, v_pipeline, v_proposal, p_lease, p_worker, v_enqueued, v_claimed, v_class, v_rank,
          v_attempt, 'succeeded', v_step, v_role, v_subject, p_result);
  IF v_duties THEN
    PERFORM orch.queue_lane_learn(v_pipeline, v_class, v_rank, 1, date_part('epoch', now() - v_claimed) * 1000);
    IF v_proposal IS NOT NULL THEN
      PERFORM orch.proposal_on_job(v_proposal, p_job, v_step, v_role, v_subject, 'succeeded', p_result);
    END IF;
  END IF;
  RETURN NEXT ('ok', p_job, p_lease, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)::orch.job_grant;
  PERFORM FROM orch.worker w WHERE w.id = p_worker AND w.state = 'active' AND w.classes = ARRAY[v_class];
  IF FOUND THEN
    UPDATE orch.job q
       SET state = 'running', lease = nextval('orch.job_lease'), worker_id = p_worker, attempt = q.attempt + 1,
           claimed_at = now(), deadline_at = now() + (q.timeout_ms + 60000) * interval '1 ms'
     WHERE q.ctid = (SELECT n.ctid FROM orch.job n WHERE n.class_id = v_class AND n.state = 'queued'
                      ORDER BY n.rank, n.tag, n.id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING 'claimed', q.id, q.lease, q.attempt, q.timeout_ms, q.pipeline_id, q.proposal_id, q.step, q.role, q.subject,
              CASE WHEN q.proposal_id IS NOT NULL THEN orch.job_brief(q) END
      INTO r;
    IF FOUND THEN
      -- The clock is a hint and may lag; behind jobs of a second and more, or of a proposal, it does not.
      IF v_duties THEN
        PERFORM orch.queue_clock_advance((SELECT q.tag FROM orch.job q WHERE q.id = r.job AND q.state = 'running'));
      END IF;
      RETURN NEXT r;
      RETURN;
    END IF;
  ELSIF NOT EXISTS (SELECT FROM orch.worker w WHERE w.id = p_worker AND w.state = 'active') THEN
    RETURN; -- given up on: it may still hand in, and not take
  END IF;
  -- Several classes; or nothing waits; or the row changed between the look and the lock, and a new look sees it.
  RETURN QUERY SELECT * FROM orch.job_exchange(p_worker, NULL, NULL, NULL, NULL, 1, p_free::jsonb);
END $$;

CREATE OR REPLACE FUNCTION orch.job_claim(p_worker bigint, p_slots int, p_free jsonb DEFAULT NULL)
RETURNS SETOF orch.job_grant LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY SELECT * FROM orch.job_exchange(p_worker, NULL, NULL, NULL, NULL, p_slots, p_free);
END $$;

-- Says how far a running job is: 'ok', 'cancel' (somebody wants it stopped) or 'lease_lost'.
CREATE OR REPLACE FUNCTION orch.job_progress(p_job bigint, p_lease bigint, p_fraction real, p_text text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
  UPDATE orch.job SET progress = least(greatest(p_fraction, 0), 1), progress_text = left(p_text, 200)
   WHERE id = p_job AND lease = p_lease AND state = 'running';
  IF NOT FOUND THEN RETURN 'lease_lost'; END IF;
  RETURN CASE WHEN EXISTS (SELECT FROM orch.job_cancel WHERE job_id = p_job) THEN 'cancel' ELSE 'ok' END;
END $$;
