-- The windows that monitors close over rows and labels: when they are due, who has them, what came of them.

-- ---------------------------------------------------------------- when somebody must look

-- Locks here: the pipeline (when its governance may move), then its streams (`rows` first), then its monitors, each in the
-- order of their ids. Whoever moves a monitor's cursor holds the stream, so no append can slip between its look at the
-- stream and its commit. A claim holds monitors alone.

-- A stream that has been silent for so long is taken to be complete up to now: windows by time do not wait for its next row.
CREATE OR REPLACE FUNCTION orch.monitor_quiet() RETURNS interval LANGUAGE sql IMMUTABLE AS $$ SELECT interval '10 seconds' $$;

-- Windows by time begin at whole multiples of their length, counted from a Monday: days at midnight UTC, weeks on Mondays.
CREATE OR REPLACE FUNCTION orch.window_floor(p_at timestamptz, p_ms bigint) RETURNS timestamptz LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE v_ms bigint := floor(extract(epoch FROM p_at - '2000-01-03T00:00:00Z'::timestamptz) * 1000);
BEGIN
  RETURN '2000-01-03T00:00:00Z'::timestamptz + orch.ms_interval(v_ms - ((v_ms % p_ms) + p_ms) % p_ms);
END $$;

-- When the next window of a monitor must be looked at; NULL: when something comes. Windows by rows: as soon as the rows
-- are there. By time: when the stream's own time has passed the end and the lateness, or, while nothing comes, the clock;
-- never before a row is there that the window, or a later one, could hold.
CREATE OR REPLACE FUNCTION orch.window_due(p_on boolean, p_rows bigint, p_next_row bigint, p_ms bigint, p_lateness_ms bigint, p_from timestamptz,
  s orch.observation_stream, p_now timestamptz) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE v_end timestamptz;
BEGIN
  IF NOT p_on THEN RETURN NULL; END IF;
  IF p_rows IS NOT NULL THEN RETURN CASE WHEN s.next_row - p_next_row >= p_rows THEN p_now END; END IF;
  IF p_from IS NULL OR s.newest_at IS NULL OR s.newest_at < p_from THEN RETURN NULL; END IF;
  v_end := p_from + orch.ms_interval(p_ms + p_lateness_ms);
  RETURN CASE WHEN s.newest_at >= v_end THEN p_now ELSE greatest(v_end, s.last_at) + orch.monitor_quiet() END;
END $$;
CREATE OR REPLACE FUNCTION orch.monitor_due(m orch.monitor, s orch.observation_stream, p_now timestamptz) RETURNS timestamptz
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN orch.window_due(m.active AND m.version_id IS NOT NULL, m.window_rows, m.next_row, m.window_ms, m.lateness_ms, m.window_from, s, p_now);
END $$;

-- After an append, with the stream's row locked: marks the windows that have become due, and wakes a server for them. What
-- is claimed, or due and about to be, is left to the close, which waits for this append before it looks at the stream.
CREATE OR REPLACE FUNCTION orch.monitors_wake(p_pipeline_id bigint, p_stream text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v_now timestamptz := orch.clock();
  s     orch.observation_stream;
  m     orch.monitor;
  v_due timestamptz;
  v_any boolean;
BEGIN
  SELECT * INTO STRICT s FROM orch.observation_stream WHERE pipeline_id = p_pipeline_id AND stream = p_stream;
  UPDATE orch.monitor SET due_at = v_now WHERE pipeline_id = p_pipeline_id AND stream = p_stream AND runner = 'window' AND active
    AND version_id IS NOT NULL AND due_at IS NULL AND s.next_row - next_row >= window_rows;
  v_any := FOUND;
  FOR m IN SELECT * FROM orch.monitor WHERE pipeline_id = p_pipeline_id AND stream = p_stream AND runner = 'window' AND window_ms IS NOT NULL
      AND active AND version_id IS NOT NULL AND (due_at IS NULL OR (due_at > v_now
      AND s.newest_at >= window_from + orch.ms_interval(window_ms + lateness_ms))) ORDER BY id FOR NO KEY UPDATE LOOP
    IF m.due_at IS NULL THEN
      -- The window of the oldest row that has come since; one that was closed already does not open again.
      SELECT greatest(m.window_from, orch.window_floor(min(b.min_at), m.window_ms)) INTO m.window_from FROM orch.observation_batch b
        WHERE b.pipeline_id = p_pipeline_id AND b.stream = p_stream AND b.first_row >= m.next_row;
    END IF;
    v_due := orch.monitor_due(m, s, v_now);
    CONTINUE WHEN v_due IS NULL OR v_due >= m.due_at;
    UPDATE orch.monitor SET due_at = v_due, window_from = m.window_from WHERE id = m.id;
    v_any := v_any OR v_due <= v_now;
  END LOOP;
  IF v_any THEN PERFORM pg_notify('orch_serve', ''); END IF;
END $$;

-- Rows below this one are needed by a monitor no more. Windows by time need the batches that reach into the next one.
CREATE OR REPLACE FUNCTION orch.monitor_passed(m orch.monitor) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF m.window_ms IS NULL OR m.window_from IS NULL THEN RETURN m.next_row; END IF;
  RETURN least(m.next_row, (SELECT min(b.first_row) FROM orch.observation_batch b WHERE b.pipeline_id = m.pipeline_id AND b.stream = m.stream
    AND b.max_at >= m.window_from AND b.first_row >= m.start_row));
END $$;

-- A new reference: windows begin with the rows that come from now on, and what earlier ones said counts no more. Under
-- the pipeline's lock.
CREATE OR REPLACE FUNCTION orch.monitors_restart(p_pipeline_id bigint, p_version_id bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM orch.observation_stream WHERE pipeline_id = p_pipeline_id ORDER BY stream DESC FOR NO KEY UPDATE;
  UPDATE orch.monitor m SET version_id = p_version_id, lease = NULL, lease_owner = NULL, lease_until = NULL, state = '{}',
      next_row = s.next_row, start_row = s.next_row, window_from = NULL,
      due_at = CASE WHEN m.runner = 'window' THEN NULL ELSE m.due_at END,
      warm_row = s.next_row + (m.spec #>> '{warmup,rows}')::bigint, warm_at = orch.clock() + orch.ms_interval((m.spec #>> '{warmup,ms}')::bigint)
    FROM orch.observation_stream s
    WHERE m.pipeline_id = p_pipeline_id AND s.pipeline_id = m.pipeline_id AND s.stream = m.stream AND m.version_id IS DISTINCT FROM p_version_id;
  -- Windows and the clock end against the new champion what was said against the old one; of these only the memory knew.
  PERFORM orch.signals_end(p_pipeline_id, NULL, 'canary', 'another version is live');
  PERFORM orch.signals_end(p_pipeline_id, 'monitor:' || m.name, NULL, 'another version is live') FROM orch.monitor m
    WHERE m.pipeline_id = p_pipeline_id AND m.runner = 'probe' AND m.active ORDER BY m.id;
END $$;

-- ---------------------------------------------------------------- claim

-- Hands out the due windows of at most p_monitors monitors with a lease: those of one pipeline stand together, and each
-- may bring up to p_windows windows that follow each other. By rows: windows [from_row + i * window_rows, …). By time:
-- windows [from_us + i * window_ms, …) over the rows from start_row up to until_row; rows from seen_row on were not there
-- when the window before was closed, so those of them that are older than from_us are late.
CREATE OR REPLACE FUNCTION orch.windows_claim(p_owner text, p_lease_ms bigint, p_monitors int, p_windows int)
RETURNS TABLE (monitor_id bigint, lease bigint, pipeline_id bigint, stream text, spec jsonb, state jsonb, keys jsonb,
  metrics jsonb, version_id bigint, version int, number bigint, windows int, window_rows bigint, window_ms bigint, from_row bigint,
  from_us bigint, start_row bigint, seen_row bigint, until_row bigint, warm_row bigint, warm_us bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
#variable_conflict use_column
DECLARE
  v_now   timestamptz := orch.clock();
  v_first timestamptz;
  v_until timestamptz;
  m       record;
  s       orch.observation_stream;
  v       record;
  -- What becomes of each that was looked at; written at once in the end.
  v_ids    bigint[];
  v_leases bigint[];
  v_dues   timestamptz[];
  v_froms  timestamptz[];
BEGIN
  FOR m IN SELECT x.id, x.pipeline_id, x.stream, x.kind, x.spec, x.state, x.version_id, x.number, x.active, x.next_row, x.start_row, x.window_rows,
        x.window_ms, x.lateness_ms, x.window_from, x.warm_row, x.warm_at, x.due_at FROM orch.monitor x WHERE x.runner = 'window' AND x.active AND x.due_at <= v_now
      AND (x.lease_until IS NULL OR x.lease_until <= v_now)
      ORDER BY x.due_at, x.pipeline_id, x.id LIMIT p_monitors FOR NO KEY UPDATE SKIP LOCKED LOOP
    SELECT * INTO STRICT s FROM orch.observation_stream o WHERE o.pipeline_id = m.pipeline_id AND o.stream = m.stream;
    IF m.window_rows IS NOT NULL THEN
      -- A window may be as long as a day's rows: then one is enough at once.
      windows := least((s.next_row - m.next_row) / m.window_rows, p_windows, greatest(1, 100000 / m.window_rows));
      from_row := m.next_row;
      from_us := NULL;
      until_row := m.next_row + windows * m.window_rows;
    ELSE
      -- Days without a row are passed over in one go.
      SELECT min(b.min_at) INTO v_first FROM orch.observation_batch b
        WHERE b.pipeline_id = m.pipeline_id AND b.stream = m.stream AND b.max_at >= m.window_from AND b.first_row + b.n_rows > m.start_row;
      m.window_from := greatest(m.window_from, orch.window_floor(v_first, m.window_ms));
      v_until := greatest(s.newest_at, CASE WHEN v_now >= s.last_at + orch.monitor_quiet() THEN v_now END) - orch.ms_interval(m.lateness_ms);
      v_until := least(v_until, orch.window_floor(s.newest_at, m.window_ms) + orch.ms_interval(m.window_ms));
      windows := CASE WHEN v_first IS NOT NULL THEN least(floor(extract(epoch FROM v_until - m.window_from) * 1000 / m.window_ms), p_windows) END;
      from_row := NULL;
      from_us := (extract(epoch FROM m.window_from) * 1000000)::bigint;
      until_row := s.next_row;
    END IF;
    v_ids := v_ids || m.id;
    v_froms := v_froms || m.window_from;
    IF coalesce(windows, 0) < 1 THEN
      -- Marked too early: the stream began to move again, or its time passed by rows that are not this monitor's. Not looked
      -- at while somebody appends: soon again then.
      PERFORM FROM orch.observation_stream o WHERE o.pipeline_id = m.pipeline_id AND o.stream = m.stream FOR SHARE SKIP LOCKED;
      v_leases := v_leases || NULL::bigint;
      v_dues := v_dues || CASE WHEN NOT FOUND THEN v_now + interval '1 second' WHEN v_first IS NOT NULL OR m.window_rows IS NOT NULL THEN
        orch.window_due(true, m.window_rows, m.next_row, m.window_ms, m.lateness_ms, m.window_from, (
          SELECT o FROM orch.observation_stream o WHERE o.pipeline_id = m.pipeline_id AND o.stream = m.stream), v_now) END;
      CONTINUE;
    END IF;
    lease := nextval('orch.monitor_lease');
    v_leases := v_leases || lease;
    v_dues := v_dues || m.due_at;
    SELECT w.id, w.number, w.metrics INTO STRICT v FROM orch.version w WHERE w.id = m.version_id;
    IF pipeline_id IS DISTINCT FROM m.pipeline_id THEN
      keys := (SELECT r.spec -> 'observations' FROM orch.pipeline p JOIN orch.revision r ON r.id = p.revision_id WHERE p.id = m.pipeline_id);
    END IF;
    metrics := CASE WHEN m.kind IN ('performance', 'estimated_performance') THEN coalesce((SELECT e.metrics FROM orch.evaluation e
      WHERE e.version_id = v.id AND e.subject = 'candidate' ORDER BY e.proposal_id DESC LIMIT 1), v.metrics) - 'slices' END;
    monitor_id := m.id;          pipeline_id := m.pipeline_id; stream := m.stream;      spec := m.spec;        state := m.state;
    version_id := v.id;          version := v.number;          number := m.number;      start_row := m.start_row;
    window_rows := m.window_rows; window_ms := m.window_ms;    seen_row := m.next_row;  warm_row := m.warm_row;
    warm_us := (extract(epoch FROM m.warm_at) * 1000000)::bigint;
    RETURN NEXT;
  END LOOP;
  UPDATE orch.monitor x SET lease = c.lease, lease_owner = CASE WHEN c.lease IS NOT NULL THEN p_owner END,
    lease_until = CASE WHEN c.lease IS NOT NULL THEN v_now + orch.ms_interval(p_lease_ms) END, due_at = c.due, window_from = c.at
    FROM unnest(v_ids, v_leases, v_dues, v_froms) AS c(id, lease, due, at) WHERE x.id = c.id;
END $$;

-- The sketches of versions' training data. -> one row for each that has them
CREATE OR REPLACE FUNCTION orch.profiles_read(p_versions bigint[]) RETURNS TABLE (version_id bigint, profile bytea)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY SELECT v.id, v.profile FROM orch.version v WHERE v.id = ANY (p_versions) AND v.profile IS NOT NULL;
END $$;

-- Batches of several ranges, whole, each range's in the order of its rows, until p_max_bytes are exceeded: ask again from
-- where it ended. p_ranges: [{"pipeline_id", "stream", "from_row", "to_row"}] the batches that hold one of these rows, or
-- [{…, "from_us", "to_us", "late_row"}] those of them that hold a row of this time, or from row late_row on an older one.
-- -> range (its place in p_ranges, from 0), first_row, n_rows, received_us, body; after a range's last batch a row without
-- first_row
CREATE OR REPLACE FUNCTION orch.observations_read(p_ranges jsonb, p_max_bytes bigint)
RETURNS TABLE (range int, first_row bigint, n_rows int, received_us bigint, body bytea)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
#variable_conflict use_column
DECLARE
  r        jsonb;
  b        record;
  v_bytes  bigint := 0;
  v_id     bigint;
  v_stream text;
  v_from   bigint;
  v_to     bigint;
  v_late   bigint;
  v_from_at timestamptz;
  v_to_at   timestamptz;
BEGIN
  range := -1;
  FOR r IN SELECT jsonb_array_elements(p_ranges) LOOP
    range := range + 1;
    v_id := (r ->> 'pipeline_id')::bigint;
    v_stream := r ->> 'stream';
    v_from := (r ->> 'from_row')::bigint;
    v_to := (r ->> 'to_row')::bigint;
    v_late := (r ->> 'late_row')::bigint;
    v_from_at := timestamptz 'epoch' + (r ->> 'from_us')::bigint * interval '1 microsecond';
    v_to_at := timestamptz 'epoch' + (r ->> 'to_us')::bigint * interval '1 microsecond';
    -- The batch that the first row lies in begins before it.
    SELECT coalesce(max(x.first_row), v_from) INTO v_from FROM orch.observation_batch x
      WHERE x.pipeline_id = v_id AND x.stream = v_stream AND x.first_row <= v_from;
    FOR b IN
        SELECT x.first_row, x.n_rows, x.received_at, x.body FROM orch.observation_batch x
          WHERE v_late IS NULL AND x.pipeline_id = v_id AND x.stream = v_stream AND x.first_row >= v_from AND x.first_row < v_to
            AND x.first_row + x.n_rows > (r ->> 'from_row')::bigint
        UNION ALL
        SELECT x.first_row, x.n_rows, x.received_at, x.body FROM orch.observation_batch x
          WHERE v_late IS NOT NULL AND x.pipeline_id = v_id AND x.stream = v_stream AND x.max_at >= v_from_at AND x.min_at < v_to_at
            AND x.first_row >= v_from AND x.first_row < v_to
        UNION ALL
        SELECT x.first_row, x.n_rows, x.received_at, x.body FROM orch.observation_batch x
          WHERE v_late IS NOT NULL AND x.pipeline_id = v_id AND x.stream = v_stream AND x.max_at < v_from_at
            AND x.first_row >= greatest(v_from, v_late) AND x.first_row < v_to
        ORDER BY first_row LOOP
      IF v_bytes > 0 AND v_bytes + octet_length(b.body) > p_max_bytes THEN RETURN; END IF;
      v_bytes := v_bytes + octet_length(b.body);
      first_row := b.first_row;
      n_rows := b.n_rows;
      received_us := (extract(epoch FROM b.received_at) * 1000000)::bigint;
      body := b.body;
      RETURN NEXT;
    END LOOP;
    first_row := NULL;
    n_rows := NULL;
    received_us := NULL;
    body := NULL;
    RETURN NEXT;
  END LOOP;
END $$;

-- ---------------------------------------------------------------- close

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

-- ---------------------------------------------------------------- reading

-- A monitor with its newest result, whole, and its last windows as a chart needs them, newest first.
CREATE OR REPLACE FUNCTION orch.doc_monitor(m orch.monitor) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN jsonb_build_object('monitor', m.name, 'kind', m.kind, 'spec', m.spec, 'active', m.active,
    'reference', (SELECT number FROM orch.version WHERE id = m.version_id), 'next_row', m.next_row, 'next_at', orch.rfc3339(m.window_from),
    'due_at', orch.rfc3339(m.due_at), 'latest', m.latest,
    'windows', (SELECT coalesce(jsonb_agg(jsonb_build_object('number', w.number, 'from_row', w.from_row, 'to_row', w.to_row,
        'from_at', orch.rfc3339(w.from_at), 'to_at', orch.rfc3339(w.to_at), 'rows', w.rows, 'verdict', w.verdict, 'value', w.result -> 'value',
        'threshold', w.result -> 'threshold', 'summary', w.result -> 'summary', 'newest_at', w.result -> 'newest_at',
        'closed_at', orch.rfc3339(w.closed_at)) ORDER BY w.number DESC), '[]')
      FROM (SELECT * FROM orch.monitor_window WHERE monitor_id = m.id ORDER BY number DESC LIMIT 60) w));
END $$;

-- What a replay of history through the monitors in force needs: {"pipeline", "version", "monitors", "keys", "metrics", "profile"
-- (base64)}; version, metrics and profile are null while nothing is live.
CREATE OR REPLACE FUNCTION orch.backtest_plan(p_pipeline text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  v_id   bigint := orch.pipeline_id_of(p_pipeline);
  v_spec jsonb := orch.current_spec(v_id);
  v      orch.version;
BEGIN
  SELECT x.* INTO v FROM orch.pipeline p JOIN orch.version x ON x.id = p.champion_id WHERE p.id = v_id;
  RETURN jsonb_build_object('pipeline', p_pipeline, 'version', v.number, 'monitors', coalesce(v_spec -> 'monitors', '[]'),
    'keys', v_spec -> 'observations', 'profile', translate(encode(v.profile, 'base64'), E'\n', ''),
    'metrics', coalesce((SELECT e.metrics FROM orch.evaluation e WHERE e.version_id = v.id AND e.subject = 'candidate'
      ORDER BY e.proposal_id DESC LIMIT 1), v.metrics) - 'slices');
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
