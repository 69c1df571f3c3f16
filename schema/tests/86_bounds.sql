-- Input that is too large, too far, too long or no such thing is answered in words; and nothing that came in can stop
-- what follows.
BEGIN;
\ir fixture/governance.psql
SELECT plan(44);
SELECT test.world();
SELECT test.apply(test.spec('quiet'));
CREATE FUNCTION test.words(p_sql text, p_code text, p_words text, p_what text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE p_sql;
  RETURN ok(false, p_what);
EXCEPTION WHEN OTHERS THEN
  RETURN is(SQLSTATE || ' ' || (SQLERRM LIKE p_words)::text, p_code || ' true', p_what || ' (' || SQLERRM || ')');
END $$;

-- Lists: an unknown pipeline is an error even where nothing is listed yet; so are filters that are none.
SELECT test.words(format('SELECT orch.api_%s(''{"pipeline": "nope"}'')', f), 'OR001', 'no pipeline is named %', f || ' of an unknown pipeline')
  FROM unnest(ARRAY['signals', 'proposals', 'audit']) f;
SELECT test.words(format('SELECT orch.api_%s(''nope'')', f), 'OR001', 'no pipeline is named %', f || ' of an unknown pipeline')
  FROM unnest(ARRAY['versions', 'history', 'pipeline']) f;
SELECT is(orch.api_signals('{"pipeline": "quiet"}') -> 'signals', '[]', 'a known one may have nothing');
SELECT is(orch.api_history('quiet') -> 'history', '[]', 'and no history');
SELECT test.words('SELECT orch.api_proposals(''{"state": "done"}'')', 'OR003', 'state ''done'' is not known', 'a state that is none');
SELECT test.words('SELECT orch.api_signals(''{"limit": "many"}'')', 'OR003', 'limit is ''many''%', 'a limit that is none');
SELECT test.words('SELECT orch.api_audit(''{"after": "1e400"}'')', 'OR003', 'after is %', 'a place that is none');
SELECT is(jsonb_array_length(orch.api_audit('{"limit": -5}') -> 'audit'), 1, 'a negative limit is one');
SELECT is(orch.api_audit('{"limit": 1}') -> 'next', 'null', 'all chains together have no next page');
SELECT is((orch.api_audit('{"limit": 1, "pipeline": "quiet"}') ->> 'next')::bigint, (SELECT h.seq FROM orch.audit_head h JOIN orch.pipeline p ON p.id = h.scope WHERE p.name = 'quiet'),
  'one chain has');
SELECT is((SELECT array_agg((a ->> 'seq')::bigint) FROM jsonb_array_elements(orch.api_audit('{"limit": 2, "after": 3, "pipeline": "quiet"}') -> 'audit') a),
  ARRAY[2, 1]::bigint[], 'and goes on after it');

-- Signals.
CREATE FUNCTION test.send(p_more jsonb) RETURNS jsonb LANGUAGE sql AS $$
  SELECT orch.signal_receive('housing', '{"source": "s", "kind": "external", "fingerprint": "f", "status": "firing", "title": "t"}' || p_more, 'user:test') $$;
SELECT test.words('SELECT test.send(''{"at": "yesterday-ish"}'')', 'OR003', 'at is ''yesterday-ish''%', 'a time that is none');
SELECT test.words('SELECT test.send(''{"at": "infinity"}'')', 'OR003', 'at is not within the years%', 'a time without end');
SELECT test.words('SELECT test.send(''{"at": "294000-01-01T00:00:00Z"}'')', 'OR003', 'at is not within the years%', 'a time far away');
SELECT test.words(format('SELECT test.send(''{"fingerprint": "%s"}'')', repeat('x', 201)), 'OR007', '%200 characters%', 'a long fingerprint');
SELECT test.words('SELECT test.send(''{"source": ""}'')', 'OR007', '%at least one%', 'an empty source');
SELECT test.words('SELECT test.send(''{"detail": [1]}'')', 'OR003', '%must be an object', 'a detail that is none');
SELECT lives_ok('SELECT test.send(''{"at": "2400-01-01T00:00:00Z"}'')', 'a clock that runs ahead is taken');
SELECT is((SELECT as_of <= orch.clock() FROM orch.proposal WHERE id = 1), true, 'but no data of the future is asked for');

-- Asking, holding, deciding.
SELECT test.words($$SELECT orch.proposal_create('quiet', 'x', 'keep', 'user:x', 'infinity', NULL)$$, 'OR003', 'as_of is not within%', 'as_of without end');
SELECT test.words($$SELECT orch.proposal_create('quiet', repeat('x', 2001), 'keep', 'user:x', NULL, NULL)$$, 'OR007', 'the reason has more%', 'a long reason');
SELECT test.words($$SELECT orch.proposal_create('quiet', 'x', NULL, 'user:x', NULL, NULL)$$, 'OR003', 'mode % not known', 'no mode');
SELECT test.words($$SELECT orch.proposal_create('quiet', 'x', 'keep', 'user:x', NULL, repeat('k', 513))$$, 'OR003', 'an idempotency key%', 'a long key');
SELECT test.words($$SELECT orch.observations_append('quiet', 1, 'x', '')$$, 'OR003', 'an idempotency key%', 'an empty key');
SELECT test.words($$SELECT orch.observations_append('quiet', 1, NULL, NULL)$$, 'OR007', 'a batch of observations%', 'no body');
SELECT test.words($$SELECT test.apply(test.spec('Bad Name'))$$, 'OR003', 'pipeline name ''Bad Name''%', 'a name that is none');
SELECT test.words($$SELECT orch.pipeline_apply(test.spec('quiet'), 'y', 'md5:1', 'md5:2', NULL, NULL, 'user:x')$$, 'OR003', '%needs its YAML%', 'digests that are none');
SELECT test.words($$SELECT orch.token_create('t', NULL, ARRAY['read'], NULL, 'user:x')$$, 'OR003', 'a token needs%', 'a token without a hash');

-- What a model reports cannot stop its proposal from ending.
CREATE FUNCTION test.hand_in(p_result jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  v_proposal bigint;
  v_worker   bigint := (orch.worker_register('w', 'h', 1, '{}', 64, 1 << 30, 0, 64, 60000) ->> 'worker')::bigint;
  g          orch.job_grant;
BEGIN
  v_proposal := orch.proposal_create('quiet', 'because', 'cancel_and_replace', 'user:test', NULL, NULL) ->> 'proposal';
  SELECT * INTO STRICT g FROM orch.job_claim(v_worker, 16, NULL) c WHERE c.proposal_id = v_proposal;
  PERFORM orch.job_finish(v_worker, g.job, g.lease, 'succeeded', p_result);
  RETURN (SELECT state || ': ' || coalesce(end_reason, '') FROM orch.proposal WHERE id = v_proposal);
END $$;
SELECT is(test.hand_in('{}'), 'failed: step train failed: a training step must report its output', 'no output');
SELECT is(test.hand_in('{"output": "model.bin"}'), 'failed: step train failed: the output is no digest', 'an output that is none');
SELECT is(test.hand_in('[1]'), 'failed: step train failed: the result is not an object', 'a result that is none');
SELECT is(test.hand_in(jsonb_build_object('output', test.digest('m'), 'profile', '%%%')), 'failed: step train failed: the profile is no base64', 'a profile that is none');
SELECT is(test.hand_in(jsonb_build_object('output', test.digest('m'), 'snapshots', '{"a": null}'::jsonb)), 'failed: step train failed: a snapshot is no digest',
  'a snapshot that is none');
SELECT is(orch.metric('{"a": 1e400, "b": -1e-400, "c": "NaN", "d": 2.5}', 'a'), NULL, 'a number beyond all numbers is none');
SELECT is(orch.metric('{"a": 1e400, "b": -1e-400, "c": "NaN", "d": 2.5}', 'b'), 0::float8, 'one next to nothing is nothing');
SELECT is(orch.metric('{"a": 1e400, "b": -1e-400, "c": "NaN", "d": 2.5}', 'c'), NULL, 'a word is no number');

-- Evidence that nobody could read is not asked about.
SELECT orch.proposal_cancel(1, 'x', 'user:test'); SELECT test.pass('1 day');
SELECT orch.proposal_create('housing', 'because', 'keep', 'user:test', NULL, NULL) ->> 'proposal' AS big \gset
INSERT INTO orch.signal (pipeline_id, source, kind, fingerprint, status, title, detail, first_at, last_at, as_of, disposition, proposal_id)
  SELECT pipeline_id, 's', 'alert', 'big' || n, 'resolved', 't', jsonb_build_object('text', repeat('x', 250000)), now(), now(), now(), 'folded', id
  FROM orch.proposal, generate_series(1, 49) n WHERE id = :big;
SELECT is(test.work() > 0, true, 'signals with much detail');
SELECT is(test.state(:big), 'awaiting_approval', 'do not keep a gate from opening');
SELECT is((SELECT count(*) FROM orch.gate g, jsonb_array_elements(g.evidence::jsonb -> 'signals') s WHERE g.proposal_id = :big AND s #>> '{detail,omitted}' LIKE '25% bytes%'),
  49::bigint, 'the evidence says where the rest is');
SELECT orch.proposal_cancel(:big, 'x', 'user:test'); SELECT test.pass('1 day');

-- A monitor that is removed takes what it fired with it.
SELECT test.live();
SELECT orch.signal_receive('housing', '{"source": "monitor:inputs", "kind": "data_fault", "fingerprint": "inputs/fault", "status": "firing", "title": "a broken"}', 'monitor:inputs');
SELECT test.apply(test.spec('housing', '{"monitors": []}'));
SELECT is((SELECT status FROM orch.signal WHERE fingerprint = 'inputs/fault'), 'resolved', 'a removed monitor''s fault is over: drift is not held back for ever');
SELECT * FROM finish();
ROLLBACK;
