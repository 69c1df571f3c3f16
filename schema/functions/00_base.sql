-- What all other functions stand on: time, errors, the acting person, locks, events.
--
-- Lock order, everywhere: the pipeline's row first (orch.pipeline_lock), then the cascade lock (orch.cascade_lock), then
-- proposal, gate, deployment, job, outbox. Who needs several pipelines locks them all before the first signal is taken,
-- in the order of their ids, or takes with SKIP LOCKED what is free.

-- Functions of one file call those of later files; bodies are checked when they first run, and by the tests.
SET LOCAL check_function_bodies = off;

-- Functions that every decision calls are PL/pgSQL even where one SELECT would do: PL/pgSQL keeps its plans for the
-- session, while a SQL function that cannot be inlined is planned anew at each call.

-- Time comes through this one function. Tests replace it inside their own transaction.
CREATE OR REPLACE FUNCTION orch.clock() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()';

-- Errors that people may see have SQLSTATEs of class OR: OR001 not found, OR002 refused by a rule, OR003 invalid input,
-- OR004 lease lost, OR005 conflict, OR006 denied, OR007 a bound was exceeded, OR008 who calls is not proven.
-- The hint says what to do next.
CREATE OR REPLACE FUNCTION orch.fail(p_code text, p_message text, p_hint text DEFAULT '') RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = p_code, MESSAGE = p_message, HINT = coalesce(p_hint, '');
END $$;

-- Names who acts for the rest of the transaction; audit rows carry it.
CREATE OR REPLACE FUNCTION orch.act(p_actor text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF p_actor IS NULL OR p_actor = '' OR length(p_actor) > 200 THEN
    PERFORM orch.fail('OR003', 'an actor of 1 to 200 characters is required');
  END IF;
  PERFORM set_config('orch.actor', p_actor, true);
END $$;

-- Who acts now; plain SQL outside our functions is named by its login.
CREATE OR REPLACE FUNCTION orch.actor() RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN coalesce(nullif(current_setting('orch.actor', true), ''), 'sql:' || session_user);
END $$;

-- The reviewer behind an actor, or NULL: 'reviewer:dana', or a login or shell user who is named like a reviewer.
CREATE OR REPLACE FUNCTION orch.actor_reviewer(p_actor text) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (
      SELECT id FROM orch.reviewer WHERE name = substring(p_actor FROM '^(?:reviewer|user|sql):(.+)$') AND active
  );
END $$;

-- The people who are behind what is being done now: who the caller says they are, and whose database login it is. Both,
-- because a login named like a reviewer proves who approves; it must not be able to propose as somebody else first.
CREATE OR REPLACE FUNCTION orch.acting_reviewers(p_actor text) RETURNS bigint[] LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN array_remove(ARRAY[orch.actor_reviewer(p_actor), orch.actor_reviewer('sql:' || session_user)], NULL);
END $$;

-- Locks a pipeline's row: the one mutex under which all its governance happens.
CREATE OR REPLACE FUNCTION orch.pipeline_lock(p_name text) RETURNS orch.pipeline LANGUAGE plpgsql AS $$
DECLARE p orch.pipeline;
BEGIN
  SELECT * INTO p FROM orch.pipeline WHERE name = p_name FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    PERFORM orch.fail('OR001', format('no pipeline is named %L', p_name),
      'orch pipelines lists them; orch apply DIR adds one');
  END IF;
  RETURN p;
END $$;

CREATE OR REPLACE FUNCTION orch.pipeline_lock_id(p_id bigint) RETURNS orch.pipeline LANGUAGE plpgsql AS $$
DECLARE p orch.pipeline;
BEGIN
  SELECT * INTO STRICT p FROM orch.pipeline WHERE id = p_id FOR NO KEY UPDATE;
  RETURN p;
END $$;

CREATE OR REPLACE FUNCTION orch.current_spec(p_pipeline_id bigint) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (
      SELECT r.spec FROM orch.pipeline p JOIN orch.revision r ON r.id = p.revision_id WHERE p.id = p_pipeline_id
  );
END $$;

-- RFC 3339 in UTC with milliseconds: how every time leaves the database inside JSON.
CREATE OR REPLACE FUNCTION orch.rfc3339(p_at timestamptz) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN to_char(p_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');
END $$;

CREATE OR REPLACE FUNCTION orch.ms_interval(p_ms bigint) RETURNS interval LANGUAGE sql IMMUTABLE AS $$
  SELECT make_interval(secs => p_ms / 1000.0)
$$;

-- 'gate.*' and '*' match by prefix, everything else exactly.
CREATE OR REPLACE FUNCTION orch.event_matches(p_type text, p_patterns jsonb) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN (
      SELECT EXISTS (SELECT FROM jsonb_array_elements_text(p_patterns) AS x(pattern)
                     WHERE pattern = '*' OR pattern = p_type
                        OR (right(pattern, 2) = '.*' AND starts_with(p_type, left(pattern, -1))))
  );
END $$;

-- A receiver that has answered 410 Gone gets no more events: not before the dead row is revived, or its URL changes.
CREATE OR REPLACE FUNCTION orch.webhook_is_gone(p_hook jsonb) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN EXISTS (SELECT FROM orch.outbox WHERE state = 'dead' AND channel = 'webhook' AND last_error LIKE 'HTTP 410%'
                 AND endpoint ->> 'name' = p_hook ->> 'name' AND endpoint ->> 'url' = p_hook ->> 'url');
END $$;

-- A number, a time or a word out of a caller's JSON, or an error that names it. PostgreSQL's own casts would answer in
-- the language of types.
CREATE OR REPLACE FUNCTION orch.take_bigint(p_doc jsonb, p_key text, p_default bigint, p_min bigint, p_max bigint) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE v numeric;
BEGIN
  IF coalesce(p_doc ->> p_key, '') = '' THEN RETURN p_default; END IF;
  IF (p_doc ->> p_key) !~ '^[+-]?[0-9]{1,18}$' THEN
    PERFORM orch.fail('OR003', format('%s is %L, expected a whole number', p_key, left(p_doc ->> p_key, 40)));
  END IF;
  v := (p_doc ->> p_key)::numeric;
  RETURN least(greatest(v, p_min), p_max)::bigint;
END $$;

CREATE OR REPLACE FUNCTION orch.take_time(p_text text, p_what text) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE v timestamptz;
BEGIN
  BEGIN
    v := p_text::timestamptz;
  EXCEPTION WHEN data_exception THEN
    PERFORM orch.fail('OR003', format('%s is %L, expected a time such as 2026-01-31T12:00:00Z', p_what, left(p_text, 40)));
  END;
  PERFORM orch.check_time(v, p_what);
  RETURN v;
END $$;

-- Refuses times that no calendar page can show; RFC 3339 has four digits for the year.
CREATE OR REPLACE FUNCTION orch.check_time(p_at timestamptz, p_what text) RETURNS void LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF p_at < '0001-01-02T00:00:00Z' OR p_at >= '9999-12-30T00:00:00Z' THEN
    PERFORM orch.fail('OR003', format('%s is not within the years 1 to 9999', p_what));
  END IF;
END $$;

-- Refuses a text that the tables would refuse, in words.
CREATE OR REPLACE FUNCTION orch.check_length(p_text text, p_what text, p_max int) RETURNS void LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF length(p_text) > p_max THEN PERFORM orch.fail('OR007', format('%s has more than %s characters', p_what, p_max)); END IF;
END $$;

-- Records an event and, in the same transaction, one outbox row for everybody who asked to be told.
CREATE OR REPLACE FUNCTION orch.emit(p_type text, p_pipeline_id bigint, p_gate_id bigint, p_data jsonb) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  v_event  bigint;
  v_config jsonb := orch.server_config_current();
  v_now    timestamptz := orch.clock();
  v_key    text := CASE WHEN p_gate_id IS NULL THEN 'pipeline:' || coalesce(p_pipeline_id, 0) ELSE 'gate:' || p_gate_id END;
  v_hook   jsonb;
BEGIN
  INSERT INTO orch.event (type, pipeline_id, gate_id, data, at)
    VALUES (p_type, p_pipeline_id, p_gate_id, p_data, v_now) RETURNING id INTO v_event;
  IF v_config #> '{chat,slack,channel}' IS NOT NULL
     AND orch.event_matches(p_type, '["gate.*", "deployment.*", "signal.fault", "signal.alarm", "incident.*", "proposal.blocked",
       "proposal.failed"]') THEN
    INSERT INTO orch.outbox (event_id, message_id, channel, endpoint, ordering_key, due_at, created_at)
      VALUES (v_event, 'msg_' || v_event || '_slack', 'slack', v_config #> '{chat,slack}', 'slack:' || v_key, v_now, v_now);
  END IF;
  FOR v_hook IN SELECT jsonb_array_elements(coalesce(v_config -> 'webhooks', '[]')) LOOP
    IF orch.event_matches(p_type, coalesce(v_hook -> 'events', '["*"]')) AND NOT orch.webhook_is_gone(v_hook) THEN
      INSERT INTO orch.outbox (event_id, message_id, channel, endpoint, ordering_key, due_at, created_at)
        VALUES (v_event, 'msg_' || v_event || '_' || (v_hook ->> 'name'), 'webhook', v_hook - 'events',
                'webhook:' || (v_hook ->> 'name') || ':' || v_key, v_now, v_now);
    END IF;
  END LOOP;
  PERFORM pg_notify('orch_serve', 'event');
  RETURN v_event;
END $$;

-- The orch.yaml in force, normalised; an empty object before the first one.
CREATE OR REPLACE FUNCTION orch.server_config_current() RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (
      SELECT coalesce((SELECT config FROM orch.server_config ORDER BY id DESC LIMIT 1), '{}')
  );
END $$;
