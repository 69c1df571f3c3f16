-- Signals: de-duplicated, folded, held back with a reason, looked at again.
BEGIN;
\ir fixture/governance.psql
SELECT plan(49);
SELECT test.world();

SELECT is(test.signal('drift') ->> 'disposition', 'proposed', 'drift proposes a retraining');
SELECT is(test.state(1), 'training', 'which starts at once');
SELECT is(test.signal('drift') ->> 'disposition', 'duplicate', 'the same again is counted');
SELECT is(count, 2::bigint, 'twice') FROM orch.signal;
SELECT is(test.signal('alert', 'firing', 'f2') ->> 'disposition', 'folded', 'another signal joins the open proposal');
SELECT is(count(*), 1::bigint, 'there is one proposal') FROM orch.proposal;
SELECT is(opened_by, 'system:test', 'opened by who sent the signal') FROM orch.proposal;
SELECT is(test.signal('drift', 'resolved') ->> 'disposition', 'resolved', 'a signal ends');
SELECT is(test.signal('drift', 'resolved') ->> 'disposition', 'duplicate', 'once');

-- Cooldown, then budget.
SELECT orch.proposal_cancel(1, 'enough', 'user:test');
SELECT is(test.signal('drift', 'firing', 'f3') ->> 'disposition', 'held', 'within the cooldown a signal is held');
SELECT matches(held_reason, '^cooling down until', 'the reason is visible') FROM orch.signal WHERE fingerprint = 'f3';
SELECT is(orch.signals_reconsider(10) ->> 'looked_at', '0', 'before its time it is left alone');
SELECT test.pass('61 seconds');
SELECT is(orch.signals_reconsider(10) ->> 'proposed', '1', 'after the cooldown it proposes, since it still fires');
SELECT orch.proposal_cancel(2, 'enough', 'user:test');
SELECT test.pass('61 seconds');
SELECT is(test.signal('drift', 'firing', 'f4') ->> 'disposition', 'proposed', 'the third of the day');
SELECT orch.proposal_cancel(3, 'enough', 'user:test');
SELECT test.pass('61 seconds');
SELECT matches(test.signal('drift', 'firing', 'f5') ->> 'reason', '^the budget of 3 retrainings', 'the budget holds the fourth back');
SELECT test.signal('drift', 'resolved', p) FROM unnest('{f2,f3,f4,f5}'::text[]) p;
SELECT test.pass('2 days');

-- Broken data never retrains, and holds back drift while it lasts.
SELECT is(test.signal('data_fault', 'firing', 'broken') ->> 'disposition', 'recorded', 'a data fault is recorded');
SELECT is(count(*), 3::bigint, 'and proposes nothing') FROM orch.proposal;
SELECT is((SELECT count(*) FROM orch.event WHERE type = 'signal.fault'), 1::bigint, 'people are told');
SELECT is(test.signal('drift', 'firing', 'f6') ->> 'disposition', 'held', 'drift seen on broken data is held');
SELECT matches(held_reason, 'broken data never retrains', 'with that reason') FROM orch.signal WHERE fingerprint = 'f6';
SELECT is(orch.signals_reconsider(10) ->> 'looked_at', '0', 'no timer ends that');
SELECT test.signal('data_fault', 'resolved', 'broken');
SELECT is(orch.signals_reconsider(10) ->> 'proposed', '1', 'when the data is sound again the drift is looked at again');
SELECT orch.proposal_cancel(4, 'enough', 'user:test');
SELECT test.pass('2 days');

-- A hold.
SELECT orch.hold_set('housing', 'incident', 'user:oncall');
SELECT is(test.signal('drift', 'firing', 'f7') ->> 'disposition', 'held', 'a hold holds');
SELECT throws_ok($$SELECT orch.proposal_create('housing', 'r', 'keep', 'user:test', NULL, NULL)$$, 'OR002', NULL, 'for people too');
SELECT is(orch.hold_set('housing', 'again', 'user:other') ->> 'reason', 'incident', 'a second hold changes nothing');
SELECT orch.hold_release('housing', 'over', 'user:oncall');
SELECT is(orch.signals_reconsider(10) ->> 'looked_at', '1', 'its release looks at what was held');
SELECT is(orch.hold_release('housing', '', 'user:oncall') ->> 'changed', 'false', 'a second release changes nothing');

-- Episodes.
SELECT is(test.signal('alert', 'firing', 'e', '2026-01-01') ->> 'disposition', 'folded', 'an episode begins');
SELECT is(test.signal('alert', 'firing', 'e', '2026-01-01') ->> 'disposition', 'duplicate', 'its repeat is a duplicate');
SELECT test.signal('alert', 'resolved', 'e', '2026-01-01');
SELECT is(test.signal('alert', 'firing', 'e', '2026-01-01') ->> 'disposition', 'duplicate', 'a late repeat after its end too');
SELECT is(test.signal('alert', 'firing', 'e', '2026-01-02') ->> 'disposition', 'folded', 'a new episode is a new signal');

SELECT orch.proposal_cancel(id, 'enough', 'user:test') FROM orch.proposal WHERE ended_at IS NULL;
UPDATE orch.signal SET status = 'resolved' WHERE status = 'firing';
SELECT test.pass('2 days');

-- What only tells people.
CREATE FUNCTION test.say(p_kind text, p_more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
  SELECT orch.signal_receive('housing', jsonb_build_object('source', 'monitor:m', 'kind', p_kind, 'fingerprint', 'm/' || p_kind, 'status', 'firing',
    'title', p_kind) || p_more, 'monitor:m') $$;
SELECT is(test.say(k) ->> 'disposition', 'recorded', k || ' never proposes by itself') FROM unnest('{volume,estimate,latency}'::text[]) k;
SELECT is(test.say(k, '{"then": "propose"}') ->> 'disposition', 'duplicate', k || ' not even on request') FROM unnest('{volume,estimate}'::text[]) k;
SELECT is(test.say('performance', '{"then": "tell"}') ->> 'disposition', 'recorded', 'what is told to tell, tells');
SELECT is(string_agg(data ->> 'kind', ' ' ORDER BY id), 'volume estimate latency performance', 'people are told of each once') FROM orch.event WHERE type = 'signal.alarm';
SELECT is(count(*), 4::bigint, 'in the chat') FROM orch.outbox o JOIN orch.event e ON e.id = o.event_id WHERE e.type = 'signal.alarm' AND channel = 'slack';
SELECT is(test.say('volume', '{"status": "resolved"}') ->> 'disposition', 'resolved', 'an alarm ends');
SELECT is((SELECT data ->> 'kind' FROM orch.event WHERE type = 'signal.alarm_resolved'), 'volume', 'and people are told that too');
SELECT is(test.say('drift') ->> 'disposition', 'proposed', 'none of them holds drift back');
SELECT orch.proposal_cancel(id, 'enough', 'user:test') FROM orch.proposal WHERE ended_at IS NULL;
SELECT test.pass('2 days');
SELECT is(test.say('performance') ->> 'disposition', 'proposed', 'a monitor that now proposes does, though it fired before');
SELECT is(orch.api_signals('{"kind": "performance"}') #>> '{signals,0,then}', 'propose', 'which a list by kind shows');
SELECT orch.proposal_cancel(id, 'enough', 'user:test') FROM orch.proposal WHERE ended_at IS NULL;
SELECT test.pass('2 days');
SELECT is(test.say('latency', '{"then": "propose", "episode": "2"}') ->> 'disposition', 'proposed', 'latency does when its monitor says so');
SELECT throws_ok($$SELECT test.say('drift', '{"then": "sing"}')$$, 'OR003', NULL, 'a wish that is none is refused');
SELECT throws_ok($$SELECT test.say('song')$$, 'OR003', NULL, 'and a kind that is none');

SELECT throws_ok($$SELECT orch.signal_receive('housing', '{"source": "x"}', 'system:test')$$, 'OR003', NULL, 'half a signal is refused');
SELECT throws_ok($$SELECT orch.signal_receive('nope', '{}', 'system:test')$$, 'OR001', NULL, 'an unknown pipeline is named as such');
SELECT * FROM finish();
ROLLBACK;
