-- The pointer's move and the way back.
BEGIN;
\ir fixture/governance.psql
SELECT plan(46);
SELECT test.world();
CREATE FUNCTION test.champion() RETURNS int LANGUAGE sql AS $$
  SELECT v.number FROM orch.pipeline p JOIN orch.version v ON v.id = p.champion_id WHERE p.name = 'housing' $$;
CREATE FUNCTION test.back(p_to int DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS $$
  SELECT orch.rollback_begin('housing', p_to, 'it is bad', 'user:oncall', false) $$;
CREATE FUNCTION test.rolled(p jsonb) RETURNS text LANGUAGE sql AS $$
  SELECT orch.deployment_finish((p ->> 'deployment')::bigint, (p ->> 'lease')::bigint, true, '{}') ->> 'state' $$;

SELECT throws_ok('SELECT test.back()', 'OR002', NULL, 'nothing was ever live: nothing to roll back');
SELECT is(test.live(), 1, 'version 1 is live');
SELECT throws_ok('SELECT test.back()', 'OR002', NULL, 'no earlier good version');

-- A driver that fails leaves the old version live.
SELECT test.candidate() AS g \gset
SELECT test.approve(:g);
SELECT is(test.deploy(false), 'stepping', 'a failed driver is tried again');
SELECT is(test.deploy(), NULL, 'after a while');
SELECT test.pass('5 seconds');
SELECT is(test.deploy(false), 'stepping', 'three times in all');
SELECT test.pass('5 seconds');
SELECT is(test.deploy(false), 'aborted', 'then the deployment is aborted');
SELECT is(test.state(2), 'aborted', 'with its proposal');
SELECT is(test.champion(), 1, 'and version 1 is still live');
SELECT test.pass('1 day');

-- Leases.
SELECT test.candidate() AS g \gset
SELECT test.approve(:g);
SELECT id AS d, lease AS l FROM orch.deployment_claim('a', 10000) \gset
SELECT is((SELECT count(*) FROM orch.deployment_claim('b', 10000)), 0::bigint, 'one server has it');
SELECT lives_ok(format('SELECT orch.deployment_renew(%s, %s, 10000)', :d, :l), 'its lease can be renewed');
SELECT test.pass('11 seconds');
SELECT id AS d2, lease AS l2 FROM orch.deployment_claim('b', 10000) \gset
SELECT is(:d2, :d, 'when its server dies another gets it');
SELECT throws_ok(format('SELECT orch.deployment_finish(%s, %s, true, ''{}'')', :d, :l), 'OR004', NULL, 'the first has lost it, whatever it brings');
SELECT throws_ok(format('SELECT orch.deployment_renew(%s, %s, 1000)', :d, :l), 'OR004', NULL, 'and cannot renew');
SELECT is(orch.deployment_finish(:d2, :l2, true, '{}') ->> 'state', 'live', 'the second finishes');
SELECT is(test.champion(), 3, 'version 3 is live');
SELECT is(orch.pipeline_live('housing') ->> 'generation', :d::text, 'the deployment''s id is the generation');
SELECT is(next_row, 0::bigint, 'monitors have the new reference') FROM orch.monitor WHERE version_id = (SELECT id FROM orch.version WHERE number = 3);

-- Rollback: no gate, no steps.
SELECT is(orch.rollback_begin('housing', NULL, NULL, 'user:oncall', true) ->> 'version', '1', 'a dry run names the target');
SELECT is((SELECT count(*) FROM orch.hold), 0::bigint, 'and changes nothing');
SELECT orch.proposal_create('housing', 'under way', 'keep', 'user:test', NULL, NULL) ->> 'proposal' AS q \gset
SELECT test.back() AS r \gset
SELECT is(:'r'::jsonb ->> 'version', '1', 'rollback goes to the last good version');
SELECT is(:'r'::jsonb ->> 'ended', '[' || :q || ']', 'what was in flight ends');
SELECT is(test.state(:q), 'cancelled', 'cancelled');
SELECT isnt(quarantined_at, NULL, 'the bad version is quarantined') FROM orch.version WHERE number = 3;
SELECT is(test.champion(), 3, 'the pointer moves only when the driver has run');
SELECT is((SELECT count(*) FROM orch.deployment_claim('server', 1000)), 0::bigint, 'no server interferes while the command has the lease');
SELECT is(test.back() ->> 'deployment', :'r'::jsonb ->> 'deployment', 'a command that died is run again: the same rollback goes on');
SELECT throws_ok(format('SELECT test.rolled(%L)', :'r'), 'OR004', NULL, 'the dead one''s lease is void');
SELECT test.pass('61 seconds');
SELECT is(test.deploy(), 'live', 'or a server carries it on');
SELECT is(test.champion(), 1, 'version 1 is live again');
SELECT is(test.state(3), 'rolled_back', 'promoted -> rolled_back');
SELECT is(state, 'rolled_back', 'live -> rolled_back') FROM orch.deployment WHERE id = :d;
SELECT results_eq('SELECT v.number, l.good FROM orch.live_period l JOIN orch.version v ON v.id = l.version_id ORDER BY l.id',
  $$VALUES (1, true), (3, false), (1, true)$$, 'history says what was live and what was bad');
SELECT is(test.back() ->> 'skipped', 'true', 'twice in a row is safe: it never returns to the bad version');
SELECT is(test.back(1) ->> 'why', 'already at 1', 'skipped rollback (already at 1)');
SELECT throws_ok('SELECT test.back(3)', 'OR002', NULL, 'a quarantined version is refused');
SELECT throws_ok('SELECT test.back(2)', 'OR002', NULL, 'a version that was never live is refused');
SELECT throws_ok('SELECT test.back(99)', 'OR001', NULL, 'an unknown version is named as such');
SELECT matches(reason, '^rollback: it is bad', 'the pipeline is on hold') FROM orch.hold WHERE released_at IS NULL;

-- While a promotion is moving the pointer: back to what was live, and the newcomer does not arrive.
SELECT orch.hold_release('housing', 'fixed', 'user:oncall');
SELECT test.live();
SELECT test.candidate() AS g \gset
SELECT test.approve(:g);
SELECT id AS d, lease AS l FROM orch.deployment_claim('a', 10000) \gset
SELECT test.champion() AS before \gset
SELECT test.back() AS r \gset
SELECT is((:'r'::jsonb ->> 'version')::int, :before, 'a rollback during a promotion returns to what was live');
SELECT is(state, 'aborted', 'stepping -> aborted') FROM orch.deployment WHERE id = :d;
SELECT throws_ok(format('SELECT orch.deployment_finish(%s, %s, true, ''{}'')', :d, :l), 'OR004', NULL, 'the promotion finds its lease lost');
SELECT is(test.rolled(:'r'), 'live', 'the rollback finishes');
SELECT is(test.champion(), :before, 'the pointer is where it was');

-- pending -> aborted.
SELECT orch.hold_release('housing', 'fixed', 'user:oncall');
SELECT test.pass('1 day');
SELECT test.candidate() AS g \gset
SELECT test.approve(:g);
SELECT is(test.rolled(test.back()), 'live', 'a rollback also ends a deployment that waits');
SELECT is(state, 'aborted', 'pending -> aborted') FROM orch.deployment WHERE gate_id = :g;
SELECT * FROM finish();
ROLLBACK;
