-- The windows of monitors over rows and labels: when they are due, who has them, which rows they need.

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
  IF v_any THEN PERFORM pg_notify('orch_serve', 'rows'); END IF;
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
