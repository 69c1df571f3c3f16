-- The move of the live pointer, and the way back.
--
-- A deployment's id is its generation: drivers refuse a generation older than the newest they have seen, so a paused
-- process can never undo a later move. Its lease is the database's fence: deployment_finish matches (id, lease, state).

-- An approved gate becomes a deployment in the same transaction.
CREATE OR REPLACE FUNCTION orch.deployment_open(p_gate bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  g    orch.gate;
  p    orch.pipeline;
  v_id bigint;
  v_now timestamptz := orch.clock();
BEGIN
  SELECT * INTO STRICT g FROM orch.gate WHERE id = p_gate;
  SELECT * INTO STRICT p FROM orch.pipeline WHERE id = g.pipeline_id;
  PERFORM orch.proposal_move(g.proposal_id, 'rolling_out');
  INSERT INTO orch.deployment (pipeline_id, version_id, from_version_id, proposal_id, gate_id, kind, state, driver, reason,
                               actor, due_at, created_at)
    VALUES (p.id, g.version_id, p.champion_id, g.proposal_id, g.id, 'promote', 'pending',
            orch.current_spec(p.id) #> '{rollout,driver}', 'approved at gate ' || g.id, orch.actor(), v_now, v_now)
    RETURNING id INTO v_id;
  PERFORM pg_notify('orch_serve', 'event');
  RETURN v_id;
END $$;

-- Hands one due deployment to a server, with a lease. Held pipelines wait; rollbacks do not. A deployment whose server
-- died is handed out again when its lease has run out. The pipeline's lock comes first here too, but is not waited for:
-- whoever holds it (a rollback, perhaps, which must never wait) may be about to change just this deployment.
CREATE OR REPLACE FUNCTION orch.deployment_claim(p_owner text, p_lease_ms bigint)
RETURNS TABLE (id bigint, lease bigint, kind text, pipeline text, version int, artifact text, driver jsonb, generation bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
#variable_conflict use_column
DECLARE
  v_now timestamptz := orch.clock();
  v_id  bigint;
BEGIN
  PERFORM orch.act('system:serve');
  SELECT d.id INTO v_id FROM orch.deployment d JOIN orch.pipeline p ON p.id = d.pipeline_id
    WHERE d.state IN ('pending', 'stepping') AND d.due_at <= v_now AND (d.lease_until IS NULL OR d.lease_until <= v_now)
      AND (d.kind = 'rollback' OR NOT EXISTS (SELECT FROM orch.hold h WHERE h.pipeline_id = d.pipeline_id AND h.released_at IS NULL))
    ORDER BY d.due_at LIMIT 1 FOR NO KEY UPDATE OF p SKIP LOCKED;
  IF NOT FOUND THEN RETURN; END IF;
  -- What was read before the lock is read again under it; what changed meanwhile is left to the next claim.
  PERFORM FROM orch.deployment d WHERE d.id = v_id AND d.state IN ('pending', 'stepping') AND (d.lease_until IS NULL OR d.lease_until <= v_now)
      AND (d.kind = 'rollback' OR NOT EXISTS (SELECT FROM orch.hold h WHERE h.pipeline_id = d.pipeline_id AND h.released_at IS NULL))
    FOR NO KEY UPDATE SKIP LOCKED;
  IF NOT FOUND THEN RETURN; END IF;
  UPDATE orch.deployment d SET state = 'stepping', lease = nextval('orch.deployment_lease'), lease_owner = p_owner,
    lease_until = v_now + orch.ms_interval(p_lease_ms), attempts = d.attempts + 1 WHERE d.id = v_id;
  RETURN QUERY SELECT d.id, d.lease, d.kind, p.name, v.number, v.artifact::text, d.driver, d.id
    FROM orch.deployment d JOIN orch.pipeline p ON p.id = d.pipeline_id JOIN orch.version v ON v.id = d.version_id WHERE d.id = v_id;
END $$;

-- Extends the lease; OR004 when it has passed to somebody else.
CREATE OR REPLACE FUNCTION orch.deployment_renew(p_id bigint, p_lease bigint, p_lease_ms bigint) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
BEGIN
  UPDATE orch.deployment SET lease_until = orch.clock() + orch.ms_interval(p_lease_ms)
    WHERE id = p_id AND lease = p_lease AND state = 'stepping';
  IF NOT FOUND THEN PERFORM orch.fail('OR004', format('deployment %s is not ours any more', p_id)); END IF;
  RETURN '{"ok": true}';
END $$;

-- The driver has run. ok: the pointer moves here, and only here. Not ok: a promotion is tried three times and then
-- aborted with the old version live; a rollback is tried until it succeeds. p_detail = {error?, permanent?, …}.
-- -> {deployment, state}; OR004 when the lease was lost: the caller then applies whatever pipeline_live() says.
CREATE OR REPLACE FUNCTION orch.deployment_finish(p_id bigint, p_lease bigint, p_ok boolean, p_detail jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  d     orch.deployment;
  p     orch.pipeline;
  v_now timestamptz := orch.clock();
  v_wait interval;
BEGIN
  SELECT * INTO d FROM orch.deployment WHERE id = p_id;
  IF NOT FOUND THEN PERFORM orch.fail('OR001', format('there is no deployment %s', p_id)); END IF;
  PERFORM orch.act(CASE WHEN d.kind = 'rollback' THEN d.actor ELSE 'system:serve' END);
  p := orch.pipeline_lock_id(d.pipeline_id);
  SELECT * INTO STRICT d FROM orch.deployment WHERE id = p_id FOR UPDATE;
  IF d.state <> 'stepping' OR d.lease IS DISTINCT FROM p_lease THEN
    PERFORM orch.fail('OR004', format('deployment %s is %s and not ours any more', p_id, d.state));
  END IF;
  IF p_ok THEN
    PERFORM orch.deployment_live(p, d, coalesce(p_detail, '{}'));
    RETURN jsonb_build_object('deployment', p_id, 'state', 'live');
  END IF;
  IF d.kind = 'promote' AND (d.attempts >= 3 OR coalesce((p_detail ->> 'permanent')::boolean, false)) THEN
    PERFORM orch.deployment_abort(p, d, coalesce(p_detail ->> 'error', 'the driver failed'), p_detail);
    RETURN jsonb_build_object('deployment', p_id, 'state', 'aborted');
  END IF;
  v_wait := least(interval '1 second' * (2 ^ least(d.attempts - 1, 6)), interval '1 minute');
  UPDATE orch.deployment SET lease = NULL, lease_owner = NULL, lease_until = NULL, due_at = v_now + v_wait,
    detail = d.detail || coalesce(p_detail, '{}') WHERE id = p_id;
  RETURN jsonb_build_object('deployment', p_id, 'state', 'stepping', 'retry_at', orch.rfc3339(v_now + v_wait));
END $$;

CREATE OR REPLACE FUNCTION orch.deployment_live(p orch.pipeline, d orch.deployment, p_detail jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v_now   timestamptz := orch.clock();
  v_new   int;
  v_old   int;
  v_later record;
BEGIN
  UPDATE orch.deployment SET state = 'live', ended_at = v_now, detail = d.detail || p_detail,
    lease = NULL, lease_owner = NULL, lease_until = NULL WHERE id = d.id;
  UPDATE orch.pipeline SET champion_id = d.version_id, champion_deployment_id = d.id WHERE id = p.id;
  SELECT number INTO v_new FROM orch.version WHERE id = d.version_id;
  SELECT number INTO v_old FROM orch.version WHERE id = p.champion_id;
  -- The reference of the monitors is the champion's training data: their windows start anew with it.
  PERFORM orch.monitors_restart(p.id, d.version_id);
  IF d.kind = 'promote' THEN
    PERFORM orch.proposal_move(d.proposal_id, 'promoted', d.reason);
    -- What fired against the old reference says nothing about the new one.
    UPDATE orch.signal SET status = 'resolved', resolved_at = v_now, reconsider_at = NULL
      WHERE pipeline_id = p.id AND status = 'firing' AND proposal_id = d.proposal_id AND source LIKE 'monitor:%';
    -- A younger candidate that waits was compared with the champion before this one.
    FOR v_later IN SELECT id FROM orch.proposal WHERE pipeline_id = p.id AND state = 'awaiting_approval' LOOP
      PERFORM orch.proposal_end(v_later.id, 'superseded', format('the champion is now version %s; it was compared with another one', v_new));
    END LOOP;
    PERFORM orch.emit('deployment.live', p.id, d.gate_id, jsonb_build_object('pipeline', p.name, 'deployment', d.id, 'gate', d.gate_id,
      'proposal', d.proposal_id, 'version', v_new, 'champion', v_old, 'reason', d.reason));
  ELSE
    UPDATE orch.live_period SET good = false WHERE id = (
      SELECT id FROM orch.live_period WHERE pipeline_id = p.id AND version_id = d.from_version_id AND until IS NOT NULL
      ORDER BY id DESC LIMIT 1) AND d.from_version_id <> d.version_id;
    UPDATE orch.deployment SET state = 'rolled_back' WHERE pipeline_id = p.id AND version_id = d.from_version_id
      AND state = 'live' AND id <> d.id AND d.from_version_id <> d.version_id;
    UPDATE orch.proposal SET state = 'rolled_back', state_at = v_now, ended_at = v_now, end_reason = left(d.reason, 2000)
      WHERE pipeline_id = p.id AND version_id = d.from_version_id AND state = 'promoted' AND d.from_version_id <> d.version_id;
    PERFORM orch.emit('deployment.rolled_back', p.id, NULL, jsonb_build_object('pipeline', p.name, 'deployment', d.id,
      'version', v_new, 'from', (SELECT number FROM orch.version WHERE id = d.from_version_id), 'reason', d.reason, 'by', d.actor));
  END IF;
END $$;

-- Ends a promotion that did not arrive; the old version stays live.
CREATE OR REPLACE FUNCTION orch.deployment_abort(p orch.pipeline, d orch.deployment, p_reason text, p_detail jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE orch.deployment SET state = 'aborted', ended_at = orch.clock(), lease = NULL, lease_owner = NULL, lease_until = NULL,
    detail = d.detail || coalesce(p_detail, '{}') || jsonb_build_object('aborted', p_reason) WHERE id = d.id;
  IF d.proposal_id IS NOT NULL THEN PERFORM orch.proposal_move(d.proposal_id, 'aborted', p_reason); END IF;
  PERFORM orch.emit('deployment.failed', p.id, d.gate_id, jsonb_build_object('pipeline', p.name, 'deployment', d.id, 'gate', d.gate_id,
    'proposal', d.proposal_id, 'version', (SELECT number FROM orch.version WHERE id = d.version_id), 'reason', p_reason));
END $$;

-- What is live: drivers are brought to this after a lost lease. -> {pipeline, version, artifact, generation, since, driver}
CREATE OR REPLACE FUNCTION orch.pipeline_live(p_pipeline text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE v_answer jsonb;
BEGIN
  SELECT jsonb_build_object('pipeline', p.name, 'version', v.number, 'artifact', v.artifact, 'generation', p.champion_deployment_id,
      'since', orch.rfc3339(l.since), 'driver', orch.current_spec(p.id) #> '{rollout,driver}')
    INTO v_answer FROM orch.pipeline p LEFT JOIN orch.version v ON v.id = p.champion_id
    LEFT JOIN orch.live_period l ON l.deployment_id = p.champion_deployment_id WHERE p.name = p_pipeline;
  IF NOT FOUND THEN PERFORM orch.fail('OR001', format('no pipeline is named %L', p_pipeline), 'orch pipelines lists them'); END IF;
  RETURN v_answer;
END $$;

-- ---------------------------------------------------------------- rollback

-- Where a rollback would go: {to: version id, bad: version id, why} or {skipped, why}. The pipeline is locked (or this
-- is a dry run). Without p_to it undoes the newest change: a promotion that is moving the pointer right now, or else the
-- champion; it goes to the last version that was live and good.
CREATE OR REPLACE FUNCTION orch.rollback_plan(p orch.pipeline, p_to int) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_flight orch.deployment;
  v_last   orch.deployment;
  v        orch.version;
BEGIN
  IF p.champion_id IS NULL THEN
    PERFORM orch.fail('OR002', format('nothing of %s was ever live: there is nothing to roll back', p.name));
  END IF;
  SELECT * INTO v_flight FROM orch.deployment WHERE pipeline_id = p.id AND state IN ('pending', 'stepping');
  IF p_to IS NOT NULL THEN
    SELECT * INTO v FROM orch.version WHERE pipeline_id = p.id AND number = p_to;
    IF NOT FOUND THEN PERFORM orch.fail('OR001', format('there is no version %s@%s', p.name, p_to), format('orch history %s shows what was live', p.name)); END IF;
    IF NOT EXISTS (SELECT FROM orch.live_period WHERE version_id = v.id) THEN
      PERFORM orch.fail('OR002', format('%s@%s was never live: a rollback returns only to what was', p.name, p_to), format('orch history %s shows what was live', p.name));
    END IF;
    IF v.quarantined_at IS NOT NULL THEN
      PERFORM orch.fail('OR002', format('%s@%s is quarantined: %s', p.name, p_to, v.quarantine_reason), format('orch history %s shows the good ones', p.name));
    END IF;
    IF v.id = p.champion_id AND v_flight.id IS NULL THEN
      RETURN jsonb_build_object('skipped', true, 'to', v.id, 'why', format('already at %s', p_to));
    END IF;
    RETURN jsonb_build_object('to', v.id, 'bad', CASE WHEN v.id <> p.champion_id THEN p.champion_id ELSE v_flight.version_id END,
      'why', format('asked for version %s', p_to));
  END IF;
  IF v_flight.kind = 'rollback' THEN -- killed half way, or its driver fails: the same again
    RETURN jsonb_build_object('to', v_flight.version_id, 'bad', v_flight.from_version_id, 'why', format('resumes rollback %s', v_flight.id));
  END IF;
  IF v_flight.state = 'stepping' THEN
    SELECT * INTO STRICT v FROM orch.version WHERE id = p.champion_id;
    IF v.quarantined_at IS NULL THEN
      RETURN jsonb_build_object('to', v.id, 'bad', v_flight.version_id, 'why', format('undoes deployment %s, which is under way', v_flight.id));
    END IF;
  END IF;
  SELECT * INTO v_last FROM orch.deployment WHERE id = p.champion_deployment_id;
  IF v_last.kind = 'rollback' AND EXISTS (SELECT FROM orch.hold WHERE pipeline_id = p.id AND released_at IS NULL AND at >= v_last.created_at) THEN
    RETURN jsonb_build_object('skipped', true, 'to', p.champion_id, 'why', format('already rolled back to %s by deployment %s; --to N goes further back',
      (SELECT number FROM orch.version WHERE id = p.champion_id), v_last.id));
  END IF;
  SELECT x.* INTO v FROM orch.live_period l JOIN orch.version x ON x.id = l.version_id
    WHERE l.pipeline_id = p.id AND l.good AND l.version_id <> p.champion_id AND x.quarantined_at IS NULL
      AND l.deployment_id < p.champion_deployment_id ORDER BY l.id DESC LIMIT 1;
  IF NOT FOUND THEN
    PERFORM orch.fail('OR002', format('%s has no earlier good version to return to', p.name),
      format('orch hold %s stops everything automatic; orch history %s shows what was live', p.name, p.name));
  END IF;
  RETURN jsonb_build_object('to', v.id, 'bad', p.champion_id, 'why', 'the last version that was live and good');
END $$;

-- Begins a rollback: ends what was in flight, quarantines the bad version, puts the pipeline on hold and hands the
-- caller a leased deployment, whose driver it then runs and finishes with deployment_finish. Needs no orchestrator.
-- -> {pipeline, deployment, lease, generation, version, artifact, driver, from, why, hold, ended: [proposals], skipped, dry_run}
CREATE OR REPLACE FUNCTION orch.rollback_begin(p_pipeline text, p_to int, p_reason text, p_actor text, p_dry_run boolean)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  p        orch.pipeline;
  v_plan   jsonb;
  v_to     orch.version;
  v_bad    orch.version;
  v_reason text := coalesce(nullif(trim(p_reason), ''), 'rolled back by ' || p_actor);
  v_now    timestamptz := orch.clock();
  v_answer jsonb;
  v_ended  bigint[] := '{}';
  d        orch.deployment;
  r        record;
BEGIN
  PERFORM orch.act(p_actor);
  PERFORM orch.check_length(v_reason, 'the reason', 1900);
  IF p_dry_run THEN
    SELECT * INTO p FROM orch.pipeline WHERE name = p_pipeline;
    IF NOT FOUND THEN PERFORM orch.fail('OR001', format('no pipeline is named %L', p_pipeline), 'orch pipelines lists them'); END IF;
  ELSE
    p := orch.pipeline_lock(p_pipeline);
  END IF;
  v_plan := orch.rollback_plan(p, p_to);
  SELECT * INTO STRICT v_to FROM orch.version WHERE id = (v_plan ->> 'to')::bigint;
  SELECT * INTO v_bad FROM orch.version WHERE id = (v_plan ->> 'bad')::bigint;
  v_answer := jsonb_build_object('pipeline', p.name, 'version', v_to.number, 'artifact', v_to.artifact, 'from', v_bad.number,
    'driver', orch.current_spec(p.id) #> '{rollout,driver}', 'why', v_plan ->> 'why', 'reason', v_reason,
    'skipped', v_plan ? 'skipped', 'dry_run', p_dry_run);
  IF p_dry_run OR v_plan ? 'skipped' THEN RETURN v_answer; END IF;

  IF v_bad.id IS NOT NULL AND v_bad.id <> v_to.id AND v_bad.quarantined_at IS NULL THEN
    UPDATE orch.version SET quarantined_at = v_now, quarantined_by = p_actor, quarantine_reason = v_reason WHERE id = v_bad.id;
  END IF;
  INSERT INTO orch.hold (pipeline_id, reason, actor, at) SELECT p.id, 'rollback: ' || v_reason, p_actor, v_now
    WHERE NOT EXISTS (SELECT FROM orch.hold WHERE pipeline_id = p.id AND released_at IS NULL);
  SELECT * INTO d FROM orch.deployment WHERE pipeline_id = p.id AND state IN ('pending', 'stepping') FOR UPDATE;
  IF FOUND AND NOT (d.kind = 'rollback' AND d.version_id = v_to.id) THEN
    v_ended := v_ended || d.proposal_id;
    PERFORM orch.deployment_abort(p, d, 'overtaken by a rollback: ' || v_reason, '{}');
    d := NULL;
  END IF;
  FOR r IN SELECT id FROM orch.proposal WHERE pipeline_id = p.id
           AND state IN ('proposed', 'training', 'evaluating', 'awaiting_approval') ORDER BY id LOOP
    PERFORM orch.proposal_end(r.id, 'cancelled', 'the pipeline was rolled back: ' || v_reason);
    v_ended := v_ended || r.id;
  END LOOP;
  IF d.id IS NULL THEN
    INSERT INTO orch.deployment (pipeline_id, version_id, from_version_id, kind, state, driver, reason, actor, attempts, due_at,
                                 lease, lease_owner, lease_until, created_at)
      VALUES (p.id, v_to.id, v_bad.id, 'rollback', 'stepping', v_answer -> 'driver', v_reason, p_actor, 1, v_now,
              nextval('orch.deployment_lease'), p_actor, v_now + interval '60 seconds', v_now)
      RETURNING * INTO d;
  ELSE
    UPDATE orch.deployment SET lease = nextval('orch.deployment_lease'), lease_owner = p_actor, attempts = attempts + 1,
      lease_until = v_now + interval '60 seconds' WHERE id = d.id RETURNING * INTO d;
  END IF;
  RETURN v_answer || jsonb_build_object('deployment', d.id, 'lease', d.lease, 'generation', d.id,
    'hold', (SELECT reason FROM orch.hold WHERE pipeline_id = p.id AND released_at IS NULL),
    'ended', to_jsonb(array_remove(v_ended, NULL)));
END $$;

-- ---------------------------------------------------------------- holds

CREATE OR REPLACE FUNCTION orch.hold_set(p_pipeline text, p_reason text, p_actor text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  p orch.pipeline;
  h orch.hold;
BEGIN
  PERFORM orch.act(p_actor);
  IF coalesce(trim(p_reason), '') = '' THEN PERFORM orch.fail('OR003', 'a hold needs a reason', 'the next person on call will read it'); END IF;
  PERFORM orch.check_length(trim(p_reason), 'the reason', 2000);
  p := orch.pipeline_lock(p_pipeline);
  SELECT * INTO h FROM orch.hold WHERE pipeline_id = p.id AND released_at IS NULL;
  IF FOUND THEN
    RETURN jsonb_build_object('pipeline', p.name, 'changed', false, 'by', h.actor, 'reason', h.reason, 'since', orch.rfc3339(h.at));
  END IF;
  INSERT INTO orch.hold (pipeline_id, reason, actor, at) VALUES (p.id, trim(p_reason), p_actor, orch.clock()) RETURNING * INTO h;
  PERFORM orch.emit('hold.set', p.id, NULL, jsonb_build_object('pipeline', p.name, 'reason', h.reason, 'by', h.actor));
  RETURN jsonb_build_object('pipeline', p.name, 'changed', true, 'by', h.actor, 'reason', h.reason, 'since', orch.rfc3339(h.at));
END $$;

CREATE OR REPLACE FUNCTION orch.hold_release(p_pipeline text, p_reason text, p_actor text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  p orch.pipeline;
  h orch.hold;
BEGIN
  PERFORM orch.act(p_actor);
  p := orch.pipeline_lock(p_pipeline);
  UPDATE orch.hold SET released_at = orch.clock(), released_by = p_actor, release_reason = nullif(trim(p_reason), '')
    WHERE pipeline_id = p.id AND released_at IS NULL RETURNING * INTO h;
  IF NOT FOUND THEN
    RETURN jsonb_build_object('pipeline', p.name, 'changed', false);
  END IF;
  UPDATE orch.signal SET reconsider_at = orch.clock() WHERE pipeline_id = p.id AND status = 'firing' AND disposition = 'held';
  PERFORM orch.emit('hold.released', p.id, NULL, jsonb_build_object('pipeline', p.name, 'by', p_actor, 'held_by', h.actor, 'reason', h.reason));
  RETURN jsonb_build_object('pipeline', p.name, 'changed', true, 'held_by', h.actor, 'reason', h.reason, 'since', orch.rfc3339(h.at));
END $$;
