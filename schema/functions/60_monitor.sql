-- The windows that monitors close over observations.

-- Rows have come to a stream: monitors whose next window is there now become due. Only such a window is worth waking a
-- server for.
CREATE OR REPLACE FUNCTION orch.monitors_wake(p_pipeline_id bigint, p_stream text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE orch.monitor m SET due_at = orch.clock() FROM orch.observation_stream s
    WHERE m.pipeline_id = p_pipeline_id AND m.stream = p_stream AND m.active AND m.version_id IS NOT NULL AND m.due_at IS NULL
      AND s.pipeline_id = p_pipeline_id AND s.stream = p_stream AND s.next_row - m.next_row >= m.window_rows;
  IF FOUND THEN PERFORM pg_notify('orch_serve', ''); END IF;
END $$;

-- Whether a window is due follows from the monitor and its stream, whoever moves the cursor, the reference or the rule.
CREATE OR REPLACE FUNCTION orch.monitor_is_due() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.due_at := CASE WHEN NEW.active AND NEW.version_id IS NOT NULL AND coalesce((
    SELECT s.next_row - NEW.next_row >= NEW.window_rows FROM orch.observation_stream s
    WHERE s.pipeline_id = NEW.pipeline_id AND s.stream = NEW.stream), false) THEN orch.clock() END;
  RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER monitor_is_due BEFORE INSERT OR UPDATE OF next_row, window_rows, active, version_id ON orch.monitor
  FOR EACH ROW EXECUTE FUNCTION orch.monitor_is_due();

-- Hands out due windows with a lease, one a monitor. `history`: results of the newest closed windows against the same
-- reference, newest first, at most 20.
CREATE OR REPLACE FUNCTION orch.monitor_claim(p_owner text, p_lease_ms bigint, p_limit int)
RETURNS TABLE (monitor_id bigint, lease bigint, pipeline text, pipeline_id bigint, monitor jsonb, version_id bigint, version int,
               profile bytea, from_row bigint, to_row bigint, history jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
#variable_conflict use_column
DECLARE v_now timestamptz := orch.clock();
BEGIN
  RETURN QUERY
  WITH due AS (
    SELECT m.id FROM orch.monitor m WHERE m.runner = 'window' AND m.active AND m.due_at <= v_now
      AND (m.lease_until IS NULL OR m.lease_until <= v_now)
    ORDER BY m.due_at, m.id LIMIT p_limit FOR UPDATE SKIP LOCKED
  ), taken AS (
    UPDATE orch.monitor m SET lease = nextval('orch.monitor_lease'), lease_owner = p_owner,
      lease_until = v_now + orch.ms_interval(p_lease_ms) FROM due WHERE m.id = due.id RETURNING m.*
  )
  SELECT t.id, t.lease, p.name, p.id, t.spec, v.id, v.number, v.profile, t.next_row, t.next_row + t.window_rows,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('from_row', w.from_row, 'to_row', w.to_row, 'verdict', w.verdict, 'result', w.result)
                               ORDER BY w.from_row DESC), '[]')
     FROM (SELECT * FROM orch.monitor_window x WHERE x.monitor_id = t.id AND x.version_id = t.version_id
           ORDER BY x.from_row DESC LIMIT 20) w)
  FROM taken t JOIN orch.pipeline p ON p.id = t.pipeline_id JOIN orch.version v ON v.id = t.version_id ORDER BY t.id;
END $$;

-- Whole batches that overlap rows [p_from, p_to).
CREATE OR REPLACE FUNCTION orch.observations_read(p_pipeline_id bigint, p_from bigint, p_to bigint)
RETURNS TABLE (first_row bigint, n_rows int, body bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
  SELECT b.first_row, b.n_rows, b.body FROM orch.observation_batch b
  WHERE b.pipeline_id = p_pipeline_id AND b.stream = 'rows' AND b.first_row < p_to
    AND b.first_row >= coalesce((SELECT max(c.first_row) FROM orch.observation_batch c
                                 WHERE c.pipeline_id = p_pipeline_id AND c.stream = 'rows' AND c.first_row <= p_from), p_from)
    AND b.first_row + b.n_rows > p_from
  ORDER BY b.first_row
$$;

-- Closes a window exactly once: records it, moves the cursor and hands its signals in, in one transaction.
-- p_result carries {verdict, …}. OR004 when the lease passed on or the cursor has moved (a promotion, an apply).
CREATE OR REPLACE FUNCTION orch.window_close(p_monitor_id bigint, p_lease bigint, p_from_row bigint, p_to_row bigint,
  p_result jsonb, p_signals jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  p     orch.pipeline;
  m     orch.monitor;
  v_out jsonb := '[]';
  s     jsonb;
BEGIN
  SELECT * INTO m FROM orch.monitor WHERE id = p_monitor_id;
  IF NOT FOUND THEN PERFORM orch.fail('OR001', format('there is no monitor %s', p_monitor_id)); END IF;
  PERFORM orch.act('monitor:' || m.name);
  p := orch.pipeline_lock_id(m.pipeline_id);
  SELECT * INTO STRICT m FROM orch.monitor WHERE id = p_monitor_id FOR UPDATE;
  IF m.lease IS DISTINCT FROM p_lease OR m.next_row <> p_from_row THEN
    PERFORM orch.fail('OR004', format('the window of monitor %s is not ours any more', m.name));
  END IF;
  INSERT INTO orch.monitor_window (monitor_id, number, from_row, to_row, rows, version_id, verdict, result, closed_at)
    VALUES (m.id, m.number + 1, p_from_row, p_to_row, p_to_row - p_from_row, m.version_id, p_result ->> 'verdict', p_result, orch.clock());
  UPDATE orch.monitor SET number = m.number + 1, next_row = p_to_row, lease = NULL, lease_owner = NULL, lease_until = NULL WHERE id = m.id;
  FOR s IN SELECT jsonb_array_elements(coalesce(p_signals, '[]')) LOOP
    v_out := v_out || jsonb_build_array(orch.signal_take(p, s));
  END LOOP;
  RETURN jsonb_build_object('closed', true, 'dispositions', v_out);
END $$;

-- Duty: forgets what has served its time. -> counts
CREATE OR REPLACE FUNCTION orch.housekeeping() RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  v_now     timestamptz := orch.clock(); -- read once: a condition with a volatile function cannot use an index
  v_replay  bigint;
  v_outbox  bigint;
BEGIN
  WITH gone AS (DELETE FROM orch.replay WHERE (scope, key) IN (
      SELECT scope, key FROM orch.replay WHERE expires_at <= v_now LIMIT 5000) RETURNING 1)
    SELECT count(*) INTO v_replay FROM gone;
  WITH gone AS (DELETE FROM orch.outbox WHERE id IN (
      SELECT id FROM orch.outbox WHERE state = 'delivered' AND ended_at < v_now - interval '30 days' LIMIT 5000) RETURNING 1)
    SELECT count(*) INTO v_outbox FROM gone;
  RETURN jsonb_build_object('replay', v_replay, 'outbox', v_outbox, 'workers', orch.workers_forget(1000),
      'sessions', orch.sessions_forget(5000))
    || orch.observations_forget();
END $$;
