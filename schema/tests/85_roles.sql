-- Least privilege: what each role may call, and that nobody may touch a table.
BEGIN;
\ir fixture/governance.psql
SELECT plan(47);
SELECT test.world();
CREATE ROLE t_server LOGIN; CREATE ROLE t_worker LOGIN; CREATE ROLE t_operator LOGIN; CREATE ROLE t_reader LOGIN; CREATE ROLE t_nobody LOGIN;
GRANT orch_server TO t_server; GRANT orch_worker TO t_worker; GRANT orch_operator TO t_operator; GRANT orch_reader TO t_reader;
GRANT USAGE ON SCHEMA test TO PUBLIC;

-- ---------------------------------------------------------------- who may call what
CREATE FUNCTION test.may_call(p_role text) RETURNS text[] LANGUAGE sql AS $$
  SELECT array_agg(DISTINCT p.proname::text ORDER BY p.proname::text) FROM pg_proc p
  WHERE p.pronamespace = 'orch'::regnamespace AND has_function_privilege(p_role, p.oid, 'EXECUTE') $$;
SELECT is(test.may_call('t_worker'), ARRAY['job_claim', 'job_exchange', 'job_finish', 'job_progress', 'job_release', 'job_swap', 'worker_heartbeat',
  'worker_register', 'worker_resume', 'worker_stop'], 'a worker claims, reports, heartbeats and finishes: nothing else');
SELECT is(test.may_call('t_reader'), ARRAY['api_audit', 'api_gate', 'api_history', 'api_incident', 'api_incidents', 'api_lineage', 'api_metrics', 'api_monitors', 'api_outbox', 'api_pipeline',
  'api_pipelines', 'api_proposal', 'api_proposals', 'api_reviewers', 'api_signals', 'api_status', 'api_tokens', 'api_trends', 'api_version', 'api_versions',
  'audit_verify', 'backtest_plan', 'migrations_applied', 'pipeline_live', 'queue_status'], 'a reader reads');
SELECT is(ARRAY(SELECT unnest(test.may_call('t_operator')) EXCEPT SELECT unnest(test.may_call('t_reader')) ORDER BY 1), ARRAY['deployment_finish',
  'deployment_renew', 'gate_decide', 'hold_release', 'hold_set', 'incident_dismiss', 'incident_release', 'labels_append', 'labels_append_many', 'observations_append',
  'observations_append_many', 'observe_plan', 'outbox_revive', 'pipeline_apply', 'proposal_cancel',
  'proposal_create', 'rollback_begin', 'server_apply', 'signal_receive', 'token_check', 'token_create', 'token_revoke'],
  'an operator also does what the shell does');
SELECT is(ARRAY(SELECT unnest(test.may_call('t_reader')) EXCEPT SELECT unnest(test.may_call('t_operator'))), '{}', 'and reads everything');
SELECT is(ARRAY(SELECT unnest(test.may_call('t_server')) EXCEPT SELECT unnest(test.may_call('t_operator')) ORDER BY 1), ARRAY['callback_sources',
  'chat_message_record', 'clock_fire', 'deployment_claim', 'gates_expire', 'housekeeping', 'jobs_promote_due', 'jobs_recover',
  'observations_read', 'outbox_claim', 'outbox_done', 'outbox_retry', 'probe_claim', 'probe_report', 'profiles_read', 'replay_seen', 'session_check', 'session_create', 'session_end', 'signal_receive_once', 'signals_reconsider', 'windows_claim', 'windows_close', 'workers_forget'],
  'a server has its duties besides');
SELECT is(ARRAY(SELECT unnest(test.may_call('t_server')) INTERSECT SELECT unnest(test.may_call('t_worker'))), '{}', 'a server runs no jobs');
SELECT is(test.may_call('t_nobody'), NULL, 'a login without a role calls nothing');
SELECT is(test.may_call('public'), NULL, 'nor does PUBLIC');
SELECT is((SELECT count(*) FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = 'orch' AND a.grantee = 0), 0::bigint, 'PUBLIC may not even look into the schema');
SELECT is((SELECT bool_or(has_schema_privilege(r, 'orch', 'CREATE')) FROM unnest(ARRAY['t_server', 't_worker', 't_operator', 't_reader', 't_nobody']) r), false,
  'nobody makes anything in the schema');

-- ---------------------------------------------------------------- tables and sequences
SELECT is((SELECT count(*) FROM pg_class c, unnest(ARRAY['t_server', 't_worker', 't_operator', 't_reader', 't_nobody', 'public']) r
  WHERE c.relnamespace = 'orch'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p', 'f') AND (has_table_privilege(r, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
    OR has_any_column_privilege(r, c.oid, 'SELECT, INSERT, UPDATE, REFERENCES'))), 0::bigint, 'no role has any privilege on any table or column');
SELECT is((SELECT count(*) FROM pg_class c, unnest(ARRAY['t_server', 't_worker', 't_operator', 't_reader', 't_nobody', 'public']) r
  WHERE c.relnamespace = 'orch'::regnamespace AND c.relkind = 'S' AND has_sequence_privilege(r, c.oid, 'USAGE, SELECT, UPDATE')), 0::bigint, 'nor on any sequence');
SELECT is((SELECT count(*) FROM pg_class c, aclexplode(c.relacl) a WHERE c.relnamespace = 'orch'::regnamespace AND a.grantee <> c.relowner), 0::bigint,
  'nobody but the owner stands in a table''s list');

-- ---------------------------------------------------------------- functions that act as their owner
SELECT is((SELECT count(*) FROM pg_proc p WHERE p.pronamespace = 'orch'::regnamespace AND p.prosecdef), (SELECT count(*) FROM pg_proc p
  WHERE p.pronamespace = 'orch'::regnamespace AND p.prosecdef AND EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c ~ '^search_path=(orch|pg_catalog), pg_temp$')),
  'each sets its search_path, temporary objects last');
SELECT is((SELECT array_agg(p.proname::text ORDER BY p.proname::text) FROM pg_proc p WHERE p.pronamespace = 'orch'::regnamespace AND NOT p.prosecdef
  AND EXISTS (SELECT FROM unnest(ARRAY['t_server', 't_worker', 't_operator', 't_reader']) r WHERE has_function_privilege(r, p.oid, 'EXECUTE'))), NULL,
  'what a role may call acts as the owner; the rest nobody may call');

-- ---------------------------------------------------------------- what a login meets
CREATE FUNCTION test.denied(p_sql text, p_what text) RETURNS text LANGUAGE sql AS $$ SELECT throws_ok(p_sql, '42501', NULL, p_what) $$;
SET LOCAL SESSION AUTHORIZATION t_worker;
SELECT test.denied('SELECT * FROM orch.job', 'a worker reads no table');
SELECT test.denied('SELECT nextval(''orch.job_lease'')', 'nor draws a lease');
SELECT test.denied('SELECT orch.gate_decide(1, ''{}'')', 'nor decides');
SELECT test.denied('SELECT orch.hold_set(''housing'', ''x'', ''me'')', 'nor holds');
SELECT test.denied('SELECT orch.rollback_begin(''housing'', NULL, ''x'', ''me'', true)', 'nor rolls back');
SELECT test.denied('SELECT orch.api_status()', 'nor reads the status');
SELECT test.denied('SELECT orch.proposal_on_job(1, 1, ''train'', ''train'', NULL, ''succeeded'', ''{}'')', 'nor reports a job past the queue');
SELECT test.denied('SELECT orch.act(''reviewer:dana'')', 'nor says who acts');
SELECT is((orch.worker_register('w', 'h', 1, '{}', 1, 1, 0, 1, 60000) ->> 'worker')::bigint > 0, true, 'but it registers');
RESET SESSION AUTHORIZATION;
SET LOCAL SESSION AUTHORIZATION t_reader;
SELECT is(orch.api_status() #>> '{pipelines,0,pipeline}', 'housing', 'a reader reads the status');
SELECT is(orch.api_metrics() ? 'xmin_age_seconds', true, 'and the numbers');
SELECT is(orch.audit_verify(NULL) ->> 'ok', 'true', 'and verifies the audit chains');
SELECT test.denied('SELECT orch.proposal_create(''housing'', ''x'', ''keep'', ''user:x'', NULL, NULL)', 'but proposes nothing');
SELECT test.denied('UPDATE orch.pipeline SET owner = ''me''', 'and changes nothing');
RESET SESSION AUTHORIZATION;
SET LOCAL SESSION AUTHORIZATION t_nobody;
SELECT test.denied('SELECT orch.api_status()', 'a login without a role reads nothing');
RESET SESSION AUTHORIZATION;

-- ---------------------------------------------------------------- who counts as whom
SELECT test.candidate() AS g \gset
SELECT digest AS d FROM orch.gate WHERE id = :g \gset
CREATE FUNCTION test.say(p_digest text, p_more jsonb) RETURNS jsonb LANGUAGE sql AS $$
  SELECT '{"verdict": "approve", "comment": "fine"}' || jsonb_build_object('digest', p_digest) || p_more $$;
CREATE ROLE erik LOGIN; CREATE ROLE dana LOGIN; GRANT orch_operator TO erik, dana;
SET LOCAL SESSION AUTHORIZATION t_operator;
SELECT is(orch.gate_decide(:g, test.say(:'d', '{"via": "api", "reviewer": "dana"}')) ->> 'code', 'not_server', 'an operator does not decide for the server''s people');
SELECT is(orch.gate_decide(:g, test.say(:'d', '{"via": "slack", "slack": "T1/U1"}')) ->> 'code', 'not_server', 'nor for a Slack account');
SELECT is(orch.gate_decide(:g, test.say(:'d', '{"via": "cli", "reviewer": "dana"}')) ->> 'code', 'unproven', 'nor by naming somebody');
RESET SESSION AUTHORIZATION;
SET LOCAL SESSION AUTHORIZATION erik;
SELECT is(orch.gate_decide(:g, test.say(:'d', '{"via": "cli"}')) ->> 'reviewer', 'erik', 'a login named like a reviewer decides as that reviewer');
SELECT is(orch.gate_decide(:g, test.say(:'d', '{"via": "cli", "reviewer": "dana"}')) ->> 'reviewer', 'erik', 'and as nobody else');
RESET SESSION AUTHORIZATION;
SET LOCAL SESSION AUTHORIZATION t_server;
SELECT is(orch.gate_decide(:g, test.say(:'d', '{"via": "api", "reviewer": "dana"}')) ->> 'outcome', 'accepted', 'a server decides for whom it has proven');
RESET SESSION AUTHORIZATION;
SELECT test.deploy(); SELECT test.pass('1 day');

-- A reviewer's login that proposes under another name is still the proposer.
SET LOCAL SESSION AUTHORIZATION dana;
SELECT orch.proposal_create('housing', 'mine', 'keep', 'user:somebody', NULL, NULL) ->> 'proposal' AS p \gset
RESET SESSION AUTHORIZATION;
SELECT test.work();
SELECT id AS g, digest AS d FROM orch.gate WHERE proposal_id = :p \gset
SET LOCAL SESSION AUTHORIZATION dana;
SELECT is(orch.gate_decide(:g, test.say(:'d', '{"via": "cli"}')) ->> 'code', 'own_proposal', 'whoever proposes under another name cannot approve it either');
RESET SESSION AUTHORIZATION;
SELECT orch.proposal_cancel(:p, 'x', 'user:test'); SELECT test.pass('1 day');
-- Nor one whose signal it was.
SELECT orch.signal_receive('housing', '{"source": "s", "kind": "external", "fingerprint": "f", "status": "firing", "title": "retrain it"}', 'reviewer:dana') ->> 'proposal' AS p \gset
SELECT is((SELECT array_agg(r.name) FROM orch.proposal_proposer o JOIN orch.reviewer r ON r.id = o.reviewer_id WHERE o.proposal_id = :p), ARRAY['dana'],
  'a person''s signal makes that person a proposer');

-- A worker cannot sign the audit trail as somebody else.
SELECT audit.seq AS before FROM orch.audit_head audit WHERE scope = (SELECT id FROM orch.pipeline) \gset
SET LOCAL SESSION AUTHORIZATION t_worker;
SELECT set_config('orch.actor', 'reviewer:dana', true);
SELECT (orch.worker_register('x', 'h', 1, '{}', 8, 1 << 30, 0, 8, 60000) ->> 'worker')::bigint AS w \gset
SELECT job, lease FROM orch.job_claim(:w, 1, NULL) \gset
SELECT orch.job_finish(:w, :job, :lease, 'succeeded', jsonb_build_object('output', 'sha256:' || repeat('a', 64))) AS outcome \gset
RESET SESSION AUTHORIZATION;
SELECT is((SELECT array_agg(DISTINCT actor) FROM orch.audit WHERE scope = (SELECT id FROM orch.pipeline) AND seq > :before), ARRAY['system:worker via login t_worker'],
  'what a worker brings is signed by the worker, whatever its session says');

-- ---------------------------------------------------------------- shadowing
SET LOCAL SESSION AUTHORIZATION t_operator;
SET LOCAL search_path = pg_temp, public;
CREATE TEMP TABLE hold (id bigint, pipeline_id bigint, reason text, actor text, at timestamptz, released_at timestamptz);
CREATE TEMP TABLE pipeline (id bigint, name text, champion_id bigint);
CREATE TEMP TABLE reviewer (id bigint, name text, active boolean);
INSERT INTO pipeline VALUES (1, 'trap', NULL);
INSERT INTO reviewer VALUES (1, 't_operator', true);
CREATE FUNCTION pg_temp.fail(text, text, text DEFAULT '') RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION pg_temp.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT '1999-01-01'::timestamptz $$;
CREATE FUNCTION pg_temp.length(text) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE DOMAIN pg_temp.jsonb AS text;
SELECT throws_ok('SELECT orch.hold_set(''trap'', ''x'', ''user:x'')', 'OR001', NULL, 'temporary tables are not what the functions read');
SELECT throws_ok('SELECT orch.hold_set(''housing'', '' '', ''user:x'')', 'OR003', NULL, 'nor temporary functions what they call');
SELECT throws_ok('SELECT orch.hold_set(''housing'', repeat(''x'', 2001), ''user:x'')', 'OR007', NULL, 'nor those that stand for PostgreSQL''s own');
SELECT is(orch.gate_decide(:g, test.say(:'d', '{"via": "cli"}')) ->> 'code', 'unproven', 'a temporary reviewer is none');
SELECT is((orch.hold_set('housing', 'real', 'user:x') ->> 'changed')::boolean, true, 'the real hold is set');
SELECT is((SELECT count(*) FROM pg_temp.hold), 0::bigint, 'and not the false one');
RESET SESSION AUTHORIZATION;
RESET search_path;
SELECT is((SELECT count(*) FROM orch.hold WHERE released_at IS NULL), 1::bigint, 'it is where it belongs');
SELECT is((SELECT at > now() - interval '1 day' FROM orch.hold WHERE released_at IS NULL), true, 'with the real time');
SELECT * FROM finish();
ROLLBACK;
