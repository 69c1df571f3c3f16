-- How windows close: what came of them is kept once, and what they say is handed in with it.

-- How many of a monitor's newest windows are kept.
CREATE OR REPLACE FUNCTION orch.windows_kept() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 500';

-- Where windows by time go on after p_end: at p_next, when the closer has seen that its batches hold no row in between, or
-- earlier, when other batches might.
CREATE OR REPLACE FUNCTION orch.window_skip(p_pipeline_id bigint, p_stream text, p_ms bigint, p_seen_row bigint, p_end timestamptz, p_next timestamptz)
RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF p_next IS NULL OR p_end IS NULL OR p_next <= p_end THEN RETURN coalesce(p_end, p_next); END IF;
  RETURN (SELECT least(p_next, orch.window_floor(min(CASE WHEN b.min_at >= p_end THEN b.min_at WHEN b.first_row >= p_seen_row THEN p_end END), p_ms))
          FROM orch.observation_batch b WHERE b.pipeline_id = p_pipeline_id AND b.stream = p_stream AND b.max_at >= p_end);
END $$;

-- Closes many windows in one transaction, each monitor's exactly once. p_items: [{"monitor", "lease", "number" (as they
-- were claimed), "next_row", "end_us"? (by time: the end of the last window), "next_us"? (the first window behind it that the
-- closer knows to have rows), "state", "latest"?, "windows": [{"from_row",
-- "to_row", "from_us"?, "to_us"?, "rows", "verdict", "result"}], "signals": […]}]; windows in their order, and what a
-- window says is handed in with it. A monitor whose lease has passed on, or whose reference or rule has changed since,
-- is refused by itself; so is one that fails, and the others close.
-- -> {"items": [{"monitor", "closed": n, "signals": [disposition, …]} | {"monitor", "code", "error"}]}
CREATE OR REPLACE FUNCTION orch.windows_close(p_items jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  v_monitors bigint[];
  v_quiet    bigint[];
  p          orch.pipeline;
  r          record;
  v_answer   jsonb;
  v_out      text[];
BEGIN
  v_monitors := ARRAY(SELECT (i ->> 'monitor')::bigint FROM jsonb_array_elements(p_items) i);
  PERFORM orch.queue_lock_pipelines(ARRAY(SELECT DISTINCT pipeline_id FROM orch.monitor WHERE id = ANY (v_monitors)));
  PERFORM FROM orch.observation_stream WHERE (pipeline_id, stream) IN (SELECT pipeline_id, stream FROM orch.monitor WHERE id = ANY (v_monitors))
    ORDER BY pipeline_id, stream DESC FOR SHARE;
  -- Most windows have nothing to say: those close in two statements, however many they are.
  BEGIN
    v_quiet := orch.windows_close_quiet(p_items, v_monitors);
  EXCEPTION WHEN OTHERS THEN
    v_quiet := '{}'; -- one of them is bad, and is found below
  END;
  -- Broken data are told before drift, so that the fault holds back what comes with it.
  FOR r IN SELECT i AS item, m.id, m.pipeline_id FROM jsonb_array_elements(p_items) i LEFT JOIN orch.monitor m ON m.id = (i ->> 'monitor')::bigint
           WHERE (m.id = ANY (v_quiet)) IS NOT TRUE ORDER BY m.pipeline_id, m.kind <> 'quality', m.id LOOP
    BEGIN
      IF r.id IS NULL THEN PERFORM orch.fail('OR001', 'there is no such monitor'); END IF;
      IF p.id IS DISTINCT FROM r.pipeline_id THEN SELECT * INTO STRICT p FROM orch.pipeline WHERE id = r.pipeline_id; END IF;
      v_answer := orch.monitor_close(p, r.item);
    EXCEPTION WHEN OTHERS THEN
      v_answer := jsonb_build_object('monitor', r.item -> 'monitor', 'code', SQLSTATE, 'error', SQLERRM);
    END;
    v_out := v_out || v_answer::text;
  END LOOP;
  v_out := v_out || ARRAY(SELECT format('{"monitor": %s, "closed": %s, "signals": []}', i -> 'monitor', jsonb_array_length(i -> 'windows'))
                          FROM jsonb_array_elements(p_items) i WHERE (i ->> 'monitor')::bigint = ANY (v_quiet));
  RETURN format('{"items": [%s]}', array_to_string(v_out, ','));
END $$;

-- The items that are still ours and say nothing, all at once: a statement prepares the checks of its table anew, whatever
-- the number of its rows. The pipelines are locked. -> the monitors it was
CREATE OR REPLACE FUNCTION orch.windows_close_quiet(p_items jsonb, p_monitors bigint[]) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
  v_now   timestamptz := orch.clock();
  v_ids   bigint[];
  v_prune bigint[];
BEGIN
  PERFORM FROM orch.monitor WHERE id = ANY (p_monitors) ORDER BY id FOR NO KEY UPDATE;
  v_ids := ARRAY(SELECT m.id FROM jsonb_to_recordset(p_items) AS i(monitor bigint, lease bigint, number bigint, signals jsonb)
    JOIN orch.monitor m ON m.id = i.monitor WHERE m.lease = i.lease AND m.number = i.number AND m.kind <> 'performance' AND i.signals = '[]');
  INSERT INTO orch.monitor_window (monitor_id, number, from_row, to_row, from_at, to_at, rows, version_id, verdict, result, closed_at)
    SELECT m.id, m.number + w.n, w.from_row, w.to_row, orch.us_time(w.from_us), orch.us_time(w.to_us), w.rows, m.version_id, w.verdict, w.result, v_now
    FROM jsonb_to_recordset(p_items) AS i(monitor bigint, windows jsonb) JOIN orch.monitor m ON m.id = i.monitor,
      LATERAL ROWS FROM (jsonb_to_recordset(i.windows) AS (from_row bigint, to_row bigint, from_us bigint, to_us bigint, rows bigint, verdict text,
        result jsonb)) WITH ORDINALITY AS w(from_row, to_row, from_us, to_us, rows, verdict, result, n)
    WHERE m.id = ANY (v_ids);
  WITH moved AS (
    UPDATE orch.monitor m SET number = m.number + jsonb_array_length(i.windows), next_row = i.next_row, window_from = i.at,
        state = i.state, latest = coalesce(i.latest, m.latest), lease = NULL, lease_owner = NULL, lease_until = NULL,
        due_at = orch.window_due(m.active AND m.version_id IS NOT NULL, m.window_rows, i.next_row, m.window_ms, m.lateness_ms, i.at, s, v_now)
      FROM (SELECT x.*, CASE WHEN x.end_us IS NOT NULL THEN (SELECT orch.window_skip(o.pipeline_id, o.stream, o.window_ms, x.next_row, orch.us_time(x.end_us),
              orch.us_time(x.next_us)) FROM orch.monitor o WHERE o.id = x.monitor) END AS at
            FROM jsonb_to_recordset(p_items) AS x(monitor bigint, next_row bigint, end_us bigint, next_us bigint, state jsonb, latest jsonb, windows jsonb)) i,
        orch.observation_stream s
      WHERE m.id = i.monitor AND m.id = ANY (v_ids) AND s.pipeline_id = m.pipeline_id AND s.stream = m.stream
      RETURNING m.id, m.number, jsonb_array_length(i.windows) AS n)
    SELECT array_agg(id) INTO v_prune FROM moved WHERE number / 64 <> (number - n) / 64;
  IF v_prune IS NOT NULL THEN -- now and then, many at once
    DELETE FROM orch.monitor_window w USING orch.monitor m WHERE m.id = ANY (v_prune) AND w.monitor_id = m.id
      AND w.number <= m.number - orch.windows_kept();
  END IF;
  RETURN v_ids;
END $$;

-- What only the database knows of a newest result about labels: the share of the predictions that have none yet, among
-- those that its rows' predictions lie between (`prediction_rows`); at most the newest 100000 of them.
CREATE OR REPLACE FUNCTION orch.labels_missing_put(p_pipeline_id bigint, p_item jsonb) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE v_share float8;
BEGIN
  SELECT count(*) FILTER (WHERE NOT x.labelled)::float8 / nullif(count(*), 0) INTO v_share FROM (
    SELECT labelled FROM orch.prediction WHERE pipeline_id = p_pipeline_id
      AND row BETWEEN (p_item #>> '{latest,prediction_rows,0}')::bigint AND (p_item #>> '{latest,prediction_rows,1}')::bigint
      ORDER BY row DESC LIMIT 100000) x;
  IF v_share IS NULL THEN RETURN p_item; END IF;
  p_item := jsonb_set(p_item, '{latest,labels_missing}', to_jsonb(round(v_share::numeric, 6)));
  RETURN jsonb_set(p_item, '{latest,summary}', to_jsonb(format('%s; %s %% of the labels are still missing', p_item #>> '{latest,summary}',
    round(100 * v_share::numeric, 1))));
END $$;

CREATE OR REPLACE FUNCTION orch.monitor_close(p orch.pipeline, p_item jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  c_id      CONSTANT bigint := (p_item ->> 'monitor')::bigint;
  m         record;
  s         orch.observation_stream;
  v_now     timestamptz := orch.clock();
  v_count   int := jsonb_array_length(p_item -> 'windows');
  v_next    bigint := (p_item ->> 'next_row')::bigint;
  v_from    timestamptz;
  v_signal  jsonb;
  v_signals jsonb := '[]';
BEGIN
  SELECT name, kind, stream, lease, number, version_id, active, window_rows, window_ms, lateness_ms INTO STRICT m
    FROM orch.monitor WHERE id = c_id FOR NO KEY UPDATE;
  IF m.lease IS DISTINCT FROM (p_item ->> 'lease')::bigint OR m.number <> (p_item ->> 'number')::bigint THEN
    PERFORM orch.fail('OR004', format('the windows of monitor %s are not ours any more', m.name));
  END IF;
  v_from := orch.window_skip(p.id, m.stream, m.window_ms, v_next, orch.us_time((p_item ->> 'end_us')::bigint), orch.us_time((p_item ->> 'next_us')::bigint));
  IF m.kind = 'performance' THEN p_item := orch.labels_missing_put(p.id, p_item); END IF;
  INSERT INTO orch.monitor_window (monitor_id, number, from_row, to_row, from_at, to_at, rows, version_id, verdict, result, closed_at)
    SELECT c_id, m.number + w.ordinality, (w.value ->> 'from_row')::bigint, (w.value ->> 'to_row')::bigint,
      orch.us_time((w.value ->> 'from_us')::bigint), orch.us_time((w.value ->> 'to_us')::bigint),
      (w.value ->> 'rows')::bigint, m.version_id, w.value ->> 'verdict', w.value -> 'result', v_now
    FROM jsonb_array_elements(p_item -> 'windows') WITH ORDINALITY w;
  SELECT * INTO STRICT s FROM orch.observation_stream WHERE pipeline_id = p.id AND stream = m.stream;
  UPDATE orch.monitor SET number = m.number + v_count, next_row = v_next, window_from = v_from, state = p_item -> 'state',
    latest = coalesce(p_item -> 'latest', latest), lease = NULL, lease_owner = NULL, lease_until = NULL,
    due_at = orch.window_due(m.active AND m.version_id IS NOT NULL, m.window_rows, v_next, m.window_ms, m.lateness_ms, v_from, s, v_now)
    WHERE id = c_id;
  IF (m.number + v_count) / 64 <> m.number / 64 THEN -- now and then, many at once
    DELETE FROM orch.monitor_window WHERE monitor_id = c_id AND number <= m.number + v_count - orch.windows_kept();
  END IF;
  IF jsonb_array_length(p_item -> 'signals') > 0 THEN
    PERFORM orch.act('monitor:' || m.name);
    FOR v_signal IN SELECT jsonb_array_elements(p_item -> 'signals') LOOP
      v_signals := v_signals || jsonb_build_array(orch.signal_take(p, v_signal) -> 'disposition');
    END LOOP;
  END IF;
  RETURN jsonb_build_object('monitor', c_id, 'closed', v_count, 'signals', v_signals);
END $$;
