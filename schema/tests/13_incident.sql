-- Several pipelines that share something fire together: one question to a person instead of many retrainings.
BEGIN;
\ir fixture/governance.psql
SELECT plan(74);
SELECT test.people();
CREATE FUNCTION test.fire(p_pipeline text, p_more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
  SELECT orch.signal_receive(p_pipeline, '{"source": "monitor:inputs", "kind": "drift", "fingerprint": "inputs/drift", "status": "firing",
    "title": "a moved", "detail": {"columns": [{"name": "a", "psi": 0.4}]}}' || p_more, 'monitor:inputs') $$;
CREATE FUNCTION test.column(p_name text) RETURNS jsonb LANGUAGE sql AS $$
  SELECT jsonb_build_object('detail', jsonb_build_object('columns', jsonb_build_array(jsonb_build_object('name', p_name)))) $$;
CREATE FUNCTION test.outcome(p_pipeline text) RETURNS text LANGUAGE sql AS $$
  SELECT s.disposition FROM orch.signal s JOIN orch.pipeline p ON p.id = s.pipeline_id WHERE p.name = p_pipeline ORDER BY s.id DESC LIMIT 1 $$;
-- a to f belong to one team; x, y and z to three; no data that they name.
SELECT test.apply(test.spec(n)) FROM unnest('{a,b,c,d,e,f}'::text[]) n;
SELECT test.apply(test.spec(n, jsonb_build_object('owner', 'team ' || n))) FROM unnest('{x,y,z}'::text[]) n;

SELECT is(orch.cascade_rule(), '{"pipelines": 3, "within_ms": 3600000, "share": ["owner", "data", "column"]}', 'three within an hour is the rule');

-- Opening.
SELECT is(test.fire('a') ->> 'disposition', 'proposed', 'one pipeline is no cascade');
SELECT is(test.fire('a', '{"fingerprint": "other"}') ->> 'disposition', 'folded', 'nor are two signals of one');
SELECT is(test.fire('b') ->> 'disposition', 'proposed', 'nor are two pipelines');
SELECT is(count(*), 0::bigint, 'there is no incident') FROM orch.incident;
SELECT is(test.fire('c') - 'reason' - 'signal', '{"disposition": "held", "incident": 1, "proposal": null}', 'the third waits in an incident');
SELECT is(share || ' ' || value || ' ' || state, 'column a open', 'about what they share: the column before the owner') FROM orch.incident;
SELECT matches(held_reason, '^waits in incident 1: 3 pipelines that watch a fired within 1 h; a person releases or dismisses it$', 'in words')
  FROM orch.signal WHERE id = 4;
SELECT is(type || ' ' || (data ->> 'summary'), 'incident.opened 3 pipelines that watch a fired within 1 h', 'everybody is told, once')
  FROM orch.event WHERE type LIKE 'incident.%';
SELECT is(count(*), 1::bigint, 'the chat too') FROM orch.outbox o JOIN orch.event e ON e.id = o.event_id WHERE e.type = 'incident.opened' AND o.channel = 'slack';
SELECT is((SELECT array_agg((m ->> 'pipeline') || ' ' || (m ->> 'waits') || ' ' || coalesce(m ->> 'proposal_state', '-'))
    FROM jsonb_array_elements(orch.api_incident(1) -> 'members') m), ARRAY['c true -', 'a false training', 'a false training', 'b false training'],
  'what trains already is listed as under way, signal by signal');
SELECT is(test.fire('c') ->> 'disposition', 'held', 'heard again it still waits');
SELECT is(count(*), 1::bigint, 'in one incident') FROM orch.incident;
SELECT is(count(*), 2::bigint, 'and proposes nothing') FROM orch.proposal;

-- Joining.
SELECT is(test.fire('d') ->> 'incident', '1', 'a fourth joins it');
SELECT is(test.fire('x') ->> 'incident', '1', 'so does one of another owner with this column');
SELECT is(test.fire('y', test.column('b')) ->> 'disposition', 'proposed', 'one that shares nothing goes its way');
SELECT test.pass('2 hours');
SELECT is(test.fire('e') ->> 'incident', '1', 'what is open is joined at any time');
SELECT is((orch.api_incident(1) ->> 'waiting')::int, 4, 'four wait');
SELECT is(orch.api_status() #>> '{incidents,0,waiting}', '4', 'the status says so');
SELECT is(orch.api_incidents('{"pipeline": "x"}') #>> '{incidents,0,incident}', '1', 'a list by pipeline');
SELECT is(orch.api_incidents('{"pipeline": "z"}') ->> 'incidents', '[]', 'without those that have no part');
SELECT throws_ok($$SELECT orch.api_incidents('{"state": "sleeping"}')$$, 'OR003', NULL, 'an unknown state is named');
SELECT is(orch.signals_reconsider(10) ->> 'looked_at', '0', 'no timer ends the wait');

-- A hold comes first; its release leads back into the incident.
SELECT orch.hold_set('f', 'because', 'user:test');
SELECT matches(test.fire('f') ->> 'reason', '^on hold', 'a hold holds');
SELECT is(test.outcome('f') || ' ' || (SELECT count(*) FROM orch.incident_member m JOIN orch.pipeline p ON p.id = m.pipeline_id WHERE p.name = 'f'), 'held 1', 'but it is a member');
SELECT orch.hold_release('f', '', 'user:test');
SELECT is(orch.signals_reconsider(10), '{"proposed": 0, "looked_at": 1}', 'after the hold it is looked at');
SELECT is(incident_id, 1::bigint, 'and waits like the others') FROM orch.signal WHERE pipeline_id = (SELECT id FROM orch.pipeline WHERE name = 'f');

-- Release.
SELECT throws_ok('SELECT orch.incident_release(1, '' '', ''user:test'')', 'OR003', NULL, 'an answer needs a reason');
SELECT throws_ok('SELECT orch.incident_release(9, ''x'', ''user:test'')', 'OR001', NULL, 'and an incident');
SELECT test.calm('d');
SELECT is((orch.api_incident(1) ->> 'waiting')::int, 4, 'what has resolved waits no more');
SELECT is(orch.incident_release(1, ' the season ', 'reviewer:dana') ->> 'state', 'released', 'a person releases it');
SELECT is(closed_by || ': ' || close_reason, 'reviewer:dana: the season', 'with name and reason') FROM orch.incident;
SELECT throws_ok('SELECT orch.incident_dismiss(1, ''x'', ''user:test'')', 'OR002', NULL, 'once');
SELECT is(orch.signals_reconsider(10), '{"proposed": 4, "looked_at": 4}', 'what waited proposes');
SELECT is(test.outcome('d'), 'held', 'what had resolved does not');
SELECT is((SELECT count(*) FROM orch.proposal_proposer), 0::bigint, 'who releases is no proposer');
SELECT is((SELECT string_agg(m ->> 'pipeline', ' ' ORDER BY m ->> 'pipeline') FROM jsonb_array_elements(orch.api_incident(1) -> 'members') m
  WHERE m ->> 'proposal' IS NOT NULL), 'a a b c e f x', 'the incident shows what came of each');
SELECT is(test.fire('z') ->> 'disposition', 'proposed', 'what a person has released does not count again');
SELECT test.calm(n) FROM unnest('{a,b,c,d,e,f,x,y,z}'::text[]) n;
SELECT test.calm('a'), test.fire('a', '{"fingerprint": "other", "status": "resolved"}');
SELECT orch.proposal_cancel(id, 'enough', 'user:test') FROM orch.proposal WHERE ended_at IS NULL;
SELECT test.pass('2 days');

-- Its pipeline's own brakes hold after the release.
SELECT test.fire('a', test.column('q1')), test.fire('b', test.column('q2')), test.fire('c', test.column('q3'));
SELECT is(share || ' ' || value, 'owner pricing', 'the owner alone is enough to share') FROM orch.incident WHERE id = 2;
SELECT orch.proposal_create('c', 'by hand', 'keep', 'user:test', NULL, NULL);
SELECT orch.proposal_cancel(max(id), 'oops', 'user:test') FROM orch.proposal;
SELECT orch.incident_release(2, 'fine', 'user:test');
SELECT is(orch.signals_reconsider(10), '{"proposed": 0, "looked_at": 1}', 'the cooldown still counts');
SELECT matches(held_reason, '^cooling down', 'with its reason') FROM orch.signal WHERE incident_id = 2;
SELECT test.pass('61 seconds');
SELECT is(orch.signals_reconsider(10) ->> 'proposed', '1', 'then it proposes');
SELECT test.calm(n) FROM unnest('{a,b,c}'::text[]) n;
SELECT orch.proposal_cancel(id, 'enough', 'user:test') FROM orch.proposal WHERE ended_at IS NULL;
SELECT test.pass('2 days');

-- Dismissal.
SELECT test.fire('a'), test.fire('b'), test.fire('c'), test.fire('d');
SELECT is((orch.api_incident(3) ->> 'waiting')::int, 2, 'two wait again');
SELECT orch.incident_dismiss(3, 'the feed is broken', 'user:oncall');
SELECT is(test.outcome('c') || ' ' || test.outcome('d'), 'recorded recorded', 'dismissed signals are recorded');
SELECT is(held_reason, 'incident 3 was dismissed by user:oncall: the feed is broken', 'with name and reason') FROM orch.signal WHERE incident_id = 3 LIMIT 1;
SELECT is(test.fire('c') ->> 'disposition', 'duplicate', 'heard again they propose nothing');
SELECT orch.hold_set('c', 'x', 'user:test'); SELECT orch.hold_release('c', 'x', 'user:test');
SELECT is(orch.signals_reconsider(10) ->> 'looked_at', '0', 'nor later');
SELECT orch.proposal_cancel(id, 'enough', 'user:test') FROM orch.proposal WHERE ended_at IS NULL;
SELECT test.pass('61 seconds');
SELECT is(test.fire('a') ->> 'disposition', 'recorded', 'nor does one that was under way, in this episode');
SELECT is(test.fire('e') ->> 'incident', '4', 'what was dismissed counts again');
SELECT test.calm('c');
SELECT is(test.fire('c', '{"episode": "2"}') ->> 'incident', '4', 'a new episode is a new signal');

-- The end by itself.
SELECT test.calm(n) FROM unnest('{a,b,d,e}'::text[]) n;
SELECT is(state, 'open', 'while one fires it is open') FROM orch.incident WHERE id = 4;
SELECT test.fire('c', '{"episode": "2", "status": "resolved"}');
SELECT is(state || ': ' || close_reason, 'resolved: nothing of it fires any more', 'then it is over by itself') FROM orch.incident WHERE id = 4;
SELECT is((SELECT count(*) FROM orch.event WHERE type = 'incident.closed'), 4::bigint, 'each end is told');
SELECT orch.proposal_cancel(id, 'enough', 'user:test') FROM orch.proposal WHERE ended_at IS NULL;
SELECT test.pass('2 days');

-- What counts as together.
SELECT test.fire('a'); SELECT test.pass('61 minutes'); SELECT test.fire('b'); SELECT test.pass('1 minute');
SELECT is(test.fire('c') ->> 'disposition', 'proposed', 'what began earlier than the window does not count');
SELECT test.calm(n) FROM unnest('{a,b,c}'::text[]) n;
SELECT orch.proposal_cancel(id, 'enough', 'user:test') FROM orch.proposal WHERE ended_at IS NULL;
SELECT test.pass('2 days');
SELECT test.fire(n, '{"kind": "alert"}') FROM unnest('{a,b}'::text[]) n;
SELECT is(test.fire('c') ->> 'disposition', 'proposed', 'alerts are no drift');
SELECT is(test.fire(n, '{"then": "tell", "fingerprint": "t"}') ->> 'disposition', 'recorded', 'who only tells does not wait') FROM unnest('{d,e}'::text[]) n;
SELECT is(test.fire('f') ->> 'disposition', 'held', 'but counts');
UPDATE orch.signal SET status = 'resolved'; -- by hand, as the owner of the tables
SELECT is((SELECT count(*) FROM orch.incident WHERE state = 'open'), 0::bigint, 'whoever resolves');
SELECT orch.proposal_cancel(id, 'enough', 'user:test') FROM orch.proposal WHERE ended_at IS NULL;
SELECT test.pass('2 days');

-- The data.
SELECT test.apply(test.spec(n, jsonb_build_object('owner', 'team ' || n, 'data', '[{"name": "sales", "kind": "sql", "sql": {"url_env": "WH", "query": "q"}},
  {"name": "f", "kind": "file", "file": "data.csv"}]'::jsonb))) FROM unnest('{x,y,z}'::text[]) n;
SELECT test.fire(n, test.column('only of ' || n)) FROM unnest('{x,y,z}'::text[]) n;
SELECT is(share || ': ' || value, 'data: sales (sql WH)', 'a source that three read; a file of their own is none') FROM orch.incident WHERE state = 'open';

-- The rule is the server's.
SELECT orch.server_apply(orch.server_config_current() || '{"cascade": {"off": true}}', 'user:test');
SELECT is(orch.cascade_rule(), NULL, 'it can be turned off');
SELECT is(test.fire('z', test.column('only of z')) ->> 'disposition', 'held', 'what waits goes on waiting');
SELECT is(test.fire(n) ->> 'disposition', 'proposed', 'but nothing new does') FROM unnest('{a,b,c}'::text[]) n;
SELECT orch.server_apply(orch.server_config_current() || '{"cascade": {"pipelines": 2, "within_ms": 60000, "share": ["owner"]}}', 'user:test');
SELECT is(test.fire('d') ->> 'incident', '7', 'its numbers can be chosen');
SELECT is(rule ->> 'pipelines', '2', 'and stay with the incident') FROM orch.incident ORDER BY id DESC LIMIT 1;

-- The tables hold by themselves.
SELECT throws_ok('UPDATE orch.incident SET close_reason = ''other'' WHERE id = 1', 'OR002', NULL, 'a closed incident never changes');
SELECT throws_ok('UPDATE orch.incident SET state = ''open'', closed_at = NULL WHERE id = 1', 'OR002', NULL, 'nor opens');
SELECT throws_ok('UPDATE orch.incident SET value = ''x'' WHERE state = ''open''', 'OR002', NULL, 'nor is what it is about rewritten');
SELECT throws_ok('DELETE FROM orch.incident_member', 'OR002', NULL, 'members do not vanish');
SELECT is((SELECT count(*) FROM orch.audit WHERE object = 'incident' AND scope = 0) >= 12, true, 'each step is in the audit trail');
SELECT is(orch.audit_verify(NULL) ->> 'ok', 'true', 'whose chains hold');
SELECT * FROM finish();
ROLLBACK;
