-- Lanes: who comes next among equals. Start-time fair queueing: a job's tag is where the lane of its pipeline, class and
-- priority ends, but not before those who wait with it; the lane then grows by what such a job usually costs in ms of
-- slot time. A thousand jobs of one pipeline take a thousand costs; the single job of another starts beside the first
-- that waits, so it is next. A pipeline has one share for each kind of job that it has.

-- Where the jobs of this class and priority are: the tag of the first that waits, NULL when none does. A job that was
-- given back keeps its place, which may be long past, so the first that was never claimed counts, among the first few.
CREATE OR REPLACE FUNCTION orch.queue_head_tag(p_class int, p_rank smallint) RETURNS bigint
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET jit = off AS $$
DECLARE
  v_tag bigint;
  v_lease bigint;
BEGIN
  FOR v_tag, v_lease IN SELECT j.tag, j.lease FROM orch.job j
                         WHERE j.class_id = p_class AND j.rank = p_rank AND j.state = 'queued'
                         ORDER BY j.tag, j.id LIMIT 16 LOOP
    EXIT WHEN v_lease = 0;
  END LOOP;
  RETURN v_tag;
END $$;

-- Takes p_count places in a lane: the first one's tag, and the distance to the next.
--
-- A newcomer starts at the clock. The clock is one for all and only grows: another priority, or a kind of job with faster
-- workers, may have carried it past those who wait here, and then it is they who say where the newcomer starts. Where
-- nobody waits the clock is right: it is past all that was ever taken, so nobody is held to what it used then.
CREATE OR REPLACE FUNCTION orch.queue_lane_take(p_pipeline_id bigint, p_class int, p_rank smallint, p_count int,
                                                OUT tag bigint, OUT cost_ms int)
LANGUAGE plpgsql AS $$
DECLARE
  v_clock bigint := coalesce(pg_sequence_last_value('orch.queue_clock'), 0);
BEGIN
  LOOP
    UPDATE orch.lane l
       SET end_tag = l.cost_ms::bigint * p_count + CASE WHEN l.end_tag >= v_clock THEN l.end_tag
             ELSE greatest(l.end_tag, least(v_clock, orch.queue_head_tag(p_class, p_rank))) END
     WHERE l.pipeline_id = p_pipeline_id AND l.class_id = p_class AND l.rank = p_rank
    RETURNING l.end_tag - l.cost_ms::bigint * p_count, l.cost_ms INTO tag, cost_ms;
    EXIT WHEN FOUND;
    -- A new lane. Its jobs cost what the pipeline's others do, until more is known.
    INSERT INTO orch.lane (pipeline_id, class_id, rank, cost_ms)
    SELECT p_pipeline_id, p_class, p_rank, coalesce(max(l.cost_ms), 1000) FROM orch.lane l
     WHERE l.pipeline_id = p_pipeline_id
    ON CONFLICT DO NOTHING;
  END LOOP;
END $$;

-- Moves the queue's virtual clock to what has just been taken; it never goes back.
CREATE OR REPLACE FUNCTION orch.queue_clock_advance(p_tag bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF p_tag > coalesce(pg_sequence_last_value('orch.queue_clock'), 0) THEN
    PERFORM setval('orch.queue_clock', p_tag);
  END IF;
END $$;

-- Learns what a job of this lane costs, when it differs from what the lane charged. Of jobs shorter than a second
-- one in sixteen is enough. Skips a lane that somebody holds (a sample is not worth a wait) and changes too small to
-- matter (so that a steady pipeline writes nothing).
CREATE OR REPLACE FUNCTION orch.queue_lane_learn(p_pipeline_id bigint, p_class int, p_rank smallint, p_count bigint,
                                                 p_slot_ms float8) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_old int := (SELECT cost_ms FROM orch.lane WHERE pipeline_id = p_pipeline_id AND class_id = p_class AND rank = p_rank);
  v_new int := least(greatest(v_old + (p_slot_ms - v_old) * (1 - 0.8 ^ least(p_count, 20)), 1), 86400000);
BEGIN
  IF abs(v_new - v_old) * 50.0 <= v_old THEN RETURN; END IF;
  UPDATE orch.lane SET cost_ms = v_new
   WHERE ctid = (SELECT ctid FROM orch.lane WHERE pipeline_id = p_pipeline_id AND class_id = p_class AND rank = p_rank
                    FOR NO KEY UPDATE SKIP LOCKED);
END $$;
