-- Observations are durable, in order and counted once; windows close exactly once.
BEGIN;
\ir fixture/governance.psql
SELECT plan(25);
SELECT test.world();
CREATE FUNCTION test.rows(p_n int, p_key text DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS $$
  SELECT orch.observations_append('housing', p_n, convert_to(repeat('{}' || chr(10), p_n), 'UTF8'), p_key) $$;
CREATE FUNCTION test.close(p_verdict text, p_signals jsonb DEFAULT '[]') RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE w record;
BEGIN
  SELECT * INTO w FROM orch.monitor_claim('a', 10000, 10);
  RETURN orch.window_close(w.monitor_id, w.lease, w.from_row, w.to_row, jsonb_build_object('verdict', p_verdict), p_signals);
END $$;
SELECT is(test.rows(60) ->> 'first_row', '0', 'rows are numbered from 0');
SELECT is(test.rows(60, 'k') ->> 'first_row', '60', 'without gaps');
SELECT is(test.rows(60, 'k') ->> 'repeated', 'true', 'the same key appends nothing');
SELECT is(next_row, 120::bigint, 'and moves nothing') FROM orch.observation_stream WHERE stream = 'rows';
SELECT is((SELECT count(*) FROM orch.monitor_claim('a', 10000, 10)), 0::bigint, 'without a champion there is nothing to compare with');
SELECT test.live();
SELECT is((SELECT count(*) FROM orch.monitor_claim('a', 10000, 10)), 0::bigint, 'windows begin with the promotion');
SELECT test.rows(150);
SELECT is(from_row || '-' || to_row, '120-220', 'one due window') FROM orch.monitor_claim('a', 10000, 10);
SELECT is((SELECT count(*) FROM orch.monitor_claim('b', 10000, 10)), 0::bigint, 'is leased');
SELECT test.pass('11 seconds');
CREATE TEMP TABLE w AS SELECT * FROM orch.monitor_claim('b', 10000, 10);
SELECT is(profile, convert_to('profile', 'UTF8'), 'with the reference profile') FROM w;
SELECT results_eq('SELECT r.first_row, r.n_rows FROM w, orch.observations_read(w.pipeline_id, w.from_row, w.to_row) r', $$VALUES (120::bigint, 150)$$, 'its rows come in whole batches');
SELECT results_eq('SELECT r.first_row FROM w, orch.observations_read(w.pipeline_id, 30, 130) r', $$VALUES (0::bigint), (60), (120)$$, 'all that overlap');
SELECT is(orch.window_close(monitor_id, lease, from_row, to_row, '{"verdict": "ok"}', '[]') ->> 'closed', 'true', 'it closes') FROM w;
SELECT throws_ok(format('SELECT orch.window_close(%s, %s, %s, %s, ''{"verdict": "ok"}'', ''[]'')', monitor_id, lease, from_row, to_row), 'OR004', NULL, 'once') FROM w;
SELECT is((SELECT count(*) FROM orch.monitor_claim('b', 10000, 10)), 0::bigint, 'half a window is not due');

-- Signals go in with the window.
SELECT test.rows(200);
SELECT is(test.close('drift', '[{"source": "monitor:inputs", "kind": "drift", "fingerprint": "a", "status": "firing", "title": "a moved"}]')
  #>> '{dispositions,0,disposition}', 'proposed', 'a window''s signal proposes in the same transaction');
SELECT is(opened_by, 'monitor:inputs', 'in the monitor''s name') FROM orch.proposal WHERE id = 2;
CREATE TEMP TABLE w3 AS SELECT * FROM orch.monitor_claim('c', 10000, 10);
SELECT is(history -> 0 ->> 'verdict', 'drift', 'the next window knows the last') FROM w3;
SELECT is(jsonb_array_length(history), 2, 'and the one before') FROM w3;
SELECT test.work();
SELECT test.approve((SELECT max(id) FROM orch.gate));
SELECT test.deploy();
SELECT throws_ok(format('SELECT orch.window_close(%s, %s, %s, %s, ''{"verdict": "ok"}'', ''[]'')', monitor_id, lease, from_row, to_row), 'OR004', NULL,
  'a window of the old reference ends with it') FROM w3;
SELECT is(m.next_row, s.next_row, 'the new reference starts with new rows') FROM orch.monitor m JOIN orch.observation_stream s USING (pipeline_id, stream);
SELECT is(status, 'resolved', 'what fired against the old one is over') FROM orch.signal WHERE fingerprint = 'a';
SELECT throws_ok($$SELECT orch.observations_append('nope', 1, 'x', NULL)$$, 'OR001', NULL, 'an unknown pipeline');
SELECT throws_ok($$SELECT test.rows(0)$$, 'OR003', NULL, 'no rows');
SELECT lives_ok('SELECT orch.housekeeping()', 'housekeeping runs');
SELECT is(count(*), 0::bigint, 'what is marked as due is due, and nothing else') FROM orch.monitor m JOIN orch.observation_stream s USING (pipeline_id, stream)
  WHERE (m.due_at IS NOT NULL) <> (m.active AND m.version_id IS NOT NULL AND s.next_row - m.next_row >= m.window_rows);
SELECT * FROM finish();
ROLLBACK;
