-- The diagnosis of a proposal: ranked, bounded, and in words that say the same everywhere.
BEGIN;
\ir fixture/governance.psql
SELECT plan(54);
SELECT test.people();
SELECT test.apply(test.spec('housing'));
SELECT test.live();
CREATE FUNCTION test.column(p_name text, p_psi float8, p_ref float8[] DEFAULT '{2,4,6.1,8,9}', p_now float8[] DEFAULT '{3,6,8.9,10,12}', p_more jsonb DEFAULT '{}')
RETURNS jsonb LANGUAGE sql AS $$
  SELECT jsonb_build_object('name', p_name, 'kind', 'numeric', 'verdict', 'drift', 'psi', p_psi, 'effect', p_psi, 'p_adjusted', 0.0001, 'n_ref', 1328, 'n_now', 250,
    'quantiles', jsonb_build_object('levels', '[0.05,0.25,0.5,0.75,0.95]'::jsonb, 'ref', to_jsonb(p_ref), 'now', to_jsonb(p_now)), 'why', 'PSI ' || p_psi) || p_more $$;
CREATE FUNCTION test.say(p_kind text, p_detail jsonb, p_more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
  SELECT orch.signal_receive('housing', jsonb_build_object('source', 'monitor:inputs', 'kind', p_kind, 'fingerprint', 'inputs/' || p_kind, 'status', 'firing',
    'title', 'inventory drifted', 'detail', '{"monitor": "inputs", "since_row": 500, "window": {"from_row": 1000, "to_row": 1250, "rows": 250}}' || p_detail) || p_more, 'monitor:inputs') $$;
CREATE FUNCTION test.columns(VARIADIC p jsonb[]) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_object('columns', to_jsonb(p)) $$;
CREATE FUNCTION test.now() RETURNS bigint LANGUAGE sql AS 'SELECT max(id) FROM orch.proposal';
CREATE FUNCTION test.d() RETURNS jsonb LANGUAGE sql AS 'SELECT orch.diagnosis(test.now())';
CREATE FUNCTION test.over() RETURNS void LANGUAGE sql AS $$
  SELECT orch.proposal_cancel(id, 'enough', 'user:test') FROM orch.proposal WHERE ended_at IS NULL;
  UPDATE orch.signal SET status = 'resolved' WHERE status = 'firing';
  SELECT test.pass('2 days') $$;
CREATE FUNCTION test.window(p_monitor text, p_number int, p_value float8, p_verdict text DEFAULT 'ok', p_ago interval DEFAULT '0') RETURNS void LANGUAGE sql AS $$
  INSERT INTO orch.monitor_window (monitor_id, number, from_row, to_row, rows, version_id, verdict, result, closed_at)
    SELECT m.id, p_number, (p_number - 1) * 250, p_number * 250, 250, (SELECT champion_id FROM orch.pipeline WHERE name = 'housing'), p_verdict,
      jsonb_build_object('value', p_value, 'threshold', 0.75), orch.clock() - p_ago FROM orch.monitor m WHERE m.name = p_monitor $$;
SELECT test.window('inputs', n, 0.1) FROM generate_series(1, 5) n;

SELECT is(array_agg(orch.words_number(n)), '{0,6.1,0.4137,250123,-12.35,1.235e-05,2e-07,-1.5e+09,1000,999.9,1.798e+308,4.941e-324}',
  'numbers for people, as in the shell') FROM unnest('{0,6.1,0.41366,250123.4,-12.345678,0.0000123456,0.0000002,-1500000000,999.96,999.94,1.7976931348623157e308,5e-324}'::float8[]) n;

-- Drift alone.
SELECT test.say('drift', '{"since_at": "2009-01-01T00:00:00Z"}' || test.columns(test.column('inventory', 0.41)));
SELECT is(test.d() ->> 'verdict', 'drift', 'one drift is drift');
SELECT is(test.d() ->> 'summary', 'inventory rose from a median of 6.1 to 8.9 (PSI 0.41) since 2009-01-01, over 3 windows of 250 rows; it looks like drift, not like broken data',
  'who reads this knows what moved, how far, since when, and what it is');
SELECT is(test.d() -> 'since', '{"at": "2009-01-01T00:00:00.000Z", "row": 500, "rows": 250, "by_rows": true, "windows": 3}', 'since when, in numbers');
SELECT is((test.d() #> '{columns,0}') - '{quantiles,why,histogram,missing}'::text[], '{"psi": 0.41, "kind": "numeric", "name": "inventory", "n_now": 250, "n_ref": 1328, "effect": 0.41,
  "weight": 0.41, "monitor": "inputs", "p_value": 0.0001, "since_at": "2009-01-01T00:00:00Z", "direction": "up", "since_row": null, "importance": 1,
  "words": "inventory rose from a median of 6.1 to 8.9 (PSI 0.41)"}', 'a column');
SELECT is(test.d() #>> '{columns,0,quantiles,now}', '[3, 6, 8.9, 10, 12]', 'with its quantiles');
SELECT is(test.d() -> 'live_metric', 'null', 'nobody measures the model');
SELECT is(test.d() -> 'if_ignored', 'null', 'so nobody can say what ignoring it costs');
SELECT is((SELECT data #>> '{diagnosis,summary}' FROM orch.event WHERE type = 'proposal.created' ORDER BY id DESC LIMIT 1), test.d() ->> 'summary', 'the event says the same');
SELECT is(orch.api_proposal(test.now()) #>> '{diagnosis,summary}', test.d() ->> 'summary', 'and the document of the proposal');

-- Ranked by effect times importance; a signal that joins adds its columns.
UPDATE orch.monitor SET spec = spec || '{"importance": {"sales": 3}}' WHERE name = 'inputs';
SELECT test.say('drift', test.columns(test.column('inventory', 0.41), test.column('sales', 0.25, '{2,4,100,120,130}', '{1,2,80,90,99}'), test.column('listings', 0.3)));
SELECT is((SELECT string_agg((c ->> 'name') || ' ' || (c ->> 'weight') || ' ' || (c ->> 'direction'), ', ' ORDER BY o)
  FROM jsonb_array_elements(test.d() -> 'columns') WITH ORDINALITY t(c, o)), 'sales 0.75 down, inventory 0.41 up, listings 0.3 up', 'columns by weight');
SELECT matches(test.d() ->> 'summary', '^sales fell from a median of 100 to 80 \(PSI 0.25\) since row 500, over 3 windows of 250 rows, and 2 more columns moved; it looks', 'the first leads, the others are counted');
SELECT test.say('prediction_drift', test.columns(test.column('score', 0.9, p_more => '{"direction": "spread"}')), '{"fingerprint": "o", "source": "monitor:outputs"}');
SELECT matches(test.d() ->> 'summary', '^score spread differently \(middle from 2\.\.9 to 3\.\.12\) \(PSI 0.90\)', 'a spread is no rise');
SELECT is(test.d() ->> 'verdict', 'drift', 'drift of outputs is drift');

-- The live metric.
INSERT INTO orch.monitor (pipeline_id, name, kind, stream, spec, version_id)
  SELECT id, 'accuracy', 'performance', 'labels', '{"name": "accuracy", "kind": "performance", "metric": "accuracy", "min": 0.75}', champion_id FROM orch.pipeline;
SELECT test.window('accuracy', 1, 0.84, 'ok', '3 hours'), test.window('accuracy', 2, 0.83, 'ok', '2 hours'), test.window('accuracy', 3, NULL, 'insufficient', '2 hours');
SELECT is(test.d() ->> 'if_ignored', 'accuracy has not been measured since', 'no window since it began');
SELECT test.pass('1 hour');
SELECT test.window('accuracy', 4, 0.78), test.window('accuracy', 5, 0.71, 'alarm');
SELECT is((test.d() -> 'live_metric') - 'series', '{"now": 0.71, "better": "up", "metric": "accuracy", "monitor": "accuracy", "verdict": "alarm", "estimated": false, "threshold": 0.75,
  "at_promotion": 0.85}', 'against the champion''s evaluation');
SELECT is((SELECT string_agg(x ->> 'value', ' ' ORDER BY o) FROM jsonb_array_elements(test.d() #> '{live_metric,series}') WITH ORDINALITY t(x, o)), '0.84 0.83 0.78 0.71', 'over time, oldest first');
SELECT is(test.d() ->> 'if_ignored', 'since then the live model went from 0.83 to 0.71 in accuracy over 2 windows: left alone, it goes on with that', 'what ignoring it would have meant');
SELECT matches(test.d() ->> 'summary', 'not like broken data; accuracy fell from 0.85 at promotion to 0.71, under its line of 0.75 meanwhile$', 'the summary says so too');
UPDATE orch.monitor SET kind = 'estimated_performance', stream = 'rows' WHERE name = 'accuracy';
SELECT matches(test.d() ->> 'summary', 'accuracy \(estimated\) fell', 'an estimate is marked as one');
UPDATE orch.monitor SET kind = 'performance', stream = 'labels', spec = spec || '{"metric": "mae"}' WHERE name = 'accuracy';
SELECT matches(test.d() ->> 'if_ignored', 'in mae over 2 windows: so far, leaving it alone has cost nothing$', 'of an error, less is better');
UPDATE orch.monitor SET spec = spec || '{"metric": "accuracy"}' WHERE name = 'accuracy';

SET LOCAL session_replication_role = replica; -- windows never change, except here
UPDATE orch.monitor_window SET result = result || jsonb_build_object('newest_at', '2008-12-0' || number || 'T00:00:00Z')
  WHERE monitor_id = (SELECT id FROM orch.monitor WHERE name = 'accuracy');
SET LOCAL session_replication_role = origin;
SELECT is(test.d() #>> '{live_metric,series,0,at}', '2008-12-01T00:00:00.000Z', 'a window is as old as its rows');

-- Beside broken data, and what else fires.
SELECT is(test.say('data_fault', '{"columns": [{"name": "price", "verdict": "fault", "why": "missing 0 % -> 40 %", "missing": {"ref": 0, "now": 0.4}}]}', '{"fingerprint": "f"}') ->> 'disposition',
  'recorded', 'a fault that comes later');
SELECT test.say('latency', '{}', '{"fingerprint": "l", "title": "p99 is 80 ms"}');
SELECT is(test.d() ->> 'verdict', 'mixed', 'drift and a fault are mixed');
SELECT matches(test.d() ->> 'summary', '; the data are broken too: price \(missing 0 % -> 40 %\), so look there first', 'and the fault is named');
SELECT is(test.d() #>> '{faults,0,missing,now}', '0.4', 'with its numbers');
SELECT is((SELECT string_agg(a ->> 'kind', ' ' ORDER BY o) FROM jsonb_array_elements(test.d() -> 'also') WITH ORDINALITY t(a, o)), 'data_fault latency', 'what else fires here');
SELECT test.say('data_fault', '{"faults": [{"column": null, "check": "sorted", "why": "rows are sorted by price", "share_ref": 0, "share_now": 1}]}', '{"fingerprint": "q", "source": "monitor:quality"}');
SELECT is(test.d() #> '{faults,1}', '{"why": "rows are sorted by price", "name": null, "check": "sorted", "monitor": "inputs", "share_now": 1, "share_ref": 0}', 'what a quality monitor says');

-- At the gate it is frozen, and the gate's event and the proposal show what is frozen.
SELECT test.work();
SELECT is((SELECT evidence::jsonb #>> '{diagnosis,verdict}' FROM orch.gate ORDER BY id DESC LIMIT 1), 'mixed', 'the evidence carries it');
UPDATE orch.signal SET status = 'resolved' WHERE kind = 'data_fault';
SELECT is(test.d() ->> 'verdict', 'drift', 'what goes on afterwards');
SELECT is(orch.api_proposal(test.now()) #>> '{diagnosis,verdict}', 'mixed', 'does not change what people were asked with');
SELECT is((SELECT data #>> '{evidence,diagnosis,summary}' FROM orch.event WHERE type = 'gate.opened' ORDER BY id DESC LIMIT 1),
  (SELECT evidence::jsonb #>> '{diagnosis,summary}' FROM orch.gate ORDER BY id DESC LIMIT 1), 'the event is the evidence');
SELECT test.over();

-- Other reasons.
SELECT orch.proposal_create('housing', 'new season', 'keep', 'reviewer:dana', NULL, NULL);
SELECT is(test.d() ->> 'verdict' || ': ' || (test.d() ->> 'summary'), 'asked: dana asked: new season; accuracy fell from 0.85 at promotion to 0.71, under its line of 0.75 meanwhile', 'a person');
SELECT is(test.d() -> 'since', 'null', 'has no since');
SELECT test.say('drift', test.columns(test.column('inventory', 0.41)));
SELECT is(test.d() ->> 'verdict', 'drift', 'who asks says nothing about what moved');
SELECT test.over();
SELECT test.say('data_fault', '{"columns": [{"name": "price", "why": "all missing"}]}', '{"fingerprint": "f"}');
SELECT orch.proposal_create('housing', 'anyway', 'keep', 'user:x', NULL, NULL);
SELECT is(test.d() ->> 'verdict', 'fault', 'a person who asks while the data are broken');
SELECT matches(test.d() ->> 'summary', '^x asked: anyway; but the data are broken: price \(all missing\), and a retraining would learn that', 'is told so');
SELECT test.over();
SELECT test.say('performance', '{"value": 0.71}', '{"title": "accuracy is low"}');
SELECT is(test.d() ->> 'verdict' || ': ' || (test.d() ->> 'summary'), 'performance: accuracy fell from 0.85 at promotion to 0.71, under its line of 0.75 since row 500, over 3 windows of 250 labels', 'late labels');
SELECT test.over();
SELECT test.say('schedule', '{}', '{"title": "the schedule \"0 3 * * 1\" asks for it"}');
SELECT matches(test.d() ->> 'verdict' || ': ' || (test.d() ->> 'summary'), '^schedule: the schedule "0 3 \* \* 1" asks for it; no monitor asks for it', 'a schedule');
SELECT test.say('performance', '{}');
SELECT is(test.d() ->> 'verdict', 'mixed', 'with late labels it is mixed');
SELECT test.say('drift', '{"since_row": 750, "since_at": "2009-06-01T00:00:00Z"}' || test.columns(test.column('inventory', 0.41)));
SELECT is(test.d() #>> '{since,at}', '2009-06-01T00:00:00.000Z', 'since when is told of what the summary leads with');
SELECT matches(test.d() ->> 'summary', '^inventory rose .* since 2009-06-01, over 2 windows of 250 rows; it looks like drift, not like broken data; accuracy fell', 'which is what moved');
SELECT test.over();
SELECT test.say('alert', '{}', '{"title": "error rate", "source": "alertmanager"}');
SELECT matches(test.d() ->> 'summary', '^alertmanager says: error rate', 'an alert');
SELECT test.over();

-- Categories.
SELECT test.say('drift', test.columns('{"name": "city", "kind": "categorical", "psi": 0.31, "effect": 0.31, "direction": "categories",
  "histogram": {"labels": ["Austin", "Dallas", "other"], "ref": [0.5, 0.12, 0.38], "now": [0.45, 0.31, 0.24]}}'));
SELECT matches(test.d() ->> 'summary', '^city changed its mix, Dallas from 12 % to 31 % \(PSI 0.31\) since row 500', 'the category that moved most');
SELECT test.over();

-- What an incident holds is named.
SELECT test.apply(test.spec(n)) FROM unnest('{b,c}'::text[]) n;
SELECT test.drift('b'), test.drift('c');
SELECT is(test.say('drift', test.columns(test.column('a', 0.4))) ->> 'disposition', 'held', 'the third of a cascade');
SELECT orch.incident_release(1, 'fine', 'user:x'); SELECT orch.signals_reconsider(10);
SELECT is((SELECT string_agg((a ->> 'pipeline') || ' ' || (a ->> 'incident'), ', ' ORDER BY o) FROM jsonb_array_elements(test.d() -> 'also') WITH ORDINALITY t(a, o)), 'b 1, c 1', 'what fired together');
SELECT test.over();

-- Hostile details.
SELECT test.say('drift', jsonb_build_object('columns', (SELECT jsonb_agg(test.column('c' || n, n)) FROM generate_series(1, 50) n), 'more_columns', 7));
SELECT is(jsonb_array_length(test.d() -> 'columns') || ' ' || (test.d() ->> 'more_columns') || ' ' || (test.d() #>> '{columns,0,name}'), '20 37 c50', 'twenty at most, the heaviest');
SELECT test.over();
SELECT lives_ok(format('DO $x$ BEGIN PERFORM test.say(''drift'', %L); PERFORM test.d(); END $x$', d), 'whatever a detail holds: ' || left(d, 40)) FROM unnest(ARRAY['{"columns": 5}', '{"columns": [1, null, [], {}, {"name": {}}]}',
  '{"columns": [{"name": "x", "psi": "big", "effect": [], "quantiles": {"ref": "a", "now": [null]}, "histogram": {"labels": 3}, "chi2": 4}], "since_at": "yesterday", "since_row": "x", "window": []}',
  '{"columns": [{"name": "x", "psi": 1e400, "quantiles": {"ref": [1e999], "now": [1]}, "direction": "categories", "histogram": {"labels": ["a"], "ref": ["b"]}}], "more_columns": -5e299, "since_at": "2009-99-99T00:00:00Z"}',
  '{"columns": [{"name": "x", "direction": "spread", "quantiles": {"ref": [], "now": []}}], "monitor": {"a": 1}}']) d;
SELECT is(test.d() #>> '{columns,0,name}', 'x', 'what can be read is read');
SELECT test.over();
SELECT test.say('drift', jsonb_build_object('columns', jsonb_build_array(test.column('big', 1, p_more => jsonb_build_object('histogram', jsonb_build_object('labels',
  (SELECT jsonb_agg('label ' || n) FROM generate_series(1, 5000) n)))))));
SELECT is(octet_length(test.d()::text) < 20000, true, 'pieces that are too large are left out');
SELECT * FROM finish();
ROLLBACK;
