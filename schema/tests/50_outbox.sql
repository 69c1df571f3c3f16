-- The outbox: order, leases, retries, dead letters, and who sees what.
BEGIN;
\ir fixture/governance.psql
SELECT plan(22);
SELECT test.world();
SELECT test.candidate() AS g \gset
CREATE TEMP TABLE got AS SELECT * FROM orch.outbox_claim('a', 10, 10000);
SELECT results_eq($$SELECT channel, event ->> 'type' FROM got ORDER BY id$$, $$VALUES ('slack', 'gate.opened'), ('webhook', 'gate.opened')$$, 'an opened gate is told to both');
SELECT isnt(event #>> '{data,nonce}', NULL, 'chat gets the nonce for its buttons') FROM got WHERE channel = 'slack';
SELECT is(event::text LIKE '%' || (SELECT nonce FROM orch.gate WHERE id = :g) || '%', false, 'webhooks never see it') FROM got WHERE channel = 'webhook';
SELECT isnt(event #>> '{data,evidence,candidate,artifact}', NULL, 'the evidence goes along') FROM got WHERE channel = 'webhook';
SELECT is((SELECT count(*) FROM orch.outbox_claim('b', 10, 10000)), 0::bigint, 'a leased row is nobody else''s');
SELECT test.approve(:g);
SELECT is((SELECT count(*) FROM orch.outbox_claim('b', 10, 10000)), 0::bigint, 'later rows of the gate wait for the first: order');
SELECT orch.chat_message_record(:g, 'C1', '1.1');
SELECT orch.outbox_done(id, lease, '{}') FROM got WHERE channel = 'slack';
SELECT throws_ok(format('SELECT orch.outbox_done(%s, %s, ''{}'')', id, lease), 'OR004', NULL, 'done is done once') FROM got WHERE channel = 'slack';
CREATE TEMP TABLE got2 AS SELECT * FROM orch.outbox_claim('a', 10, 10000);
SELECT results_eq($$SELECT event ->> 'type' FROM got2$$, $$VALUES ('gate.decided')$$, 'then the next of chat, while the webhook''s first is still out');
SELECT is(messages, '[{"ts": "1.1", "channel": "C1"}]', 'with the messages to edit') FROM got2;

-- Retries.
SELECT is(orch.outbox_retry(id, lease, 'timeout', 0, false) ->> 'state', 'pending', 'a failed try waits') FROM got WHERE channel = 'webhook';
SELECT is((SELECT count(*) FROM orch.outbox_claim('a', 10, 10000)), 0::bigint, 'it is not due yet');
SELECT test.pass('6 seconds');
CREATE TEMP TABLE got3 AS SELECT * FROM orch.outbox_claim('a', 10, 3600000) WHERE channel = 'webhook';
SELECT is(g3.event ->> 'id', g.event ->> 'id', 'the id stays the same across retries') FROM got3 g3, got g WHERE g.channel = 'webhook';
SELECT is(attempt, 2, 'the attempt is counted') FROM got3;
SELECT orch.outbox_retry(id, lease, '429', 3600000, false) FROM got3;
SELECT cmp_ok(due_at - orch.clock(), '>', interval '59 minutes', 'a named time is kept') FROM orch.outbox WHERE id = (SELECT id FROM got3);
SELECT test.pass('2 hours');
CREATE TEMP TABLE got4 AS SELECT * FROM orch.outbox_claim('a', 10, 10000) WHERE channel = 'webhook';
SELECT is(orch.outbox_retry(id, lease, '410 gone', 0, true) ->> 'state', 'dead', 'what cannot be delivered is dead') FROM got4;
SELECT is(orch.api_outbox('{"state": "dead"}') #>> '{outbox,0,error}', '410 gone', 'visibly, with the reason');
SELECT is((SELECT count(*) FROM orch.outbox_claim('a', 10, 10000) WHERE channel = 'webhook'), 1::bigint, 'and does not hold back the next');
SELECT is(orch.outbox_revive((SELECT id FROM got4), 'user:test') ->> 'state', 'pending', 'it can be sent again');
-- A message that was sent but not recorded.
SELECT is(orch.chat_message_record(:g, 'C1', '1.1') ->> 'recorded', 'false', 'a known message is known');
SELECT orch.chat_message_record(:g, 'C1', '1.2');
SELECT is(count(*), 1::bigint, 'while the outcome is still to be delivered, a new one waits for that') FROM orch.outbox o JOIN orch.event e ON e.id = o.event_id
  WHERE e.type = 'gate.closed' AND o.channel = 'slack';
UPDATE orch.outbox SET state = 'delivered' WHERE channel = 'slack';
SELECT orch.chat_message_record(:g, 'C1', '2.2');
SELECT is(count(*), 2::bigint, 'after that, chat is told once more') FROM orch.outbox o JOIN orch.event e ON e.id = o.event_id
  WHERE e.type = 'gate.closed' AND o.channel = 'slack';
SELECT is(count(*), 1::bigint, 'and nobody else') FROM orch.event WHERE type = 'gate.closed';
SELECT * FROM finish();
ROLLBACK;
