-- Decisions: every way in, every refusal, one outcome.
BEGIN;
\ir fixture/governance.psql
SELECT plan(43);
SELECT test.world();
SELECT test.candidate() AS g \gset
CREATE FUNCTION test.code(p jsonb) RETURNS text LANGUAGE sql AS $$ SELECT (p ->> 'outcome') || '/' || (p ->> 'code') $$;
CREATE FUNCTION test.say(p_gate bigint, p jsonb) RETURNS text LANGUAGE sql AS $$
  SELECT test.code(orch.gate_decide(p_gate, '{"verdict": "approve", "comment": "fine", "via": "api"}'
    || jsonb_build_object('digest', (SELECT digest FROM orch.gate WHERE id = p_gate)) || p)) $$;

SELECT is(digest::text, 'sha256:' || encode(sha256(evidence::bytea), 'hex'), 'the digest is that of the frozen bytes') FROM orch.gate WHERE id = :g;
SELECT ok(evidence::jsonb ?& '{candidate,champion,checks,snapshots,revision,signals,policy,config,seed,as_of}', 'the evidence is complete') FROM orch.gate WHERE id = :g;

-- Who.
SELECT is(test.say(:g, '{"reviewer": "nobody"}'), 'refused/stranger', 'a stranger');
SELECT is(test.say(:g, '{"via": "slack", "slack": "T1/U9"}'), 'refused/stranger', 'a Slack account of nobody');
SELECT is(test.say(:g, '{"via": "slack", "slack": "T2/U1"}'), 'refused/stranger', 'the same user id in another workspace');
SELECT is(test.say(:g, '{"reviewer": "gina"}'), 'refused/not_eligible', 'a reviewer of other groups');
SELECT is(test.say(:g, '{"via": "cli"}'), 'refused/unproven', 'a shell without a token');
SELECT is(test.say(:g, '{"via": "cli", "reviewer": "dana"}'), 'refused/unproven', 'a shell that only says so');
SELECT is(test.say(:g, '{"via": "webhook", "reviewer": "dana", "source": "portal"}'), 'refused/may_not_speak', 'a callback that may not speak for her');
SELECT is(test.say(:g, '{"via": "webhook", "reviewer": "finn", "source": "other"}'), 'refused/may_not_speak', 'an unknown callback');
-- What.
SELECT is(test.say(:g, '{"reviewer": "dana", "digest": "sha256:00"}'), 'refused/stale', 'another digest');
SELECT is(test.say(:g, '{"reviewer": "dana", "nonce": "wrong"}'), 'refused/nonce', 'a button of another gate');
SELECT is(test.say(:g, '{"reviewer": "dana", "verdict": "reject", "comment": " "}'), 'refused/comment', 'a rejection without a reason');
SELECT throws_ok(format('SELECT test.say(%s, ''{"verdict": "maybe"}'')', :g), 'OR003', NULL, 'a verdict is one of two');
SELECT throws_ok('SELECT test.say(999, ''{"reviewer": "dana"}'')', 'OR001', NULL, 'a gate is a known one');
SELECT is(count(*), 11::bigint, 'every refusal is recorded') FROM orch.refusal;
SELECT is(state, 'open', 'and the gate still waits') FROM orch.gate WHERE id = :g;

-- One vote is not enough for two rules, twice the same neither.
SELECT is(test.say(:g, '{"reviewer": "erik"}'), 'accepted/ok', 'erik approves');
SELECT is(state, 'open', 'two rules need two people') FROM orch.gate WHERE id = :g;
SELECT is(test.say(:g, '{"reviewer": "erik"}'), 'duplicate/already', 'erik again');
SELECT is(jsonb_array_length(orch.gate_approvals(:g) -> 0 -> 'by'), 1, 'his name stands at each rule that he could serve');
SELECT is(test.say(:g, jsonb_build_object('via', 'slack', 'slack', 'T1/U1', 'nonce', (SELECT nonce FROM orch.gate WHERE id = :g))),
  'accepted/ok', 'dana approves in Slack');
SELECT is(state, 'approved', 'matching gives erik to risk and dana to ml-owners') FROM orch.gate WHERE id = :g;
SELECT is(test.state(1), 'rolling_out', 'the proposal rolls out');
SELECT is(count(*), 1::bigint, 'one deployment is pending') FROM orch.deployment WHERE state = 'pending';
-- I3: late.
SELECT is(test.say(:g, '{"reviewer": "finn", "verdict": "reject", "comment": "too late"}'), 'refused/closed', 'a late rejection');
SELECT is(count(*), 1::bigint, 'is recorded') FROM orch.refusal WHERE code = 'closed';
SELECT test.deploy();
SELECT test.pass('2 days');

-- Own proposals; a person who joins is a proposer as well.
SELECT orch.proposal_create('housing', 'drift', 'keep', 'user:test', NULL, NULL);
SELECT orch.proposal_create('housing', 'I want it too', 'keep', 'reviewer:dana', NULL, NULL);
SELECT test.work();
SELECT max(id) AS g FROM orch.gate \gset
SELECT is(test.say(:g, '{"reviewer": "dana"}'), 'refused/own_proposal', 'the proposer cannot approve');
SELECT is(test.say(:g, '{"via": "slack", "slack": "T1/U1"}'), 'refused/own_proposal', 'not in Slack either');
SELECT orch.token_create('d', test.digest('secret'), '{decide}', 'dana', 'user:test');
SELECT is(test.say(:g, jsonb_build_object('via', 'cli', 'token_hash', test.digest('secret'))), 'refused/own_proposal', 'nor from the shell');
SELECT is(test.say(:g, '{"reviewer": "dana", "verdict": "reject", "comment": "I was wrong"}'), 'accepted/ok', 'but may reject');
SELECT is(state || '/' || closed_by, 'rejected/reviewer:dana', 'which closes the gate') FROM orch.gate WHERE id = :g;
SELECT is(test.state(2), 'rejected', 'nothing is promoted');

-- A signed callback, and its replay.
SELECT test.candidate() AS g \gset
SELECT is(test.say(:g, '{"via": "webhook", "reviewer": "finn", "source": "portal", "replay": {"scope": "webhook", "key": "msg_1"}}'), 'accepted/ok', 'a callback speaks for finn');
SELECT is(test.say(:g, '{"via": "webhook", "reviewer": "finn", "source": "portal", "replay": {"scope": "webhook", "key": "msg_1"}}'), 'accepted/ok', 'its repeat gets the same answer');
SELECT is(count(*), 1::bigint, 'and has no second effect') FROM orch.decision WHERE gate_id = :g;

-- Leaving the group takes the vote along.
SELECT orch.server_apply(orch.server_config_current() || '{"reviewers": [{"name": "dana", "slack": "T1/U1", "groups": ["ml-owners"]},
  {"name": "erik", "groups": ["risk", "ml-owners"]}, {"name": "finn", "groups": ["ops"]}]}', 'user:test');
SELECT is(test.say(:g, '{"reviewer": "dana"}'), 'accepted/ok', 'dana approves');
SELECT is(state, 'open', 'finn left risk: his vote does not count any more') FROM orch.gate WHERE id = :g;
SELECT test.people();

-- A hold lets nobody approve.
SELECT orch.hold_set('housing', 'incident', 'user:oncall');
SELECT is(test.say(:g, '{"reviewer": "erik"}'), 'refused/hold', 'nobody approves on a held pipeline');
SELECT orch.hold_release('housing', '', 'user:oncall');

-- Expiry: time-out means not promoted, also in the second before the duty runs.
SELECT test.pass('48 hours');
SELECT is(test.say(:g, '{"reviewer": "erik"}'), 'refused/expired', 'after its time nobody approves');
SELECT is(orch.gates_expire(10) ->> 'expired', '1', 'the duty closes it');
SELECT is(orch.gates_expire(10) ->> 'expired', '0', 'once');
SELECT results_eq($$SELECT data ->> 'outcome' FROM orch.event WHERE type = 'gate.closed' ORDER BY id$$,
  ARRAY['approved', 'rejected', 'expired'], 'each outcome was told once');
SELECT * FROM finish();
ROLLBACK;
