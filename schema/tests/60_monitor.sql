-- Observations are durable, in order and counted once; windows are due when they should be and close exactly once.
BEGIN;
\ir fixture/governance.psql
SELECT plan(79);
SELECT test.world();
CREATE FUNCTION test.rows(p_n int, p_key text DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS $$
  SELECT orch.observations_append('housing', p_n, convert_to(repeat('{}' || chr(10), p_n), 'UTF8'), p_key) $$;
-- Rows that carry times, as an append leaves them.
CREATE FUNCTION test.rows_at(p_n int, p_from timestamptz, p_to timestamptz, p_stream text DEFAULT 'rows') RETURNS void LANGUAGE plpgsql AS $$
DECLARE v_next bigint;
BEGIN
  UPDATE orch.observation_stream SET next_row = next_row + p_n, last_at = orch.clock(), newest_at = greatest(newest_at, p_to)
    WHERE pipeline_id = 1 AND stream = p_stream RETURNING next_row - p_n INTO v_next;
  INSERT INTO orch.observation_batch (pipeline_id, stream, first_row, n_rows, received_at, body, min_at, max_at)
    VALUES (1, p_stream, v_next, p_n, orch.clock(), convert_to(repeat('{}' || chr(10), p_n), 'UTF8'), p_from, p_to);
  PERFORM orch.monitors_wake(1, p_stream);
END $$;
CREATE FUNCTION test.claimed(p_windows int DEFAULT 1) RETURNS text LANGUAGE sql AS $$
  SELECT coalesce(string_agg(format('%s %s %s', spec ->> 'name', windows, coalesce(from_row::text,
    orch.rfc3339(timestamptz 'epoch' + from_us * interval '1 microsecond'))), ', ' ORDER BY monitor_id), 'nothing')
  FROM orch.windows_claim('t', 10000, 100, p_windows) $$;

SELECT is(test.rows(60) ->> 'first_row', '0', 'rows are numbered from 0');
SELECT is(test.rows(60, 'k') ->> 'first_row', '60', 'without gaps');
SELECT is(test.rows(60, 'k') ->> 'repeated', 'true', 'the same key appends nothing');
SELECT is(next_row, 120::bigint, 'and moves nothing') FROM orch.observation_stream WHERE stream = 'rows';
SELECT is(test.claimed(), 'nothing', 'without a champion there is nothing to compare with');
SELECT test.live();
SELECT is(test.claimed(), 'nothing', 'windows begin with the promotion');
SELECT is(start_row || ' ' || next_row, '120 120', 'at the rows that come after it') FROM orch.monitor;

-- ---------------------------------------------------------------- windows by rows
SELECT test.rows(150);
SELECT is(test.claimed(), 'inputs 1 120', 'one due window');
SELECT is(test.claimed(), 'nothing', 'is leased');
SELECT test.pass('11 seconds');
CREATE TEMP TABLE w AS SELECT * FROM orch.windows_claim('b', 10000, 10, 8);
SELECT is(format('%s %s %s %s', stream, version, number, windows), 'rows 1 0 1', 'when its server dies another gets it') FROM w;
SELECT is(p.profile, convert_to('profile', 'UTF8'), 'the reference profile is read apart') FROM w, orch.profiles_read(ARRAY[w.version_id]) p;
CREATE FUNCTION test.read(p_from bigint, p_to bigint, p_bytes bigint DEFAULT 1000000) RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(range || ':' || first_row || '+' || n_rows, ' ') FROM orch.observations_read(jsonb_build_array(
    '{"pipeline_id": 1, "stream": "labels", "from_row": 0, "to_row": 9}'::jsonb,
    jsonb_build_object('pipeline_id', 1, 'stream', 'rows', 'from_row', p_from, 'to_row', p_to)), p_bytes) $$;
SELECT is(test.read(120, 220), '1:120+150', 'its rows come in whole batches');
SELECT is(test.read(30, 130), '1:0+60 1:60+60 1:120+150', 'all that overlap');
SELECT is(test.read(0, 500, 400), '1:0+60 1:60+60', 'as many as fit');
SELECT is(test.read(0, 500, 1), '1:0+60', 'but at least one');
SELECT is(test.close_window(), '1', 'it closes');
SELECT is(test.close_window(), NULL, 'once');
SELECT is(orch.windows_close(jsonb_build_array(jsonb_build_object('monitor', monitor_id, 'lease', lease, 'number', number, 'next_row', 220, 'state', '{}'::jsonb,
  'windows', '[]'::jsonb, 'signals', '[]'::jsonb))) #>> '{items,0,code}', 'OR004', 'whatever comes with the old lease') FROM w;
SELECT is(state ->> 'windows', '1', 'what the next must know is kept') FROM orch.monitor;
SELECT is(latest ->> 'verdict', 'ok', 'and the newest result') FROM orch.monitor;
SELECT is(test.claimed(), 'nothing', 'half a window is not due');
SELECT test.rows(370);
SELECT is(test.claimed(3), 'inputs 3 220', 'a backlog comes in several windows at once');
UPDATE orch.monitor SET lease = NULL, lease_until = NULL;
SELECT is(test.claimed(99), 'inputs 4 220', 'as many as are whole');
SELECT is(test.close_window(), '1', 'what was not judged stays due');
SELECT is(test.claimed(), 'inputs 1 320', 'from where it ended');
SELECT test.rows(10);
SELECT is((SELECT due_at <= orch.clock() FROM orch.monitor), true, 'an append beside it changes nothing');
SELECT is(test.close_window(), '1', 'closed');

-- One bad item does not spoil the others.
SELECT test.apply(test.spec('housing', '{"monitors": [
  {"name": "inputs", "kind": "drift", "columns": ["a"], "window": {"rows": 100}, "warmup": {"rows": 50}}, {"name": "other", "kind": "quality", "window": {"rows": 50}}]}'));
SELECT is(next_row, 650::bigint, 'a changed rule begins with new rows') FROM orch.monitor WHERE name = 'inputs';
SELECT is(state || coalesce(latest, '{}'), '{}', 'and knows nothing of before') FROM orch.monitor WHERE name = 'inputs';
SELECT is(number, 3::bigint, 'but counts its windows on') FROM orch.monitor WHERE name = 'inputs';
SELECT test.rows(100);
SELECT is(test.claimed(2), 'inputs 1 650, other 2 650', 'monitors of one pipeline come together');
CREATE TEMP TABLE items AS SELECT test.close_items('ok', '[]') AS items;
SELECT is((SELECT string_agg(coalesce(i ->> 'closed', i ->> 'code'), ' ') FROM jsonb_array_elements(orch.windows_close(
  jsonb_set(items, '{0,windows,0,verdict}', '"nonsense"') || '[{"monitor": 999}]') -> 'items') i), '1 23514 OR001', 'one that fails fails alone') FROM items;
SELECT is((SELECT string_agg(name || ' ' || number, ', ' ORDER BY name) FROM orch.monitor), 'inputs 3, other 1', 'the other is closed');
SELECT is(test.close_window(), '1', 'and the one can be closed rightly');

-- Signals go in with the window; broken data first, so that they hold back the drift beside them.
SELECT test.rows(100);
SELECT test.claimed();
SELECT is((SELECT jsonb_agg(i -> 'signals') FROM jsonb_array_elements(orch.windows_close((
    SELECT jsonb_agg(CASE WHEN m.name = 'inputs' THEN i || '{"signals": [{"source": "monitor:inputs", "kind": "drift", "fingerprint": "a", "status": "firing", "title": "a moved"}]}'
      ELSE i || '{"signals": [{"source": "monitor:other", "kind": "data_fault", "fingerprint": "b", "status": "firing", "title": "a broken"}]}' END)
    FROM jsonb_array_elements(test.close_items('drift', '[]')) i JOIN orch.monitor m ON m.id = (i ->> 'monitor')::bigint)) -> 'items') i),
  '[["recorded"], ["held"]]', 'the fault is told before the drift');
SELECT orch.signal_receive('housing', '{"source": "monitor:other", "kind": "data_fault", "fingerprint": "b", "status": "resolved", "title": "a sound"}', 'monitor:other');
UPDATE orch.monitor SET due_at = NULL WHERE name = 'other';
SELECT test.rows(100);
UPDATE orch.monitor SET due_at = NULL WHERE name = 'other';
SELECT test.claimed();
SELECT is(test.close_window('drift', '[{"source": "monitor:inputs", "kind": "drift", "fingerprint": "a", "status": "firing", "title": "a moved"}]'),
  '1', 'it fires again');
SELECT is((SELECT opened_by FROM orch.proposal WHERE id = 2), 'monitor:inputs', 'and proposes in the monitor''s name');

-- A promotion ends what was under way.
SELECT test.rows(200);
SELECT test.claimed();
SELECT test.work();
SELECT test.approve((SELECT max(id) FROM orch.gate));
CREATE TEMP TABLE old AS SELECT test.close_items('ok', '[]') AS items;
SELECT test.deploy();
SELECT is((SELECT string_agg(i ->> 'code', ' ') FROM jsonb_array_elements(orch.windows_close(items) -> 'items') i), 'OR004 OR004',
  'a window of the old reference ends with it') FROM old;
SELECT is(count(*), 2::bigint, 'the new reference starts with new rows') FROM orch.monitor m JOIN orch.observation_stream s USING (pipeline_id, stream)
  WHERE m.next_row = s.next_row AND m.start_row = s.next_row AND m.state = '{}' AND m.lease IS NULL AND m.due_at IS NULL;
SELECT is(warm_row - next_row, 50::bigint, 'and is given time to settle') FROM orch.monitor WHERE name = 'inputs';
SELECT is(status, 'resolved', 'what fired against the old one is over') FROM orch.signal WHERE fingerprint = 'a';
SELECT throws_ok($$SELECT orch.observations_append('nope', 1, 'x', NULL)$$, 'OR001', NULL, 'an unknown pipeline');
SELECT throws_ok($$SELECT test.rows(0)$$, 'OR003', NULL, 'no rows');
SELECT is(count(*), 0::bigint, 'what is marked as due is due, and nothing else') FROM orch.monitor m JOIN orch.observation_stream s USING (pipeline_id, stream)
  WHERE (m.due_at IS NOT NULL) <> (m.active AND m.version_id IS NOT NULL AND s.next_row - m.next_row >= m.window_rows);
SELECT lives_ok('SELECT orch.housekeeping()', 'housekeeping runs');

-- ---------------------------------------------------------------- windows by time
SELECT is(orch.window_floor('2026-11-25 13:44:59.5Z', 60000), '2026-11-25 13:44Z'::timestamptz, 'minutes begin at minutes');
SELECT is(orch.window_floor('2026-11-25 13:44Z', 86400000), '2026-11-25 00:00Z'::timestamptz, 'days at midnight');
SELECT is(orch.window_floor('2026-11-25 13:44Z', 604800000), '2026-11-23 00:00Z'::timestamptz, 'weeks on Mondays');
SELECT is(orch.window_floor('1999-12-31 13:44Z', 604800000), '1999-12-27 00:00Z'::timestamptz, 'before the origin too');
SELECT is(orch.window_floor('2026-11-23 00:00Z', 604800000), '2026-11-23 00:00Z'::timestamptz, 'a beginning is its own');
SELECT test.apply(test.spec('housing', '{"monitors": [
  {"name": "days", "kind": "drift", "columns": ["a"], "window": {"ms": 86400000, "lateness_ms": 3600000}}]}'));
UPDATE orch.observation_stream SET newest_at = NULL; -- its rows are of long ago
SELECT test.rows_at(10, '2026-01-05 09:00Z', '2026-01-05 23:00Z');
SELECT is(window_from, '2026-01-05Z'::timestamptz, 'the first row says where time begins') FROM orch.monitor WHERE name = 'days';
SELECT is(test.claimed(), 'nothing', 'the day may go on: rows of history come in order');
SELECT test.rows_at(10, '2026-01-05 20:00Z', '2026-01-06 00:30Z');
SELECT is(test.claimed(), 'nothing', 'and be late');
SELECT test.rows_at(10, '2026-01-06 00:30Z', '2026-01-06 01:00Z');
SELECT is(test.claimed(), 'days 1 2026-01-05T00:00:00.000Z', 'the stream''s own time has passed its end and the lateness');
SELECT test.pass('11 seconds');
CREATE TEMP TABLE t AS SELECT * FROM orch.windows_claim('t', 10000, 100, 9);
SELECT is(format('%s %s %s', windows, until_row - start_row, seen_row - start_row), '2 30 0', 'and, after some silence, the clock has passed the next one''s too') FROM t;
CREATE FUNCTION test.read_at(p_from timestamptz, p_to timestamptz, p_late bigint) RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(r.first_row - t.start_row || '+' || r.n_rows, ' ') FROM t, orch.observations_read(jsonb_build_array(jsonb_build_object(
    'pipeline_id', 1, 'stream', 'rows', 'from_row', t.start_row, 'to_row', t.until_row, 'late_row', t.start_row + p_late,
    'from_us', extract(epoch FROM p_from)::bigint * 1000000, 'to_us', extract(epoch FROM p_to)::bigint * 1000000)), 1000000) r $$;
SELECT is(test.read_at('2026-01-05Z', '2026-01-06Z', 0), '0+10 10+10', 'the batches that reach into the day');
SELECT is(test.read_at('2026-01-06Z', '2026-01-07Z', 30), '10+10 20+10', 'or into the next');
SELECT is(test.read_at('2026-01-06Z', '2026-01-07Z', 0), '0+10 10+10 20+10', 'and those that came late');
SELECT is(test.close_window(), '1', 'a day closes');
SELECT is(number || ' ' || orch.rfc3339(from_at) || ' ' || orch.rfc3339(to_at), '1 2026-01-05T00:00:00.000Z 2026-01-06T00:00:00.000Z', 'with its time')
  FROM orch.monitor_window WHERE monitor_id = (SELECT id FROM orch.monitor WHERE name = 'days');
SELECT is(test.claimed(), 'days 1 2026-01-06T00:00:00.000Z', 'then the next');
SELECT is(test.close_window(), '1', 'closes');
SELECT is(due_at, NULL, 'then nothing is due') FROM orch.monitor WHERE name = 'days';
SELECT test.rows_at(10, '2026-01-03 12:00Z', '2026-01-06 12:00Z');
SELECT is(due_at, NULL, 'late rows open no window again') FROM orch.monitor WHERE name = 'days';
SELECT test.rows_at(10, '2026-03-03 12:00Z', '2026-03-05 12:00Z');
SELECT is(test.claimed(9), 'days 2 2026-03-03T00:00:00.000Z', 'days without rows are passed over in one go');
SELECT is(test.close_window(), '1', 'and so on');
SELECT is((SELECT count(*) FROM orch.monitor_window w JOIN orch.monitor m ON m.id = w.monitor_id WHERE m.name = 'days'), 3::bigint, 'each once');

-- Gaps inside a batch that reaches over many days.
SELECT is(orch.window_skip(1, 'rows', 86400000, 0, '2026-03-04Z', NULL), '2026-03-04Z'::timestamptz, 'nobody knows of a gap');
SELECT is(orch.window_skip(1, 'rows', 86400000, (SELECT next_row FROM orch.observation_stream WHERE pipeline_id = 1 AND stream = 'rows'), '2026-03-04Z',
  '2026-03-05Z'), '2026-03-05Z'::timestamptz, 'a gap that was seen is skipped');
SELECT is(orch.window_skip(1, 'rows', 86400000, 0, '2026-03-04Z', '2026-03-05Z'), '2026-03-04Z'::timestamptz, 'not when rows have come since');
SELECT is(orch.window_skip(1, 'rows', 86400000, 10000, '2026-02-01Z', '2026-05-05Z'), '2026-03-03Z'::timestamptz, 'nor over a batch that was not read');
SELECT is(orch.monitor_passed(m), (SELECT first_row FROM orch.observation_batch WHERE max_at = '2026-03-05 12:00Z'),
  'what reaches into the next window is needed still') FROM orch.monitor m WHERE name = 'days';

-- ---------------------------------------------------------------- bounded history
SELECT throws_ok('UPDATE orch.monitor_window SET verdict = ''drift''', 'OR002', NULL, 'what a window said never changes');
SELECT throws_ok('DELETE FROM orch.monitor_window', 'OR002', NULL, 'the newest windows are kept');
INSERT INTO orch.monitor_window (monitor_id, number, from_row, to_row, rows, verdict, result, closed_at)
  SELECT m.id, n, n, n + 1, 1, 'ok', '{}', now() FROM orch.monitor m, generate_series(m.number + 1, 575) n WHERE m.name = 'days';
UPDATE orch.monitor SET number = 575 WHERE name = 'days';
SELECT is(test.claimed(), 'days 1 2026-03-04T00:00:00.000Z', 'after many windows');
SELECT is(test.close_window(), '1', 'one more');
SELECT is((SELECT count(*) || ' ' || min(w.number) FROM orch.monitor_window w JOIN orch.monitor m ON m.id = w.monitor_id WHERE m.name = 'days'), '500 77',
  'lets the oldest go');
SELECT is(jsonb_array_length(orch.api_pipeline('housing') #> '{monitors,0,windows}'), 60, 'a page shows the newest');
SELECT is(orch.api_pipeline('housing') #>> '{monitors,0,windows,0,value}', '0.5', 'as a chart needs them');
SELECT * FROM finish();
ROLLBACK;
