-- The outbox: what people and systems are told. Rows of one ordering key (an endpoint and a gate, or a pipeline) leave in
-- order; a row that fails waits and holds back only its own key; a row that cannot be delivered is dead and visible.

-- Hands out due rows with a lease. `event` = {id, type, timestamp, data}; for chat, data carries the gate's nonce (the
-- buttons need it, webhooks never see it) and its evidence (an edit sends the whole message again), and `messages` are
-- the chat messages that show this gate already.
CREATE OR REPLACE FUNCTION orch.outbox_claim(p_owner text, p_limit int, p_lease_ms bigint)
RETURNS TABLE (id bigint, lease bigint, channel text, endpoint jsonb, attempt int, event jsonb, messages jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
#variable_conflict use_column
DECLARE v_now timestamptz := orch.clock();
BEGIN
  RETURN QUERY
  WITH due AS (
    SELECT o.id FROM orch.outbox o
    WHERE o.state = 'pending' AND o.due_at <= v_now AND (o.lease_until IS NULL OR o.lease_until <= v_now)
      AND NOT EXISTS (SELECT FROM orch.outbox e WHERE e.ordering_key = o.ordering_key AND e.state = 'pending' AND e.id < o.id)
    ORDER BY o.id LIMIT p_limit FOR UPDATE SKIP LOCKED
  ), taken AS (
    UPDATE orch.outbox o SET lease = nextval('orch.outbox_lease'), lease_owner = p_owner,
      lease_until = v_now + orch.ms_interval(p_lease_ms), attempts = o.attempts + 1
    FROM due WHERE o.id = due.id RETURNING o.*
  )
  SELECT t.id, t.lease, t.channel, t.endpoint, t.attempts,
    jsonb_build_object('id', t.message_id, 'type', e.type, 'timestamp', orch.rfc3339(e.at),
      'data', e.data || CASE WHEN t.channel = 'slack' AND g.id IS NOT NULL
        THEN jsonb_build_object('nonce', g.nonce, 'gate_state', g.state, 'expires_at', orch.rfc3339(g.expires_at),
          'evidence', g.evidence::jsonb) ELSE '{}' END),
    (SELECT coalesce(jsonb_agg(jsonb_build_object('channel', m.channel, 'ts', m.ts) ORDER BY m.at), '[]')
     FROM orch.chat_message m WHERE m.gate_id = e.gate_id)
  FROM taken t JOIN orch.event e ON e.id = t.event_id LEFT JOIN orch.gate g ON g.id = e.gate_id
  ORDER BY t.id;
END $$;

CREATE OR REPLACE FUNCTION orch.outbox_done(p_id bigint, p_lease bigint, p_result jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
BEGIN
  UPDATE orch.outbox SET state = 'delivered', ended_at = orch.clock(), result = p_result, last_error = NULL,
    lease = NULL, lease_owner = NULL, lease_until = NULL WHERE id = p_id AND lease = p_lease AND state = 'pending';
  IF NOT FOUND THEN PERFORM orch.fail('OR004', format('outbox row %s is not ours any more', p_id)); END IF;
  RETURN '{"ok": true}';
END $$;

-- A failed try: waits longer each time (Standard Webhooks' schedule; chat retries sooner, since people wait), with 20 %
-- jitter, at least p_retry_after_ms when the other side named a time. p_dead: do not try again.
CREATE OR REPLACE FUNCTION orch.outbox_retry(p_id bigint, p_lease bigint, p_error text, p_retry_after_ms bigint, p_dead boolean)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  o      orch.outbox;
  v_wait interval[];
  v_next interval;
  v_now  timestamptz := orch.clock();
BEGIN
  SELECT * INTO o FROM orch.outbox WHERE id = p_id AND lease = p_lease AND state = 'pending' FOR UPDATE;
  IF NOT FOUND THEN PERFORM orch.fail('OR004', format('outbox row %s is not ours any more', p_id)); END IF;
  v_wait := CASE o.channel
    WHEN 'slack' THEN ARRAY['1s', '2s', '5s', '15s', '1m', '5m', '30m', '2h', '5h', '10h']::interval[]
    ELSE ARRAY['5s', '5m', '30m', '2h', '5h', '10h', '14h', '20h', '24h']::interval[] END;
  IF p_dead OR o.attempts > cardinality(v_wait) THEN
    UPDATE orch.outbox SET state = 'dead', ended_at = v_now, last_error = left(p_error, 1000),
      lease = NULL, lease_owner = NULL, lease_until = NULL WHERE id = p_id;
    RETURN jsonb_build_object('state', 'dead');
  END IF;
  v_next := greatest(v_wait[o.attempts] * (0.9 + 0.2 * random()), orch.ms_interval(coalesce(p_retry_after_ms, 0)));
  UPDATE orch.outbox SET due_at = v_now + v_next, last_error = left(p_error, 1000),
    lease = NULL, lease_owner = NULL, lease_until = NULL WHERE id = p_id;
  RETURN jsonb_build_object('state', 'pending', 'due_at', orch.rfc3339(v_now + v_next));
END $$;

-- A dead row gets another chance.
CREATE OR REPLACE FUNCTION orch.outbox_revive(p_id bigint, p_actor text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
BEGIN
  PERFORM orch.act(p_actor);
  UPDATE orch.outbox SET state = 'pending', attempts = 0, due_at = orch.clock(), ended_at = NULL WHERE id = p_id AND state = 'dead';
  IF NOT FOUND THEN PERFORM orch.fail('OR001', format('outbox row %s is not dead', p_id), 'orch webhooks lists dead letters'); END IF;
  PERFORM pg_notify('orch_serve', 'event');
  RETURN jsonb_build_object('outbox', p_id, 'state', 'pending');
END $$;

-- A chat message shows this gate: it is edited when the gate's state changes. A message that turns up when the outcome has
-- been delivered already (its sender died between sending and recording) gets the outcome delivered once more, to chat only.
CREATE OR REPLACE FUNCTION orch.chat_message_record(p_gate bigint, p_channel text, p_ts text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  v_new boolean;
  v_now timestamptz := orch.clock();
BEGIN
  INSERT INTO orch.chat_message (channel, ts, gate_id, at) VALUES (p_channel, p_ts, p_gate, v_now) ON CONFLICT DO NOTHING;
  v_new := FOUND;
  IF v_new AND EXISTS (SELECT FROM orch.gate WHERE id = p_gate AND state <> 'open')
     AND NOT EXISTS (SELECT FROM orch.outbox o JOIN orch.event e ON e.id = o.event_id
                     WHERE e.gate_id = p_gate AND e.type = 'gate.closed' AND o.channel = 'slack' AND o.state = 'pending') THEN
    INSERT INTO orch.outbox (event_id, message_id, channel, endpoint, ordering_key, due_at, created_at)
      SELECT e.id, 'msg_' || e.id || '_slack_' || p_ts, 'slack', coalesce(orch.server_config_current() #> '{chat,slack}', '{}'),
             'slack:gate:' || p_gate, v_now, v_now
      FROM orch.event e WHERE e.gate_id = p_gate AND e.type = 'gate.closed' ORDER BY e.id DESC LIMIT 1
      ON CONFLICT DO NOTHING;
    PERFORM pg_notify('orch_serve', 'event');
  END IF;
  RETURN jsonb_build_object('recorded', v_new);
END $$;
