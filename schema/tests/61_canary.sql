-- A version beside the champion that differs: people are told once, nothing retrains, and it is over when nobody can know more.
BEGIN;
\ir fixture/governance.psql
SELECT plan(23);
SELECT test.world();
SELECT test.live();
CREATE FUNCTION test.canary(p_status text DEFAULT 'firing', p_version int DEFAULT 2, p_episode text DEFAULT 'one', p_monitor text DEFAULT 'inputs')
RETURNS text LANGUAGE sql AS $$
  SELECT orch.signal_receive('housing', jsonb_build_object('source', 'monitor:' || p_monitor, 'kind', 'canary', 'then', 'propose', 'status', p_status,
    'fingerprint', format('%s/canary/%s', p_monitor, p_version), 'episode', p_episode, 'title', format('version %s differs', p_version),
    'detail', jsonb_build_object('version', p_version)), 'monitor:inputs') ->> 'disposition' $$;
CREATE FUNCTION test.firing() RETURNS text LANGUAGE sql AS $$
  SELECT coalesce(string_agg(fingerprint, ' ' ORDER BY id), 'nothing') FROM orch.signal WHERE status = 'firing' $$;
CREATE FUNCTION test.told() RETURNS text LANGUAGE sql AS $$
  SELECT coalesce(string_agg(type || COALESCE(': ' || (data ->> 'why'), ''), ', ' ORDER BY id), 'nothing') FROM orch.event WHERE data ->> 'kind' = 'canary' $$;

SELECT is(test.canary(), 'recorded', 'it is told, even when its monitor proposes');
SELECT is(count(*), 1::bigint, 'and retrains nothing') FROM orch.proposal;
SELECT is(held_reason, 'how a canary differs from the champion is reported to people and retrains nothing', 'it says so') FROM orch.signal
  WHERE kind = 'canary';
SELECT is(test.told(), 'signal.alarm', 'people hear of it');
SELECT is((SELECT count(*) FROM orch.outbox o JOIN orch.event e ON e.id = o.event_id WHERE e.data ->> 'kind' = 'canary' AND o.channel = 'slack'), 1::bigint,
  'in the chat');
SELECT is(test.canary(), 'duplicate', 'the next window repeats it');
SELECT is(test.told(), 'signal.alarm', 'which is told once an episode');
SELECT is(test.canary(p_version => 3), 'recorded', 'another version is another signal');
SELECT is(orch.api_signals('{"kind": "canary"}') #>> '{signals,0,detail,version}', '3', 'and can be listed by kind');
SELECT is(test.canary('resolved'), 'resolved', 'it is like the champion again');
SELECT is(test.firing(), 'inputs/canary/3', 'the other is not');
SELECT is(test.told(), 'signal.alarm, signal.alarm, signal.alarm_resolved', 'and that is told');

-- It is no drift of the pipeline: it holds nothing back and joins no incident.
SELECT is(shares, NULL, 'it shares nothing with other pipelines') FROM orch.signal WHERE fingerprint = 'inputs/canary/3';
SELECT is(test.signal('drift') ->> 'disposition', 'proposed', 'drift beside it is answered as ever');
SELECT is(test.firing(), 'inputs/canary/3 f1', 'both stand');

-- The rule changes: what it had seen is forgotten, so nobody would end it.
SELECT is(test.canary(p_monitor => 'other'), 'recorded', 'another monitor speaks of it too');
SELECT test.apply(test.spec('housing', '{"monitors": [{"name": "inputs", "kind": "drift", "columns": ["a"], "window_rows": 100}], "keep": 4}'));
SELECT is(test.firing(), 'inputs/canary/3 f1 other/canary/2', 'a revision with the same rule ends nothing');
SELECT test.apply(test.spec('housing', '{"monitors": [{"name": "inputs", "kind": "drift", "columns": ["a", "b"], "window_rows": 100}]}'));
SELECT is(test.firing(), 'f1 other/canary/2', 'a monitor with another rule ends what it said of versions');
SELECT is((SELECT data ->> 'why' FROM orch.event WHERE data ->> 'kind' = 'canary' ORDER BY id DESC LIMIT 1),
  'the monitor looks with another rule', 'and says why');

-- The canary, or another one, goes live.
SELECT is(test.canary(p_episode => 'two'), 'recorded', 'it differs once more');
SELECT test.work();
SELECT test.approve((SELECT max(id) FROM orch.gate));
SELECT test.deploy();
SELECT is((SELECT count(*) FROM orch.signal WHERE kind = 'canary' AND status = 'firing'), 0::bigint, 'another champion ends all of them');
SELECT is((SELECT data ->> 'why' FROM orch.event WHERE data ->> 'kind' = 'canary' ORDER BY id DESC LIMIT 1), 'another version is live', 'and says why');
SELECT is(test.canary('resolved', p_episode => 'two'), 'duplicate', 'a window that was under way changes nothing');
SELECT * FROM finish();
ROLLBACK;
