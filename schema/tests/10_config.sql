-- Applying pipelines, reviewers and tokens.
BEGIN;
\ir fixture/governance.psql
SELECT plan(27);

SELECT throws_ok($$SELECT test.apply(test.spec('housing'))$$, 'OR003', NULL, 'a gate that nobody can satisfy is refused');
SELECT is(test.people() ->> 'reviewers', '4', 'four reviewers are active');
SELECT is(test.people() ->> 'changed', 'false', 'the same orch.yaml again changes nothing');
SELECT is(test.apply(test.spec('housing')) ->> 'changed', 'true', 'a pipeline is applied');
SELECT is(test.apply(test.spec('housing')) ->> 'changed', 'false', 'the same bytes again change nothing');
SELECT is(count(*), 1::bigint, 'and make no second revision') FROM orch.revision;
SELECT is(test.apply(test.spec('housing', '{"keep": 3}')) ->> 'changed', 'true', 'other bytes are another revision');
SELECT is(test.apply(test.spec('housing')) ->> 'changed', 'true', 'going back to known bytes makes them current');
SELECT is(count(*), 2::bigint, 'without a third revision') FROM orch.revision;

SELECT throws_ok($$SELECT test.apply(test.spec('p2', '{"owner": ""}'))$$, 'OR003', NULL, 'no model without an owner');
SELECT throws_ok($$SELECT test.apply(test.spec('p2', '{"gates": {"promote": {"require": [], "expires_ms": 1000}}}'))$$,
  'OR003', NULL, 'an empty reviewer list is not everybody');
SELECT throws_ok($$SELECT test.apply(test.spec('p2', '{"gates": {"promote": {"require": [{"group": "risk", "approvals": 3}], "expires_ms": 1000}}}'))$$,
  'OR003', NULL, 'three approvals out of two people are refused');
SELECT throws_ok($$SELECT test.apply(test.spec('p2', '{"gates": {"promote": {"require": [{"group": "risk", "approvals": 2},
  {"group": "ml-owners", "approvals": 2}], "expires_ms": 1000}}}'))$$, 'OR003', NULL, 'two rules that share a person cannot count them twice');

-- Matching, not greed: erik alone can serve both groups, but only once.
SELECT ok(orch.rules_satisfied('[{"group": "ml-owners", "approvals": 1}, {"group": "risk", "approvals": 1}]',
  ARRAY(SELECT id FROM orch.reviewer WHERE name IN ('erik', 'finn'))), 'erik serves ml-owners when finn serves risk');
SELECT ok(orch.rules_satisfied('[{"group": "ml-owners", "approvals": 1}, {"group": "risk", "approvals": 1}]',
  ARRAY(SELECT id FROM orch.reviewer WHERE name IN ('erik', 'dana'))), 'erik serves risk when dana serves ml-owners');
SELECT ok(NOT orch.rules_satisfied('[{"group": "ml-owners", "approvals": 1}, {"group": "risk", "approvals": 1}]',
  ARRAY(SELECT id FROM orch.reviewer WHERE name = 'erik')), 'one vote serves one rule');
SELECT ok(NOT orch.rules_satisfied('[]', ARRAY(SELECT id FROM orch.reviewer)), 'no rules are never satisfied');

-- A changed policy voids the votes: the candidate gets a new gate.
SELECT test.decide(test.candidate(), 'dana');
SELECT isnt(test.apply(test.spec('housing', '{"gates": {"promote": {"require": [{"group": "risk", "approvals": 1}],
  "expires_ms": 3600000, "own_proposals": false}}}')) ->> 'regated', NULL, 'a changed policy opens a new gate');
SELECT results_eq('SELECT state FROM orch.gate ORDER BY id', ARRAY['superseded', 'open'], 'and supersedes the old one');
SELECT is(orch.gate_voters((SELECT max(id) FROM orch.gate)), '{}', 'the earlier vote does not count at it');

-- Reviewers who leave lose their say at once.
SELECT is(orch.server_apply('{"reviewers": [{"name": "dana", "groups": ["ml-owners"]}]}', 'user:test') ->> 'stuck',
  '[' || (SELECT max(id) FROM orch.gate) || ']', 'a gate that nobody can satisfy any more is named');
SELECT is(active, false, 'a reviewer not named any more is inactive') FROM orch.reviewer WHERE name = 'erik';

-- Tokens.
SELECT throws_ok($$SELECT orch.token_create('t', test.digest('s'), '{decide}', NULL, 'user:test')$$, 'OR003', NULL,
  'a deciding token needs a person');
SELECT is(orch.token_create('t', test.digest('s'), '{decide,read}', 'dana', 'user:test') ->> 'reviewer', 'dana', 'a token of dana');
SELECT is(orch.token_check(test.digest('s'), 'read') ->> 'actor', 'reviewer:dana', 'its bearer is dana');
SELECT throws_ok($$SELECT orch.token_check(test.digest('s'), 'operate')$$, 'OR006', NULL, 'a missing scope is denied');
SELECT orch.token_revoke('t', 'user:test');
SELECT throws_ok($$SELECT orch.token_check(test.digest('s'), 'read')$$, 'OR008', NULL, 'a revoked token is denied');
SELECT * FROM finish();
ROLLBACK;
