-- The list of all monitors: active ones, a page at a time, each with its newest window.
BEGIN;
\ir fixture/governance.psql
SELECT plan(14);
SELECT test.world();
INSERT INTO orch.monitor (pipeline_id, name, spec, next_row, window_rows)
  SELECT pipeline_id, n, spec, 0, 10 FROM orch.monitor, unnest(ARRAY['more', 'gone']) n WHERE name = 'inputs';
UPDATE orch.monitor SET active = false WHERE name = 'gone';
CREATE FUNCTION test.names(p_filter jsonb) RETURNS text LANGUAGE sql AS
  $$ SELECT string_agg(m ->> 'monitor', ' ' ORDER BY o) FROM jsonb_array_elements(orch.api_monitors(p_filter) -> 'monitors') WITH ORDINALITY AS t(m, o) $$;
SELECT is(test.names('{}'), 'inputs more', 'active ones, the oldest first');
SELECT is(orch.api_monitors() #> '{monitors,0,latest}', 'null'::jsonb, 'without a window there is no latest');
SELECT is(orch.api_monitors() #>> '{monitors,0,pipeline}', 'housing', 'of which pipeline');
INSERT INTO orch.monitor_window (monitor_id, number, from_row, to_row, rows, verdict, result, closed_at)
  SELECT id, n, 10 * n - 10, 10 * n, 10, CASE n WHEN 1 THEN 'ok' ELSE 'drift' END,
    jsonb_build_object('value', n, 'threshold', 0.2, 'columns', '[1]'::jsonb, 'state', '{}'::jsonb, 'summary', 's'), orch.clock()
  FROM orch.monitor, generate_series(1, 2) n WHERE name = 'inputs';
UPDATE orch.monitor SET number = 2 WHERE name = 'inputs';
SELECT is(orch.api_monitors() #> '{monitors,0,latest,value}', '2'::jsonb, 'the newest window');
SELECT is(orch.api_monitors() #>> '{monitors,0,latest,verdict}', 'drift', 'its verdict');
SELECT is(orch.api_monitors() #> '{monitors,0,latest,to_row}', '20'::jsonb, 'its rows');
SELECT ok(NOT orch.api_monitors() #> '{monitors,0,latest}' ?| ARRAY['columns', 'state'], 'without what a list has no room for');
SELECT is(test.names('{"verdict": "drift"}'), 'inputs', 'by verdict of the newest window');
SELECT is(test.names('{"verdict": "ok"}'), NULL, 'not of one before');
SELECT is(test.names('{"kind": "latency"}'), NULL, 'by kind');
SELECT is(test.names(jsonb_build_object('limit', 1, 'after', orch.api_monitors('{"limit": 1}') -> 'next')), 'more', 'a page after another');
SELECT is(orch.api_monitors('{"limit": 3}') -> 'next', 'null'::jsonb, 'the last page says so');
SELECT throws_ok($$SELECT orch.api_monitors('{"pipeline": "nope"}')$$, 'OR001', NULL, 'an unknown pipeline');
SELECT throws_ok($$SELECT orch.api_monitors('{"verdict": "bad"}')$$, 'OR003', NULL, 'an unknown verdict');
SELECT * FROM finish();
ROLLBACK;
