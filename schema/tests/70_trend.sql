-- The sparkline of a pipeline: which monitor it is of, and what it shows.
BEGIN;
\ir fixture/governance.psql
SELECT plan(12);
SELECT test.people();
SELECT test.apply(test.spec('housing', '{"monitors": [{"name": "inputs", "kind": "drift", "columns": ["a"], "window_rows": 100},
  {"name": "beta", "kind": "drift", "columns": ["b"], "window_rows": 100}]}'));
SELECT is(orch.api_trends(10) -> 'housing', 'null', 'before the first window there is no trend');
CREATE FUNCTION test.window(p_monitor text, p_value float8, p_verdict text) RETURNS void LANGUAGE sql AS $$
  UPDATE orch.monitor SET number = number + 1 WHERE name = p_monitor;
  INSERT INTO orch.monitor_window (monitor_id, number, from_row, to_row, rows, verdict, result, closed_at)
    SELECT id, number, number * 100, number * 100 + 100, 100, p_verdict, jsonb_build_object('value', p_value, 'threshold', 0.2, 'verdict', p_verdict, 'newest_at', '2009-01-01T00:00:00.000Z'), orch.clock()
    FROM orch.monitor WHERE name = p_monitor;
$$;
SELECT test.window('inputs', 0.1, 'ok');
SELECT test.window('inputs', 0.3, 'drift');
SELECT is(orch.api_trends(10) #>> '{housing,monitor}', 'inputs', 'a monitor without windows says nothing');
SELECT is(orch.api_trends(10) #>> '{housing,threshold}', '0.2', 'the newest threshold is the line');
SELECT is(jsonb_path_query_array(orch.api_trends(10), '$.housing.points[*].value'), '[0.1, 0.3]', 'oldest first');
SELECT is(orch.api_trends(10) #>> '{housing,points,1,verdict}', 'drift', 'with their verdicts');
SELECT is(orch.api_trends(10) #>> '{housing,points,1,at}', '2009-01-01T00:00:00.000Z', 'at the time of their newest row, not of their judging');
SELECT is(orch.api_pipeline('housing') #>> '{monitors,1,windows,0,newest_at}', '2009-01-01T00:00:00.000Z', 'which a monitor''s windows have too');
SELECT test.window('inputs', i, 'ok') FROM generate_series(1, 40) i;
SELECT is(jsonb_array_length(orch.api_trends(10) #> '{housing,points}'), 30, 'the newest 30, however long the history');
SELECT test.window('beta', 0.9, 'ok');
UPDATE orch.monitor SET kind = 'performance', stream = 'labels' WHERE name = 'inputs';
SELECT is(orch.api_trends(10) #>> '{housing,monitor}', 'inputs', 'one that knows the truth comes first');
UPDATE orch.monitor SET active = false WHERE name = 'inputs';
SELECT is(orch.api_trends(10) #>> '{housing,monitor}', 'beta', 'one that left the pipeline does not count');
-- Who needs somebody comes first when not all fit.
SELECT test.apply(test.spec('abc'));
SELECT is(orch.api_trends(1), '{"abc": null}', 'by name');
SELECT orch.hold_set('housing', 'looking', 'user:test');
SELECT is((SELECT array_agg(k) FROM jsonb_object_keys(orch.api_trends(1)) k), ARRAY['housing'], 'what is on hold before what is quiet');
SELECT * FROM finish();
ROLLBACK;
