-- Proposals: every arrow through its function, and no arrow that is not drawn.
BEGIN;
\ir fixture/governance.psql
SELECT plan(42);
SELECT test.world();

-- The whole way: '' -> proposed -> training -> evaluating -> awaiting_approval -> rolling_out -> promoted.
SELECT is(test.live(), 1, 'a first version goes through the same gate');
SELECT is(test.state(1), 'promoted', 'its proposal is promoted');
SELECT results_eq($$SELECT detail ->> 'state' FROM orch.audit WHERE object = 'proposal' AND detail ? 'state' ORDER BY seq$$,
  ARRAY['proposed', 'training', 'evaluating', 'awaiting_approval', 'rolling_out', 'promoted'], 'by every state in order');
SELECT is(count(*), 0::bigint, 'no champion was evaluated, there was none') FROM orch.evaluation WHERE subject = 'champion';
SELECT is(name || digest, 'sales' || test.digest('sales'), 'the snapshot is kept') FROM orch.snapshot;

-- The second is compared with the first.
SELECT test.candidate() AS gate2 \gset
SELECT results_eq('SELECT subject, (metrics ->> ''accuracy'')::numeric FROM orch.evaluation WHERE proposal_id = 2 ORDER BY subject',
  $$VALUES ('candidate', 0.85), ('champion', 0.80)$$, 'evaluate ran once for each model');
SELECT is((evidence::jsonb #>> '{champion,version}'), '1', 'the evidence names the champion') FROM orch.gate WHERE id = :gate2;

-- evaluating -> blocked, with the numbers.
SELECT test.decide(:gate2, 'dana', 'reject', 'not now');
SELECT is(test.state(2), 'rejected', 'awaiting_approval -> rejected');
SELECT orch.proposal_create('housing', 'weak', 'keep', 'user:test', NULL, NULL);
SELECT test.work(0.70);
SELECT is(test.state(3), 'blocked', 'evaluating -> blocked');
SELECT matches(end_reason, '^accuracy: 0.7000 is under the floor 0.75; 0.7000 against the champion''s 0.8000 is beyond -0.01', 'with the numbers')
  FROM orch.proposal WHERE id = 3;
SELECT is(count(*), 0::bigint, 'no gate opens') FROM orch.gate WHERE proposal_id = 3;

-- training -> failed, evaluating -> failed.
SELECT orch.proposal_create('housing', 'fails', 'keep', 'user:test', NULL, NULL);
SELECT test.work(0.8, 'failed');
SELECT is(test.state(4), 'failed', 'training -> failed');
SELECT is(end_reason, 'step train failed: it broke', 'with the step and its error') FROM orch.proposal WHERE id = 4;
SELECT orch.proposal_create('housing', 'fails later', 'keep', 'user:test', NULL, NULL);
SELECT orch.worker_register('w2', 'h', 1, '{}', 64, 1 << 30, 0, 64, 60000) ->> 'worker' AS w \gset
SELECT job AS job, lease AS lease FROM orch.job_claim(:w, 1, NULL) \gset
SELECT FROM orch.job_finish(:w, :job, :lease, 'succeeded', jsonb_build_object('output', test.digest('m5')));
SELECT is(test.state(5), 'evaluating', 'training -> evaluating');
SELECT test.work(0.8, 'timed_out');
SELECT is(test.state(5), 'failed', 'evaluating -> failed');
SELECT is((SELECT count(*) FROM orch.job WHERE proposal_id = 5), 0::bigint, 'the other evaluation does not stay behind');

-- cancelled from every state before rolling_out.
SELECT orch.proposal_create('housing', 'c', 'keep', 'user:test', NULL, NULL);
SELECT orch.proposal_cancel(6, 'changed my mind', 'user:test');
SELECT is(test.state(6), 'cancelled', 'training -> cancelled');
SELECT is((SELECT count(*) FROM orch.job WHERE proposal_id = 6), 0::bigint, 'its job is gone');
SELECT is(test.work(), 0, 'no worker gets it');
SELECT orch.proposal_create('housing', 'c', 'keep', 'user:test', NULL, NULL);
SELECT job AS job, lease AS lease FROM orch.job_claim(:w, 1, NULL) \gset
SELECT FROM orch.job_finish(:w, :job, :lease, 'succeeded', jsonb_build_object('output', test.digest('m7')));
SELECT orch.proposal_cancel(7, '', 'user:test');
SELECT is(test.state(7), 'cancelled', 'evaluating -> cancelled');
SELECT test.candidate() AS gate8 \gset
SELECT orch.proposal_cancel(8, 'no', 'user:test');
SELECT is(test.state(8), 'cancelled', 'awaiting_approval -> cancelled');
SELECT is(state, 'withdrawn', 'and its gate is withdrawn') FROM orch.gate WHERE id = :gate8;
SELECT throws_ok('SELECT orch.proposal_cancel(8, '''', ''user:test'')', 'OR002', NULL, 'an ended proposal cannot be cancelled');

-- superseded.
SELECT orch.proposal_create('housing', 'r', 'keep', 'user:test', NULL, NULL);
SELECT throws_ok($$SELECT orch.proposal_create('housing', 'r', 'replace', 'user:test', NULL, NULL)$$, 'OR005', NULL, 'replace does not stop work');
SELECT is(orch.proposal_create('housing', 'r', 'cancel_and_replace', 'user:test', NULL, NULL) ->> 'superseded', '9', 'cancel_and_replace does');
SELECT is(test.state(9), 'superseded', 'training -> superseded');
SELECT is(orch.proposal_create('housing', 'r', 'keep', 'reviewer:dana', NULL, NULL) ->> 'disposition', 'joined', 'keep joins');
SELECT test.work();
SELECT is(test.state(10), 'awaiting_approval', 'the newer one waits');
SELECT is(orch.proposal_create('housing', 'better', 'replace', 'user:test', NULL, NULL) ->> 'proposal', '11', 'a newer one may start while it waits');
SELECT is(test.state(10), 'awaiting_approval', 'the older keeps its gate meanwhile');
SELECT test.work();
SELECT is(test.state(10), 'superseded', 'awaiting_approval -> superseded when the newer candidate is ready');
SELECT results_eq('SELECT state FROM orch.gate WHERE proposal_id IN (10, 11) ORDER BY id', ARRAY['superseded', 'open'], 'with its gate (I4)');

-- expired.
SELECT test.pass('49 hours');
SELECT is(orch.gates_expire(10) ->> 'expired', '1', 'time ends a gate');
SELECT is(test.state(11), 'expired', 'awaiting_approval -> expired: not promoted');

-- Repeats by key.
SELECT orch.proposal_create('housing', 'k', 'keep', 'user:test', NULL, 'key-1');
SELECT is(orch.proposal_create('housing', 'k', 'keep', 'user:test', NULL, 'key-1') ->> 'disposition', 'repeated', 'the same key is the same request');
SELECT throws_ok($$SELECT orch.proposal_create('housing', ' ', 'keep', 'user:test', NULL, NULL)$$, 'OR003', NULL, 'a reason is required');
SELECT throws_ok($$SELECT orch.proposal_create('housing', 'x', 'sometimes', 'user:test', NULL, NULL)$$, 'OR003', NULL, 'a mode is a known one');
SELECT throws_ok($$SELECT orch.proposal_create('nope', 'x', 'keep', 'user:test', NULL, NULL)$$, 'OR001', NULL, 'a pipeline is a known one');

-- Checks: fail closed.
SELECT is(orch.check_one('{"metric": "a", "min": 1}', '{a}', '{}', NULL) ->> 'ok', 'false', 'a missing metric fails');
SELECT is(orch.check_one('{"metric": "a", "min": 1}', '{a}', '{"a": "NaN"}', NULL) ->> 'ok', 'false', 'what is no number fails');
SELECT is(orch.check_one('{"metric": "rmse", "vs_champion": 0.1}', '{rmse}', '{"rmse": 1.2}', '{"rmse": 1.0}') ->> 'ok', 'false', 'a positive allowance bounds an error from above');
SELECT results_eq($$SELECT c ->> 'value', (c ->> 'ok')::boolean FROM jsonb_array_elements(orch.checks_run('[{"metric": "a", "slice": "city", "vs_champion": -0.1}]',
  '{"slices": {"city": {"x": {"a": 0.5}, "y": {"a": 0.9}}}}', '{"slices": {"city": {"x": {"a": 0.8}, "y": {"a": 0.9}, "z": {"a": 1}}}}')) c$$,
  $$VALUES ('x', false), ('y', true), ('z', false)$$, 'a slice is compared value by value; one that vanished fails');

SELECT * FROM finish();
ROLLBACK;
