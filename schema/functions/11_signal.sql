-- Signals in: de-duplicated, counted, resolved, and folded into proposals, held back with a reason or told to people.

-- What a signal that never asks for a retraining by itself leads to, in words.
CREATE OR REPLACE FUNCTION orch.signal_tell_words(p_kind text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN CASE p_kind
    WHEN 'data_fault' THEN 'broken data is reported to people and never retrains'
    WHEN 'volume' THEN 'missing rows are reported to people and never retrain'
    WHEN 'estimate' THEN 'an estimate is reported to people and never retrains by itself'
    WHEN 'canary' THEN 'how a canary differs from the champion is reported to people and retrains nothing'
    WHEN 'latency' THEN 'a slow model is reported to people; retraining seldom makes it faster'
    ELSE 'its monitor tells people and proposes nothing (then: tell)' END;
END $$;

-- Whether a kind speaks of the data or the model having moved: what cascades are made of.
CREATE OR REPLACE FUNCTION orch.signal_is_drift(p_kind text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT p_kind IN ('drift', 'prediction_drift', 'performance')
$$;

-- Why nothing automatic may start now, or NULL: {"reason", "until"}. `until` null: a person or an event ends it.
CREATE OR REPLACE FUNCTION orch.automatic_objection(p_pipeline_id bigint, p_spec jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
  h        orch.hold;
  v_fault  record;
  v_last   timestamptz;
  v_ready  timestamptz;
  v_count  int;
  v_oldest timestamptz;
  v_now    timestamptz := orch.clock();
BEGIN
  SELECT * INTO h FROM orch.hold WHERE pipeline_id = p_pipeline_id AND released_at IS NULL;
  IF FOUND THEN
    RETURN jsonb_build_object('reason', format('on hold by %s since %s: %s', h.actor, orch.rfc3339(h.at), h.reason));
  END IF;
  SELECT id, title INTO v_fault FROM orch.signal
    WHERE pipeline_id = p_pipeline_id AND kind = 'data_fault' AND status = 'firing' ORDER BY id LIMIT 1;
  IF FOUND THEN
    RETURN jsonb_build_object('reason', format('the data is faulty (signal %s: %s); broken data never retrains',
                                               v_fault.id, v_fault.title));
  END IF;
  SELECT max(created_at) INTO v_last FROM orch.proposal WHERE pipeline_id = p_pipeline_id;
  v_ready := v_last + orch.ms_interval((p_spec #>> '{retrain,cooldown_ms}')::bigint);
  IF v_ready > v_now THEN
    RETURN jsonb_build_object('reason', format('cooling down until %s', orch.rfc3339(v_ready)), 'until', v_ready);
  END IF;
  IF jsonb_typeof(p_spec #> '{retrain,budget}') = 'object' THEN
    SELECT count(*), min(created_at) INTO v_count, v_oldest FROM (
      SELECT created_at FROM orch.proposal WHERE pipeline_id = p_pipeline_id
        AND created_at > v_now - orch.ms_interval((p_spec #>> '{retrain,budget,per_ms}')::bigint)
      ORDER BY created_at DESC LIMIT (p_spec #>> '{retrain,budget,count}')::int) recent;
    IF v_count >= (p_spec #>> '{retrain,budget,count}')::int THEN
      v_ready := v_oldest + orch.ms_interval((p_spec #>> '{retrain,budget,per_ms}')::bigint);
      RETURN jsonb_build_object('until', v_ready, 'reason',
        format('the budget of %s retrainings is used up until %s', v_count, orch.rfc3339(v_ready)));
    END IF;
  END IF;
  RETURN NULL;
END $$;

-- Decides what becomes of a firing signal. The pipeline's row is locked.
CREATE OR REPLACE FUNCTION orch.signal_route(p_pipeline orch.pipeline, p_signal_id bigint) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
  s          orch.signal;
  v_spec     jsonb := orch.current_spec(p_pipeline.id);
  v_open     bigint;
  v_objects  jsonb;
  v_proposal bigint;
  v_incident bigint;
  v_why      text;
BEGIN
  SELECT * INTO STRICT s FROM orch.signal WHERE id = p_signal_id FOR UPDATE;
  -- From here on signals of other pipelines see this one, or this one sees them.
  IF orch.signal_is_drift(s.kind) THEN
    PERFORM orch.cascade_lock();
    UPDATE orch.signal SET shares = orch.signal_shares(s) WHERE id = s.id;
  END IF;
  IF s.tell THEN
    UPDATE orch.signal SET disposition = 'recorded', reconsider_at = NULL, held_reason = orch.signal_tell_words(s.kind)
      WHERE id = s.id;
    PERFORM orch.signal_answered(s);
    RETURN jsonb_build_object('disposition', 'recorded', 'proposal', NULL, 'reason', orch.signal_tell_words(s.kind));
  END IF;
  SELECT id INTO v_open FROM orch.proposal WHERE pipeline_id = p_pipeline.id
    AND state IN ('proposed', 'training', 'evaluating', 'awaiting_approval', 'rolling_out') ORDER BY id DESC LIMIT 1;
  IF v_open IS NOT NULL THEN
    UPDATE orch.signal SET disposition = 'folded', proposal_id = v_open, held_reason = NULL, reconsider_at = NULL WHERE id = s.id;
    PERFORM orch.proposers_add(v_open, s.title);
    PERFORM orch.incident_join(s.id, false);
    PERFORM orch.signal_answered(s);
    RETURN jsonb_build_object('disposition', 'folded', 'proposal', v_open,
      'reason', format('proposal %s is open for this pipeline', v_open));
  END IF;
  v_why := orch.incident_dismissal(s.id);
  IF v_why IS NOT NULL THEN
    UPDATE orch.signal SET disposition = 'recorded', reconsider_at = NULL, held_reason = v_why WHERE id = s.id;
    RETURN jsonb_build_object('disposition', 'recorded', 'proposal', NULL, 'reason', v_why);
  END IF;
  IF v_spec IS NULL THEN
    v_objects := jsonb_build_object('reason', 'the pipeline has no revision');
  ELSE
    v_objects := orch.automatic_objection(p_pipeline.id, v_spec);
  END IF;
  IF v_objects IS NOT NULL THEN
    UPDATE orch.signal SET disposition = 'held', held_reason = v_objects ->> 'reason',
      reconsider_at = (v_objects ->> 'until')::timestamptz WHERE id = s.id;
    PERFORM orch.incident_join(s.id, false);
    RETURN jsonb_build_object('disposition', 'held', 'proposal', NULL, 'reason', v_objects ->> 'reason');
  END IF;
  v_incident := orch.incident_join(s.id, true);
  IF v_incident IS NOT NULL THEN
    UPDATE orch.signal SET disposition = 'held', reconsider_at = NULL, held_reason = format(
        'waits in incident %s: %s; a person releases or dismisses it', v_incident, orch.incident_words(v_incident))
      WHERE id = s.id RETURNING * INTO s;
    RETURN jsonb_build_object('disposition', 'held', 'proposal', NULL, 'incident', v_incident, 'reason', s.held_reason);
  END IF;
  v_proposal := orch.proposal_open(p_pipeline, s.title, orch.actor(), s.as_of);
  PERFORM orch.proposers_add(v_proposal, s.title);
  UPDATE orch.signal SET disposition = 'proposed', proposal_id = v_proposal, held_reason = NULL, reconsider_at = NULL
    WHERE id = s.id;
  UPDATE orch.incident_member SET proposal_id = v_proposal WHERE signal_id = s.id AND proposal_id IS NULL;
  PERFORM orch.signal_answered(s);
  PERFORM orch.proposal_announce(p_pipeline, v_proposal);
  PERFORM orch.proposal_start(v_proposal);
  RETURN jsonb_build_object('disposition', 'proposed', 'proposal', v_proposal, 'reason', s.title);
END $$;

-- A schedule asks once: as soon as there is a proposal for it, or people are told, it has been answered.
CREATE OR REPLACE FUNCTION orch.signal_answered(s orch.signal) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF s.kind = 'schedule' THEN
    UPDATE orch.signal SET status = 'resolved', resolved_at = orch.clock() WHERE id = s.id;
  END IF;
END $$;

-- Takes one signal. p_signal = {source, kind, fingerprint, episode?, status: firing|resolved, then?: propose|tell, at?,
-- title, detail?}. Faults, missing rows, estimates and canaries are always told; latency is, unless it says propose.
-- `at` is the newest data that the signal speaks of (default: now); a proposal's as_of comes from it.
-- -> {signal, disposition: proposed|folded|duplicate|held|recorded|resolved, proposal, reason, incident?}
CREATE OR REPLACE FUNCTION orch.signal_receive(p_pipeline text, p_signal jsonb, p_actor text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
BEGIN
  PERFORM orch.act(p_actor);
  RETURN orch.signal_take(orch.pipeline_lock(p_pipeline), p_signal);
END $$;

-- The same for senders that number their deliveries: the same delivery again within a day changes nothing, also when
-- what it said has been resolved meanwhile. NULL: not numbered.
CREATE OR REPLACE FUNCTION orch.signal_receive_once(p_pipeline text, p_signal jsonb, p_actor text, p_delivery text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE p orch.pipeline;
BEGIN
  PERFORM orch.act(p_actor);
  p := orch.pipeline_lock(p_pipeline);
  IF p_delivery IS NOT NULL AND orch.replay_seen('signal:' || p.id, p_delivery, 86400000) THEN
    RETURN jsonb_build_object('signal', NULL, 'disposition', 'duplicate', 'proposal', NULL, 'reason', 'this delivery was taken already');
  END IF;
  RETURN orch.signal_take(p, p_signal);
END $$;

-- The same under a pipeline lock that is held already.
CREATE OR REPLACE FUNCTION orch.signal_take(p orch.pipeline, p_signal jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  v_now     timestamptz := orch.clock();
  v_source  text := p_signal ->> 'source';
  v_print   text := p_signal ->> 'fingerprint';
  v_episode text := coalesce(p_signal ->> 'episode', '');
  -- A sender whose clock runs ahead cannot ask for data of the future.
  v_as_of   timestamptz := least(coalesce(orch.take_time(p_signal ->> 'at', 'at'), v_now), v_now);
  v_title   text := left(p_signal ->> 'title', 1000);
  v_kind    text := p_signal ->> 'kind';
  v_then    text := p_signal ->> 'then';
  v_tell    boolean := v_kind IN ('data_fault', 'volume', 'estimate', 'canary') OR coalesce(v_then, '') = 'tell'
                       OR (v_kind = 'latency' AND v_then IS DISTINCT FROM 'propose');
  s         orch.signal;
  v_id      bigint;
  v_answer  jsonb;
BEGIN
  IF v_source IS NULL OR v_print IS NULL OR coalesce(v_title, '') = ''
     OR coalesce(p_signal ->> 'status', '') NOT IN ('firing', 'resolved')
     OR coalesce(v_kind, '') NOT IN ('drift', 'prediction_drift', 'performance', 'estimate', 'latency', 'volume', 'schedule',
          'data_fault', 'canary', 'alert', 'manual', 'external') OR coalesce(v_then, 'tell') NOT IN ('propose', 'tell') THEN
    PERFORM orch.fail('OR003', 'a signal needs source, kind, fingerprint, status (firing or resolved) and title; then is propose or tell');
  END IF;
  IF v_source = '' OR v_print = '' OR length(v_source) > 200 OR length(v_print) > 200 OR length(v_episode) > 200 THEN
    PERFORM orch.fail('OR007', 'source, fingerprint and episode of a signal have at most 200 characters, and the first two at least one');
  END IF;
  IF coalesce(jsonb_typeof(p_signal -> 'detail'), 'object') <> 'object' THEN
    PERFORM orch.fail('OR003', 'a signal''s detail must be an object');
  END IF;
  IF octet_length((p_signal -> 'detail')::text) > 262144 THEN
    PERFORM orch.fail('OR007', 'a signal''s detail has more than 256 KiB');
  END IF;
  SELECT * INTO s FROM orch.signal WHERE pipeline_id = p.id AND source = v_source AND fingerprint = v_print
    AND status = 'firing' FOR UPDATE;
  IF p_signal ->> 'status' = 'resolved' THEN
    IF NOT FOUND THEN
      RETURN jsonb_build_object('signal', NULL, 'disposition', 'duplicate', 'proposal', NULL, 'reason', 'nothing like it is firing');
    END IF;
    PERFORM orch.signal_resolve(p, s, NULL);
    RETURN jsonb_build_object('signal', s.id, 'disposition', 'resolved', 'proposal', s.proposal_id, 'reason', NULL);
  END IF;
  IF FOUND THEN
    IF v_episode = s.episode OR v_episode = '' THEN
      UPDATE orch.signal SET count = count + 1, last_at = v_now, as_of = greatest(as_of, v_as_of), title = v_title, tell = v_tell,
        detail = coalesce(p_signal -> 'detail', '{}') WHERE id = s.id;
      -- Its monitor has changed its mind about what should come of it.
      IF s.tell <> v_tell AND s.disposition IN ('held', 'recorded') THEN
        RETURN jsonb_build_object('signal', s.id) || orch.signal_route(p, s.id);
      END IF;
      -- A held signal that is heard again after its reason has passed need not wait for the timer.
      IF s.disposition = 'held' AND orch.automatic_objection(p.id, orch.current_spec(p.id)) IS NULL THEN
        v_answer := orch.signal_route(p, s.id);
        RETURN jsonb_build_object('signal', s.id) || v_answer;
      ELSIF s.disposition IN ('proposed', 'folded') AND s.proposal_id IS NOT NULL AND EXISTS (
          SELECT FROM orch.proposal q WHERE q.id = s.proposal_id AND q.ended_at IS NOT NULL) THEN
        -- Its proposal has ended and it still fires: it asks anew (cooldown and budget apply).
        v_answer := orch.signal_route(p, s.id);
        RETURN jsonb_build_object('signal', s.id) || v_answer;
      END IF;
      RETURN jsonb_build_object('signal', s.id, 'disposition', 'duplicate', 'proposal', s.proposal_id,
        'reason', coalesce(s.held_reason, format('heard %s times', s.count + 1)));
    END IF;
    -- A new episode began before the end of the old one was heard.
    UPDATE orch.signal SET status = 'resolved', resolved_at = v_now, reconsider_at = NULL WHERE id = s.id;
  ELSIF v_episode <> '' AND EXISTS (SELECT FROM orch.signal WHERE pipeline_id = p.id AND source = v_source
          AND fingerprint = v_print AND episode = v_episode) THEN
    RETURN jsonb_build_object('signal', NULL, 'disposition', 'duplicate', 'proposal', NULL,
      'reason', 'this episode was resolved already');
  END IF;
  INSERT INTO orch.signal (pipeline_id, source, kind, fingerprint, episode, status, title, detail, tell, first_at, last_at, as_of, disposition)
    VALUES (p.id, v_source, v_kind, v_print, v_episode, 'firing', v_title,
            coalesce(p_signal -> 'detail', '{}'), v_tell, v_now, v_now, v_as_of, 'recorded')
    RETURNING id INTO v_id;
  v_answer := orch.signal_route(p, v_id);
  IF v_tell THEN
    PERFORM orch.emit(CASE v_kind WHEN 'data_fault' THEN 'signal.fault' ELSE 'signal.alarm' END, p.id, NULL,
      jsonb_build_object('pipeline', p.name, 'signal', v_id, 'kind', v_kind, 'source', v_source, 'title', v_title,
        'detail', coalesce(p_signal -> 'detail', '{}')));
  ELSIF v_answer ->> 'disposition' = 'held' THEN
    PERFORM orch.emit('signal.held', p.id, NULL, jsonb_build_object('pipeline', p.name, 'signal', v_id, 'title', v_title,
      'reason', v_answer ->> 'reason'));
  END IF;
  RETURN jsonb_build_object('signal', v_id) || v_answer;
END $$;

-- Ends a firing signal. What a fault held back is looked at again by the next turn of signals_reconsider.
CREATE OR REPLACE FUNCTION orch.signal_resolve(p orch.pipeline, s orch.signal, p_why text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE v_now timestamptz := orch.clock();
BEGIN
  UPDATE orch.signal SET status = 'resolved', resolved_at = v_now, last_at = v_now, reconsider_at = NULL WHERE id = s.id;
  IF s.kind = 'data_fault' THEN
    UPDATE orch.signal SET reconsider_at = v_now WHERE pipeline_id = p.id AND status = 'firing' AND disposition = 'held';
  END IF;
  IF s.tell THEN
    PERFORM orch.emit(CASE s.kind WHEN 'data_fault' THEN 'signal.fault_resolved' ELSE 'signal.alarm_resolved' END, p.id, NULL,
      jsonb_strip_nulls(jsonb_build_object('pipeline', p.name, 'signal', s.id, 'kind', s.kind, 'title', s.title, 'why', p_why)));
  END IF;
END $$;

-- Ends firing signals that nobody else will end, because what was remembered of them is gone: of one source, of one kind
-- (NULL: any). The pipeline is locked.
CREATE OR REPLACE FUNCTION orch.signals_end(p_pipeline_id bigint, p_source text, p_kind text, p_why text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  p orch.pipeline;
  s orch.signal;
BEGIN
  FOR s IN SELECT * FROM orch.signal WHERE pipeline_id = p_pipeline_id AND status = 'firing' AND (p_source IS NULL OR source = p_source)
           AND (p_kind IS NULL OR kind = p_kind) ORDER BY id FOR UPDATE LOOP
    IF p.id IS NULL THEN SELECT * INTO STRICT p FROM orch.pipeline WHERE id = p_pipeline_id; END IF;
    PERFORM orch.signal_resolve(p, s, p_why);
  END LOOP;
END $$;

-- Duty: looks again at held signals whose reason may have passed. -> {"looked_at", "proposed"}
CREATE OR REPLACE FUNCTION orch.signals_reconsider(p_limit int) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  r          record;
  p          orch.pipeline;
  v_seen     int := 0;
  v_proposed int := 0;
BEGIN
  PERFORM orch.act('system:serve');
  -- Names are read without locks first, so that the pipeline's lock comes before the signal's.
  FOR r IN SELECT id, pipeline_id FROM orch.signal WHERE reconsider_at <= orch.clock() AND status = 'firing'
           ORDER BY reconsider_at LIMIT greatest(p_limit, 0) LOOP
    SELECT * INTO p FROM orch.pipeline WHERE id = r.pipeline_id FOR NO KEY UPDATE SKIP LOCKED;
    CONTINUE WHEN NOT FOUND;
    CONTINUE WHEN NOT EXISTS (SELECT FROM orch.signal WHERE id = r.id AND status = 'firing' AND reconsider_at <= orch.clock());
    v_seen := v_seen + 1;
    IF orch.signal_route(p, r.id) ->> 'disposition' = 'proposed' THEN v_proposed := v_proposed + 1; END IF;
  END LOOP;
  RETURN jsonb_build_object('looked_at', v_seen, 'proposed', v_proposed);
END $$;
