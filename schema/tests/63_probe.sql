-- Monitors that ask another system: due at once, asked by one, answered exactly once, signals in the same transaction.
BEGIN;
\ir fixture/governance.psql
SELECT plan(30);
SELECT test.people();
CREATE FUNCTION test.probes(p_query text, p_more jsonb DEFAULT '[]') RETURNS jsonb LANGUAGE sql AS $$
  SELECT test.apply(test.spec('housing', jsonb_build_object('monitors', jsonb_build_array(jsonb_build_object(
    'name', 'errors', 'kind', 'prometheus', 'query', p_query, 'above', 0.01, 'for_ms', 0, 'every_ms', 60000, 'then', 'propose')) || p_more))) $$;
CREATE FUNCTION test.report(p_monitor bigint, p_lease bigint, p_verdict text, p_signals jsonb DEFAULT '[]', p_state jsonb DEFAULT '{}')
RETURNS jsonb LANGUAGE sql AS $$
  SELECT orch.probe_report(p_monitor, p_lease, jsonb_build_object('monitor', 'errors', 'verdict', p_verdict, 'rows', 3, 'value', 0.5,
    'from_at', orch.rfc3339(orch.clock()), 'to_at', orch.rfc3339(orch.clock()), 'series', '[{"name": "a"}]'::jsonb), p_state, p_signals) $$;

SELECT test.probes('q1');
SELECT is(runner, 'probe', 'it asks another system') FROM orch.monitor WHERE name = 'errors';
CREATE TEMP TABLE a AS SELECT * FROM orch.probe_claim('one', 120000, 8);
SELECT is((SELECT count(*) FROM a), 1::bigint, 'a new probe is due at once, without a champion too');
SELECT is(pipeline || ' ' || (spec ->> 'query') || ' ' || state, 'housing q1 {}', 'with what to ask and what it remembers') FROM a;
SELECT is(settings, '{"prometheus": null, "warehouses": []}', 'what orch.yaml says is with it') FROM a;
SELECT is((SELECT count(*) FROM orch.probe_claim('two', 120000, 8)), 0::bigint, 'one asks');
SELECT test.pass('121 seconds');
CREATE TEMP TABLE b AS SELECT * FROM orch.probe_claim('two', 120000, 8);
SELECT is((SELECT count(*) FROM b), 1::bigint, 'until the lease has ended');
SELECT throws_ok(format('SELECT test.report(%s, %s, ''ok'')', monitor_id, lease), 'OR004', NULL, 'the first one is too late') FROM a;
SELECT is(test.report(monitor_id, lease, 'ok', '[]', '{"failures": 1}') ->> 'recorded', 'true', 'an answer is recorded') FROM b;
SELECT throws_ok(format('SELECT test.report(%s, %s, ''ok'')', monitor_id, lease), 'OR004', NULL, 'once') FROM b;
SELECT is((SELECT count(*) FROM orch.probe_claim('two', 120000, 8)), 0::bigint, 'it rests until its time');
SELECT ok(due_at - orch.clock() BETWEEN interval '55 seconds' AND interval '65 seconds', 'a minute, spread a little') FROM orch.monitor WHERE name = 'errors';
SELECT is(number || ' ' || (state ->> 'failures') || ' ' || (latest ->> 'verdict') || ' ' || (latest ->> 'number'), '1 1 ok 1', 'memory and latest result') FROM orch.monitor WHERE name = 'errors';
SELECT is(verdict || ' ' || rows || ' ' || (result ? 'series') || ' ' || (to_at - from_at < interval '1 second'), 'ok 3 false true', 'the look is a window; long lists stay in the latest') FROM orch.monitor_window;

SELECT test.pass('70 seconds');
CREATE TEMP TABLE c AS SELECT * FROM orch.probe_claim('one', 120000, 8);
SELECT is(state ->> 'failures', '1', 'the next look knows the last') FROM c;
SELECT is(test.report(monitor_id, lease, 'alarm', '[{"source": "monitor:errors", "kind": "alert", "fingerprint": "errors/alert",
  "status": "firing", "title": "errors: 0.5 is above 0.01"}]') #>> '{dispositions,0,disposition}', 'proposed', 'its signal proposes in the same transaction') FROM c;
SELECT is(opened_by, 'monitor:errors', 'in its name') FROM orch.proposal;

-- What changes while somebody asks.
SELECT test.pass('70 seconds');
CREATE TEMP TABLE d AS SELECT * FROM orch.probe_claim('one', 120000, 8);
SELECT test.probes('q2');
SELECT throws_ok(format('SELECT test.report(%s, %s, ''ok'')', monitor_id, lease), 'OR004', NULL, 'an answer to the old question is refused') FROM d;
SELECT is(status, 'resolved', 'what the old rule said is over: nobody remembers it') FROM orch.signal WHERE fingerprint = 'errors/alert';
SELECT is((SELECT count(*) FROM orch.signal WHERE fingerprint = 'errors/alert'), 1::bigint, 'and is not said again');
CREATE TEMP TABLE e AS SELECT * FROM orch.probe_claim('one', 120000, 8);
SELECT is((spec ->> 'query') || ' ' || state, 'q2 {}', 'the new one is asked at once, with no memory') FROM e;
SELECT test.probes('q2', '[{"name": "late", "kind": "sql", "url_env": "WAREHOUSE_URL", "query": "select 1", "above": 0, "every_ms": 1000}]');
SELECT is(lease, (SELECT lease FROM e), 'a monitor that did not change keeps its lease') FROM orch.monitor WHERE name = 'errors';
SELECT is((SELECT string_agg(spec ->> 'name', ' ') FROM orch.probe_claim('two', 120000, 8)), 'late', 'and the new one is due');
SELECT test.apply(test.spec('housing'));
SELECT throws_ok(format('SELECT test.report(%s, %s, ''ok'')', monitor_id, lease), 'OR004', NULL, 'a removed monitor takes no answer') FROM e;
SELECT test.pass('1 day');
SELECT is((SELECT count(*) FROM orch.probe_claim('two', 120000, 8)), 0::bigint, 'and is not asked for');
SELECT throws_ok('SELECT orch.probe_report(0, 1, ''{}'', ''{}'', ''[]'')', 'OR001', NULL, 'no such monitor');
SELECT orch.server_apply(orch.server_config_current() || '{"prometheus": {"url": "http://p:9090"}, "warehouses": ["WAREHOUSE_URL"]}', 'user:test');
SELECT test.probes('q3');
SELECT is(settings, '{"prometheus": {"url": "http://p:9090"}, "warehouses": ["WAREHOUSE_URL"]}', 'orch.yaml says where') FROM orch.probe_claim('two', 120000, 8);

-- Another version goes live while it fires: what it remembered was of the old one, so what it said is over, and said anew if it holds.
SELECT test.live();
SELECT test.pass('1 day');
CREATE FUNCTION test.look(p_episode text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE c record;
BEGIN
  SELECT * INTO c FROM orch.probe_claim('one', 120000, 8);
  RETURN test.report(c.monitor_id, c.lease, 'alarm', jsonb_build_array(jsonb_build_object('source', 'monitor:errors', 'kind', 'alert', 'then', 'tell',
    'fingerprint', 'errors/alert', 'status', 'firing', 'episode', p_episode, 'title', 'errors: 0.5 is above 0.01')),
    '{"firing": true}') #>> '{dispositions,0,disposition}';
END $$;
SELECT is(test.look('one'), 'recorded', 'it tells');
SELECT test.live();
SELECT is((SELECT state FROM orch.monitor WHERE name = 'errors'), '{}', 'a promotion lets it forget');
SELECT is((SELECT count(*) FROM orch.signal WHERE status = 'firing'), 0::bigint, 'and ends what it said');
SELECT is(test.look('two'), 'recorded', 'it is said again while it holds');
SELECT * FROM finish();
ROLLBACK;
