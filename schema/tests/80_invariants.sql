-- Each invariant against plain SQL by the owner of the tables.
BEGIN;
\ir fixture/governance.psql
SELECT plan(53);
SELECT test.world();
SELECT test.live();
SELECT test.live();
SELECT test.candidate() AS g \gset
SELECT id AS d1 FROM orch.deployment WHERE version_id = (SELECT id FROM orch.version WHERE number = 1) \gset
CREATE FUNCTION test.refused(p_sql text, p_what text) RETURNS text LANGUAGE sql AS $$ SELECT throws_ok(p_sql, 'OR002', NULL, p_what) $$;

-- I1: what goes live.
SELECT test.refused('UPDATE orch.pipeline SET champion_id = (SELECT id FROM orch.version WHERE number = 3)', 'I1 the pointer does not move by hand');
SELECT test.refused(format('UPDATE orch.pipeline SET champion_id = 1, champion_deployment_id = %s', :d1), 'I1 an old deployment is not used twice');
SELECT test.refused('UPDATE orch.pipeline SET champion_id = NULL, champion_deployment_id = NULL', 'I1 the pointer is not cleared by hand');
SELECT test.refused($$INSERT INTO orch.pipeline (name, owner, oncall, champion_id, created_at) VALUES ('x', 'o', 'c', 1, now())$$, 'I1 no pipeline is born with a champion');
SELECT test.refused(format($$INSERT INTO orch.deployment (pipeline_id, version_id, gate_id, kind, state, driver, actor, due_at, created_at)
  SELECT pipeline_id, version_id, id, 'promote', 'pending', '{}', 'me', now(), now() FROM orch.gate WHERE id = %s$$, :g), 'I1 no deployment through an open gate');
SELECT test.refused($$INSERT INTO orch.deployment (pipeline_id, version_id, gate_id, kind, state, driver, actor, due_at, created_at)
  SELECT g.pipeline_id, v.id, g.id, 'promote', 'pending', '{}', 'me', now(), now() FROM orch.gate g, orch.version v WHERE g.id = 1 AND v.number = 3$$,
  'I1 nor through the gate of another version');
SELECT throws_ok($$INSERT INTO orch.deployment (pipeline_id, version_id, kind, state, driver, actor, due_at, created_at)
  SELECT pipeline_id, id, 'promote', 'pending', '{}', 'me', now(), now() FROM orch.version WHERE number = 3$$, 'OR002', NULL, 'I1 nor without a gate');
SELECT test.refused($$INSERT INTO orch.deployment (pipeline_id, version_id, kind, state, driver, actor, due_at, created_at)
  SELECT pipeline_id, id, 'rollback', 'stepping', '{}', 'me', now(), now() FROM orch.version WHERE number = 3$$, 'I1 no rollback to what was never live');
SELECT test.refused($$INSERT INTO orch.deployment (pipeline_id, version_id, kind, state, driver, actor, due_at, created_at)
  SELECT pipeline_id, id, 'rollback', 'live', '{}', 'me', now(), now() FROM orch.version WHERE number = 1$$, 'I1 no deployment is born live');
SELECT test.refused($$INSERT INTO orch.live_period (pipeline_id, version_id, deployment_id, since) SELECT pipeline_id, id, 1, now() FROM orch.version WHERE number = 3$$,
  'I1 history is not written by hand');
SELECT test.refused('DELETE FROM orch.live_period', 'I1 nor deleted');
SELECT test.refused('UPDATE orch.live_period SET version_id = 1', 'I1 nor changed');
SELECT test.refused($$UPDATE orch.version SET artifact = test.digest('other')$$, 'I1 a version is immutable');
SELECT test.refused($$UPDATE orch.version SET metrics = '{"accuracy": 1}'$$, 'I1 its metrics too');
SELECT test.refused('DELETE FROM orch.version', 'I1 versions are not deleted');

-- I2: who counts.
SELECT test.refused(format('UPDATE orch.gate SET state = ''approved'', closed_at = now() WHERE id = %s', :g), 'I2 no approval without votes');
INSERT INTO orch.proposal_proposer (proposal_id, reviewer_id, at) SELECT proposal_id, (SELECT id FROM orch.reviewer WHERE name = 'dana'), now() FROM orch.gate WHERE id = :g;
CREATE FUNCTION test.vote(p_gate bigint, p_who text, p_verdict text DEFAULT 'approve', p_digest text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
  SELECT format('INSERT INTO orch.decision (gate_id, reviewer_id, verdict, comment, digest, via, at)
    SELECT g.id, r.id, %L, ''c'', coalesce(%L, g.digest), ''api'', now() FROM orch.gate g, orch.reviewer r WHERE g.id = %s AND r.name = %L',
    p_verdict, p_digest, p_gate, p_who) $$;
SELECT test.refused(test.vote(:g, 'dana'), 'I2 the proposer''s vote is not taken');
SELECT test.refused(test.vote(:g, 'gina'), 'I2 nor that of somebody in no group');
SELECT test.refused(test.vote(:g, 'erik', 'approve', test.digest('x')), 'I2 nor one for other evidence');
SELECT lives_ok(test.vote(:g, 'erik'), 'I2 an eligible one is');
SELECT throws_ok(test.vote(:g, 'erik'), '23505', NULL, 'I2 once');
SELECT test.refused(format('UPDATE orch.gate SET state = ''approved'', closed_at = now() WHERE id = %s', :g), 'I2 one vote serves one rule');
SELECT test.refused(format('UPDATE orch.decision SET gate_id = %s', :g), 'I2 votes do not move to another gate');
SELECT test.refused('DELETE FROM orch.decision', 'I2 nor vanish');
SELECT test.refused($$UPDATE orch.proposal_proposer SET reviewer_id = 4$$, 'I2 nor does who proposed');
SELECT test.refused('DELETE FROM orch.proposal_proposer', 'I2 neither way');
SELECT test.refused($$UPDATE orch.gate SET policy = '{"require": [{"group": "risk", "approvals": 1}]}' WHERE state = 'open'$$, 'I2 a gate''s policy is frozen');
SELECT test.refused($$UPDATE orch.gate SET evidence = '{}', digest = test.digest('{}') WHERE state = 'open'$$, 'I2 and its evidence');
SELECT throws_ok($$INSERT INTO orch.gate SELECT (jsonb_populate_record(g, '{"evidence": "{}"}')).* FROM orch.gate g WHERE state = 'open'$$, NULL, NULL,
  'I2 evidence and digest agree');

-- I3: closed is final.
SELECT test.refused('UPDATE orch.gate SET state = ''open'', closed_at = NULL WHERE id = 1', 'I3 a closed gate does not open');
SELECT test.refused('UPDATE orch.gate SET close_reason = ''other'' WHERE id = 1', 'I3 nor change');
SELECT test.refused(test.vote(1, 'finn', 'reject'), 'I3 nor take a vote');
SELECT test.refused('UPDATE orch.gate SET expires_at = expires_at + interval ''1 day'' WHERE state = ''open''', 'I3 time is not added');
SELECT test.refused('DELETE FROM orch.gate', 'I3 gates are not deleted');
SELECT test.refused('TRUNCATE orch.gate CASCADE', 'I3 nor truncated');

-- I4: one at a time.
SELECT throws_ok($$INSERT INTO orch.gate (pipeline_id, proposal_id, version_id, kind, state, policy, evidence, digest, nonce, opened_at, expires_at)
  SELECT pipeline_id, proposal_id, version_id, kind, state, policy, evidence, digest, nonce, opened_at, expires_at FROM orch.gate WHERE state = 'open'$$,
  '23505', NULL, 'I4 one open gate a pipeline');
SELECT lives_ok($$INSERT INTO orch.deployment (pipeline_id, version_id, kind, state, driver, actor, due_at, created_at)
  SELECT pipeline_id, id, 'rollback', 'stepping', '{}', 'me', now(), now() FROM orch.version WHERE number = 1$$, 'I4 one deployment may be in flight');
SELECT throws_ok($$INSERT INTO orch.deployment (pipeline_id, version_id, kind, state, driver, actor, due_at, created_at)
  SELECT pipeline_id, id, 'rollback', 'stepping', '{}', 'me', now(), now() FROM orch.version WHERE number = 1$$, '23505', NULL, 'I4 a second may not');
SELECT throws_ok($$INSERT INTO orch.proposal (pipeline_id, revision_id, state, reason, opened_by, version_number, seed, as_of, created_at, state_at)
  SELECT pipeline_id, revision_id, 'proposed', 'r', 'me', n, 1, now(), now(), now() FROM orch.proposal, generate_series(90, 91) n WHERE id = 1$$, '23505', NULL,
  'I4 work is done for one proposal at a time');

-- I6: nothing happens unheard.
SELECT count(*) AS audited FROM orch.audit \gset
SET LOCAL orch.actor = '';
UPDATE orch.reviewer SET groups = groups || ARRAY['risk'] WHERE name = 'gina';
SELECT is(count(*), :audited + 1::bigint, 'I6 plain SQL leaves a row as well') FROM orch.audit;
SELECT is(actor, 'sql:' || session_user, 'I6 in its login''s name') FROM orch.audit ORDER BY at DESC, seq DESC LIMIT 1;
SELECT test.refused('UPDATE orch.audit SET actor = ''somebody''', 'I6 audit rows do not change');
SELECT test.refused('DELETE FROM orch.audit', 'I6 nor vanish');
SELECT test.refused('TRUNCATE orch.audit', 'I6 nor at once');

-- I7: pinned artifacts.
SELECT throws_ok($$UPDATE orch.artifact SET removed_at = now() WHERE digest = (SELECT artifact FROM orch.version WHERE number = 2)$$, 'OR002', NULL, 'I7 the live one stays');
SELECT throws_ok($$UPDATE orch.artifact SET removed_at = now() WHERE digest = (SELECT artifact FROM orch.version WHERE number = 1)$$, 'OR002', NULL, 'I7 the good one before it too');
SELECT throws_ok($$UPDATE orch.artifact SET removed_at = now() WHERE digest = (SELECT artifact FROM orch.version WHERE number = 3)$$, 'OR002', NULL, 'I7 and one that waits at a gate');
SELECT test.refused('DELETE FROM orch.artifact', 'I7 rows are not deleted');
SELECT orch.gate_decide(:g, jsonb_build_object('verdict', 'reject', 'comment', 'no', 'via', 'api', 'reviewer', 'finn', 'digest', (SELECT digest FROM orch.gate WHERE id = :g)));
SELECT lives_ok($$UPDATE orch.artifact SET removed_at = now() WHERE digest = (SELECT artifact FROM orch.version WHERE number = 3)$$, 'I7 a rejected candidate may go');

-- Every move that is not drawn is refused; final states are final.
SELECT is((SELECT count(*) FROM (VALUES ('proposal'), ('gate'), ('deployment'), ('incident')) o(object),
    LATERAL (SELECT DISTINCT target AS s FROM orch.arrow a WHERE a.object = o.object) x), 14 + 6 + 5 + 4::bigint, 'the states are those of the design');
CREATE FUNCTION test.illegal(p_object text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
  r       record;
  v_wrong int := 0;
  v_id    bigint;
BEGIN
  -- One row of the object is put into each state with the triggers off, then every undrawn move is tried with them on.
  EXECUTE format('SELECT max(id) FROM orch.%I', p_object) INTO v_id;
  FOR r IN SELECT a.s AS source, b.s AS target FROM (SELECT DISTINCT target AS s FROM orch.arrow WHERE object = p_object) a,
      (SELECT DISTINCT target AS s FROM orch.arrow WHERE object = p_object) b
      WHERE a.s <> b.s AND NOT EXISTS (SELECT FROM orch.arrow x WHERE x.object = p_object AND x.source = a.s AND x.target = b.s) LOOP
    SET LOCAL session_replication_role = replica;
    EXECUTE format('UPDATE orch.%I SET state = %L WHERE id = %s', p_object, r.source, v_id);
    SET LOCAL session_replication_role = origin;
    BEGIN
      EXECUTE format('UPDATE orch.%I SET state = %L WHERE id = %s', p_object, r.target, v_id);
      v_wrong := v_wrong + 1;
      RAISE WARNING '% went from % to %', p_object, r.source, r.target;
    EXCEPTION WHEN SQLSTATE 'OR002' THEN NULL;
    END;
  END LOOP;
  RETURN v_wrong;
END $$;
SELECT is(test.illegal('proposal'), 0, 'no undrawn move of a proposal');
SELECT is(test.illegal('deployment'), 0, 'no undrawn move of a deployment');
INSERT INTO orch.incident (share, value, state, rule, opened_at) VALUES ('owner', 'o', 'open', '{}', now());
ALTER TABLE orch.incident DROP CONSTRAINT incident_check; -- in this test alone: it is the moves that are tried
SELECT is(test.illegal('incident'), 0, 'no undrawn move of an incident');
SELECT * FROM finish();
ROLLBACK;
