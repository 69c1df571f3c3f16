-- Rows of many requests go in together and each gets its own answer; labels join their predictions once, in either order.
BEGIN;
\ir fixture/governance.psql
SELECT plan(62);
SELECT test.world();
SELECT test.apply(test.spec('other'));
CREATE FUNCTION test.body(p_n int) RETURNS bytea LANGUAGE sql AS $$ SELECT convert_to(repeat(E'{"a":1}\n', p_n), 'UTF8') $$;
CREATE FUNCTION test.part(p_from int, p_rows int, p_min text DEFAULT NULL, p_max text DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS $$
  SELECT jsonb_build_array(jsonb_build_array(8 * p_from, 8 * p_rows, p_rows, (extract(epoch FROM p_min::timestamptz) * 1e6)::bigint,
    (extract(epoch FROM p_max::timestamptz) * 1e6)::bigint, p_min IS NULL)) $$;
CREATE FUNCTION test.item(p_pipeline text, p_from int, p_rows int, p_more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
  SELECT jsonb_build_object('pipeline', p_pipeline, 'rows', p_rows, 'parts', test.part(p_from, p_rows)) || p_more $$;

-- ---------------------------------------------------------------- the plan
SELECT is(orch.observe_plan('housing') - 'revision' - 'pipeline_id', '{"keys": {}, "labels": false}', 'what must be known of a pipeline');
SELECT is((orch.observe_plan('housing') ->> 'revision')::bigint, revision_id, 'under which revision') FROM orch.pipeline WHERE name = 'housing';
SELECT test.apply(test.spec('housing', '{"observations": {"id": "request"}}'));
SELECT is(orch.observe_plan('housing') #>> '{keys,id}', 'request', 'and the names of the keys');
SELECT throws_ok($$SELECT orch.observe_plan('nope')$$, 'OR001', NULL, 'of no other');

-- ---------------------------------------------------------------- many requests at once
CREATE TEMP TABLE a AS SELECT orch.observations_append_many(jsonb_build_array(test.item('housing', 0, 10), test.item('other', 10, 5),
  test.item('nope', 15, 1), test.item('housing', 16, 2, '{"key": ""}'), test.item('housing', 18, 20, '{"key": "k"}'),
  test.item('housing', 38, 3, '{"key": "k"}'), test.item('housing', 41, 4, '{"revision": 1}'), test.item('housing', 45, 7)), test.body(52)) AS a;
SELECT is(a -> 0, '{"first_row": 0, "rows": 10}', 'each request its own answer') FROM a;
SELECT is(a -> 1, '{"first_row": 0, "rows": 5}', 'each pipeline its own numbers') FROM a;
SELECT is(a #>> '{2,error,code}', 'OR001', 'one that cannot be taken spoils no other') FROM a;
SELECT is(a #>> '{3,error,code}', 'OR003', 'nor does a bad key') FROM a;
SELECT is(a -> 4, '{"first_row": 10, "rows": 20}', 'numbers go on without a gap') FROM a;
SELECT is(a -> 5, '{"first_row": 10, "rows": 20, "repeated": true}', 'a key that stands twice in one call counts once') FROM a;
SELECT is(a #>> '{6,error,code}', 'OR005', 'rows that were read under another revision are refused') FROM a;
SELECT is(a -> 7, '{"first_row": 30, "rows": 7}', 'the others go on') FROM a;
SELECT results_eq($$SELECT first_row, n_rows, octet_length(body) FROM orch.observation_batch JOIN orch.pipeline p ON p.id = pipeline_id
  WHERE p.name = 'housing' ORDER BY 1$$, $$VALUES (0::bigint, 10, 80), (10, 20, 160), (30, 7, 56)$$, 'bytes and rows belong together');
SELECT is(next_row, 37::bigint, 'the stream ends there') FROM orch.observation_stream JOIN orch.pipeline p ON p.id = pipeline_id
  WHERE p.name = 'housing' AND stream = 'rows';
SELECT is(orch.observations_append_many(jsonb_build_array(test.item('housing', 0, 1, '{"key": "k"}')), test.body(1)) #>> '{0,repeated}', 'true',
  'the key is remembered');
SELECT is(orch.observations_append_many(jsonb_build_array(test.item('other', 0, 3), test.item('other', 3, 4)), test.body(7)) #>> '{1,first_row}', '8',
  'small requests that lie side by side');
SELECT is((SELECT n_rows FROM orch.observation_batch WHERE first_row = 5), 7, 'become one batch');
SELECT is((SELECT count(*) FROM orch.observations_append_many(jsonb_build_array(
  jsonb_build_object('pipeline', 'other', 'rows', 60000, 'parts', test.part(0, 20000) || test.part(20000, 20000) || test.part(40000, 20000))), test.body(60000))), 1::bigint, 'a large one');
SELECT results_eq($$SELECT n_rows FROM orch.observation_batch JOIN orch.pipeline p ON p.id = pipeline_id WHERE p.name = 'other' AND first_row >= 12
  ORDER BY first_row$$, 'VALUES (20000), (20000), (20000)',
  'is cut into parts, for windows that need a few rows');
SELECT throws_ok($$SELECT orch.observations_append_many(jsonb_build_array(test.item('other', 0, 3) || '{"rows": 4}'), test.body(3))$$, 'OR003', NULL,
  'parts that do not add up');
SELECT throws_ok($$SELECT orch.observations_append_many(jsonb_build_array(test.item('other', 0, 1)), decode(repeat('00', 16777217), 'hex'))$$, 'OR007', NULL,
  'more than 16 MiB');
SELECT throws_ok($$SELECT orch.observations_append_many((SELECT jsonb_agg(test.item('other', 0, 1)) FROM generate_series(1, 1001)), test.body(1))$$, 'OR007', NULL,
  'more than 1000 requests');
SELECT is((SELECT sum(n_rows) FROM orch.observation_batch b WHERE b.pipeline_id = s.pipeline_id AND stream = 'rows'), s.next_row,
  'rows and numbers agree in ' || p.name) FROM orch.observation_stream s JOIN orch.pipeline p ON p.id = s.pipeline_id WHERE stream = 'rows' ORDER BY p.name;

-- ---------------------------------------------------------------- times
SELECT test.apply(test.spec('timed'));
CREATE FUNCTION test.now() RETURNS text LANGUAGE sql AS 'SELECT orch.rfc3339(orch.clock())';
SELECT orch.observations_append('timed', 1, 'x', NULL, '2003-01-31T00:00:00Z', '2003-02-01T00:00:00Z');
SELECT is(min_at || ' ' || max_at, '2003-01-31 00:00:00+00 2003-02-01 00:00:00+00', 'a batch knows the times of its rows') FROM orch.observation_batch b
  JOIN orch.pipeline p ON p.id = pipeline_id WHERE p.name = 'timed';
SELECT is(newest_at, '2003-02-01T00:00:00Z', 'and the stream the newest') FROM orch.observation_stream JOIN orch.pipeline p ON p.id = pipeline_id
  WHERE p.name = 'timed' AND stream = 'rows';
SELECT orch.observations_append('timed', 1, 'x', NULL, '2003-01-31T00:00:00Z', '9000-01-01T00:00:00Z');
SELECT is(max_at, received_at, 'no row comes from the future') FROM orch.observation_batch b JOIN orch.pipeline p ON p.id = pipeline_id
  WHERE p.name = 'timed' AND first_row = 1;
SELECT is(newest_at, last_at, 'and no stream does') FROM orch.observation_stream JOIN orch.pipeline p ON p.id = pipeline_id
  WHERE p.name = 'timed' AND stream = 'rows';
SELECT orch.observations_append('timed', 1, 'x', NULL);
SELECT is(min_at, received_at, 'rows without a time are as old as their arrival') FROM orch.observation_batch b JOIN orch.pipeline p ON p.id = pipeline_id
  WHERE p.name = 'timed' AND first_row = 2;

-- ---------------------------------------------------------------- labels
SELECT throws_ok($$SELECT orch.labels_append('housing', '{a}', '{1}', NULL)$$, 'OR002', NULL, 'labels that no monitor asks for are refused');
INSERT INTO orch.monitor (pipeline_id, name, spec, kind, stream, window_rows)
  SELECT id, 'truth', '{"name": "truth", "kind": "performance", "metric": "accuracy", "window": {"rows": 4}}', 'performance', 'labels', 4
  FROM orch.pipeline WHERE name = 'housing';
SELECT is(orch.observe_plan('housing') ->> 'labels', 'true', 'a monitor that needs labels makes predictions be kept');
SELECT test.live();
CREATE FUNCTION test.predict(p_ids text[], p_pipeline text DEFAULT 'housing', p_more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
  SELECT orch.observations_append_many(jsonb_build_array(test.item(p_pipeline, 0, cardinality(p_ids), p_more)), test.body(cardinality(p_ids)),
    array_fill(0, ARRAY[cardinality(p_ids)]), (SELECT array_agg(n - 1) FROM generate_series(1, cardinality(p_ids)) n), p_ids,
    array_fill(1041379200000000, ARRAY[cardinality(p_ids)]), array_fill(NULL::int, ARRAY[cardinality(p_ids)]),
    array_fill('yes'::text, ARRAY[cardinality(p_ids)]), array_fill(0.75::float8, ARRAY[cardinality(p_ids)])) -> 0 $$;
CREATE FUNCTION test.labels() RETURNS SETOF jsonb LANGUAGE sql AS $$
  SELECT l::jsonb FROM orch.observation_batch b, regexp_split_to_table(convert_from(body, 'UTF8'), E'\n') l
  WHERE stream = 'labels' AND l <> '' $$;
SELECT is(test.predict('{p1,p2,p3}'), '{"first_row": 37, "rows": 3}', 'rows with ids');
SELECT is(count(*), 3::bigint, 'are remembered') FROM orch.prediction;
SELECT is(orch.labels_append('housing', '{p2,early}', '{no,3.50}', '{1041465600000000,NULL}'), '{"labels": 2, "joined": 1, "waiting": 1, "known": 0}',
  'a label joins its prediction; one without waits');
SELECT is(l - 'label_at', '{"id": "p2", "row": 38, "at": "2003-01-01T00:00:00.000Z", "version": 1, "prediction": "yes", "score": 0.75, "label": "no"}',
  'as a row of the second stream; who predicted was the champion') FROM test.labels() l;
SELECT is(l ->> 'label_at', '2003-01-02T00:00:00.000Z', 'with the time of the truth') FROM test.labels() l;
SELECT is(orch.labels_append('housing', '{p2,early}', '{other,other}', NULL), '{"labels": 2, "joined": 0, "waiting": 0, "known": 2}', 'the same again changes nothing');
SELECT is(orch.labels_append('housing', '{p2,p2,p1,p1}', '{x,y,first,second}', NULL), '{"labels": 4, "joined": 1, "waiting": 0, "known": 3}', 'an id that stands twice counts once');
SELECT is(l ->> 'label', 'first', 'by its first label') FROM test.labels() l WHERE l ->> 'id' = 'p1';
SELECT test.pass('20 days');
SELECT is(test.predict('{p1,early}'), '{"first_row": 40, "rows": 2}', 'a prediction that comes after its label');
SELECT is(l -> 'label', '3.50', 'joins it, weeks later; a number is a number') FROM test.labels() l WHERE l ->> 'id' = 'early';
SELECT is(count(*), 0::bigint, 'nothing waits any more') FROM orch.label_waiting;
SELECT is(row, 37::bigint, 'an id that comes again keeps its first prediction') FROM orch.prediction WHERE id = 'p1';
SELECT is(test.predict(ARRAY(SELECT CASE WHEN i = 50 THEN 'p1' WHEN i = 70 THEN 'n60' ELSE 'n' || i END FROM generate_series(0, 99) i)),
  '{"first_row": 42, "rows": 100}', 'among many new ids one that was there and one that stands twice');
SELECT is(array_agg(row ORDER BY row), '{37,102}', 'keep the first of both') FROM orch.prediction WHERE id IN ('p1', 'n60');
SELECT is(count(*), 98::bigint, 'and the others are remembered') FROM orch.prediction WHERE row BETWEEN 42 AND 141;
DELETE FROM orch.prediction WHERE row BETWEEN 42 AND 141;
SELECT is(array_agg(first_row ORDER BY first_row), '{0,1,2}', 'the second stream is numbered without gaps') FROM orch.observation_batch WHERE stream = 'labels';
SELECT is(due_at, NULL, 'three labels are no window of four') FROM orch.monitor WHERE name = 'truth';
SELECT is(orch.labels_append('housing', '{p3}', '{x}', NULL, 'key') ->> 'joined', '1', 'the fourth');
SELECT isnt(due_at, NULL, 'wakes the monitor') FROM orch.monitor WHERE name = 'truth';
SELECT is(orch.labels_append('housing', '{p3}', '{x}', NULL, 'key') ->> 'repeated', 'true', 'a key that was seen does nothing');
SELECT test.predict('{x1}', 'other');
SELECT is(count(*), 0::bigint, 'where nobody needs labels no prediction is kept') FROM orch.prediction WHERE id = 'x1';
SELECT is(test.predict('{stale}', 'housing', '{"revision": 1}') #>> '{error,code}', 'OR005', 'a refused request');
SELECT is(count(*), 0::bigint, 'keeps no prediction') FROM orch.prediction WHERE id = 'stale';
SELECT test.predict('{once}', 'housing', '{"key": "once"}');
SELECT test.predict('{twice}', 'housing', '{"key": "once"}');
SELECT is(count(*), 0::bigint, 'nor does a repeated one') FROM orch.prediction WHERE id = 'twice';
SELECT throws_ok($$SELECT orch.labels_append('housing', '{}', '{}', NULL)$$, 'OR007', NULL, 'no labels');
SELECT lives_ok($$SELECT orch.labels_append('housing', ARRAY['q" \ é'], ARRAY[E'1e400'], NULL), test.predict(ARRAY['q" \ é'])$$, 'odd texts join');
SELECT is(l -> 'label', '"1e400"', 'and what is too large for a number stays a text') FROM test.labels() l WHERE l ->> 'id' = 'q" \ é';
SELECT is(orch.labels_append_many('[{"pipeline": "housing", "labels": 2}, {"pipeline": "nope", "labels": 1}, {"pipeline": "housing", "key": "many", "labels": 1},
  {"pipeline": "housing", "key": "many", "labels": 1}]', '{m1,m2,m3,m4,m5}', '{1,2,3,4,5}', '{NULL,NULL,NULL,NULL,NULL}') #- '{1,error,hint}',
  '[{"labels": 2, "joined": 0, "waiting": 2, "known": 0}, {"error": {"code": "OR001", "message": "no pipeline is named ''nope''"}},
  {"labels": 1, "joined": 0, "waiting": 1, "known": 0}, {"labels": 1, "joined": 0, "waiting": 1, "known": 0, "repeated": true}]',
  'many requests'' labels, an answer each');
SELECT is(array_agg(id || label ORDER BY id), '{m11,m22,m44}', 'each has got its own') FROM orch.label_waiting WHERE id LIKE 'm_';
DELETE FROM orch.label_waiting WHERE id LIKE 'm_';

-- ---------------------------------------------------------------- forgetting
SELECT orch.labels_append('housing', '{never}', '{x}', NULL);
SELECT test.pass('31 days');
SELECT is(orch.observations_forget() ->> 'labels_waiting', '1', 'a label waits for 30 days');
SELECT test.pass('60 days');
SELECT is(orch.observations_forget() ->> 'predictions', '6', 'a prediction for 90');
SELECT * FROM finish();
ROLLBACK;
