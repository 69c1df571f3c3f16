-- Proposals: from "retrain this" to a candidate that has been compared with the champion.

-- Moves a proposal along an arrow; final states carry a reason.
CREATE OR REPLACE FUNCTION orch.proposal_move(p_id bigint, p_state text, p_reason text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE v_final boolean := p_state IN ('promoted', 'rolled_back', 'failed', 'blocked', 'rejected', 'aborted', 'expired',
                                       'superseded', 'cancelled');
BEGIN
  UPDATE orch.proposal SET state = p_state, state_at = orch.clock(),
    ended_at = CASE WHEN v_final THEN orch.clock() END, end_reason = CASE WHEN v_final THEN left(p_reason, 2000) END
    WHERE id = p_id;
END $$;

-- Opens a proposal under the pipeline's lock and returns its id. Whoever opens it adds the signals, announces and starts it.
CREATE OR REPLACE FUNCTION orch.proposal_open(p orch.pipeline, p_reason text, p_opened_by text, p_as_of timestamptz)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  v_id     bigint;
  v_number int;
  v_spec   jsonb := orch.current_spec(p.id);
  v_now    timestamptz := orch.clock();
BEGIN
  UPDATE orch.pipeline SET next_version = next_version + 1 WHERE id = p.id RETURNING next_version - 1 INTO v_number;
  INSERT INTO orch.proposal (pipeline_id, revision_id, state, reason, opened_by, version_number, seed, as_of, created_at, state_at)
    VALUES (p.id, p.revision_id, 'proposed', left(p_reason, 2000), p_opened_by, v_number,
            coalesce((v_spec #>> '{config,seed}')::bigint, v_number), coalesce(p_as_of, v_now), v_now, v_now)
    RETURNING id INTO v_id;
  INSERT INTO orch.proposal_step (proposal_id, step, subject, role, needs)
    SELECT v_id, s ->> 'name', CASE WHEN s ->> 'role' = 'evaluate' THEN 'candidate' ELSE '' END, s ->> 'role',
           ARRAY(SELECT jsonb_array_elements_text(s -> 'needs'))
    FROM jsonb_array_elements(v_spec -> 'steps') s;
  RETURN v_id;
END $$;

-- Tells of a new proposal, once its signals say why.
CREATE OR REPLACE FUNCTION orch.proposal_announce(p orch.pipeline, p_id bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM orch.emit('proposal.created', p.id, NULL, (SELECT jsonb_build_object('pipeline', p.name, 'proposal', q.id, 'reason', q.reason,
    'by', q.opened_by, 'diagnosis', orch.diagnosis(q.id)) FROM orch.proposal q WHERE q.id = p_id));
END $$;

-- retrain: auto. The jobs that need nothing go to the queue.
CREATE OR REPLACE FUNCTION orch.proposal_start(p_id bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM orch.proposal_move(p_id, 'training');
  PERFORM orch.proposal_enqueue_ready(p_id);
END $$;

-- Puts every waiting step whose needs are met into the queue. Evaluation waits for the state `evaluating`.
CREATE OR REPLACE FUNCTION orch.proposal_enqueue_ready(p_id bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  q      orch.proposal;
  st     orch.proposal_step;
  v_spec jsonb;
  v_step jsonb;
BEGIN
  SELECT * INTO STRICT q FROM orch.proposal WHERE id = p_id;
  SELECT spec INTO STRICT v_spec FROM orch.revision WHERE id = q.revision_id;
  FOR st IN SELECT * FROM orch.proposal_step s WHERE s.proposal_id = p_id AND s.state = 'waiting'
            AND (s.role = 'evaluate') = (q.state = 'evaluating')
            AND NOT EXISTS (SELECT FROM unnest(s.needs) n(name) WHERE NOT EXISTS (
                  SELECT FROM orch.proposal_step d WHERE d.proposal_id = p_id AND d.step = n.name AND d.state = 'succeeded'))
            ORDER BY s.step, s.subject LOOP
    SELECT x INTO STRICT v_step FROM jsonb_array_elements(v_spec -> 'steps') x WHERE x ->> 'name' = st.step;
    UPDATE orch.proposal_step SET state = 'queued',
        job_id = orch.job_enqueue(q.pipeline_id, q.id, st.step, st.role, nullif(st.subject, ''), 0, v_step -> 'resources',
                                  (v_step ->> 'timeout_ms')::bigint, v_step -> 'retry', NULL)
      WHERE proposal_id = p_id AND step = st.step AND subject = st.subject;
  END LOOP;
END $$;

-- Asks for a retraining. p_mode when one is open already: keep (join it), replace (a waiting candidate stays at its gate
-- until the new one is ready; work under way is refused), cancel_and_replace (work under way is cancelled).
-- A person who asks, joins or replaces becomes a proposer: their approval will not count.
-- -> {proposal, disposition: opened|joined|repeated, superseded}
CREATE OR REPLACE FUNCTION orch.proposal_create(p_pipeline text, p_reason text, p_mode text, p_actor text,
  p_as_of timestamptz, p_idempotency_key text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  p          orch.pipeline;
  h          orch.hold;
  v_open     record;
  v_id       bigint;
  v_gone     bigint;
  v_answer   jsonb;
BEGIN
  PERFORM orch.act(p_actor);
  PERFORM orch.check_time(p_as_of, 'as_of');
  PERFORM orch.check_length(trim(p_reason), 'the reason', 2000);
  IF length(p_idempotency_key) NOT BETWEEN 1 AND 512 THEN
    PERFORM orch.fail('OR003', 'an idempotency key has 1 to 512 characters');
  END IF;
  IF coalesce(p_mode, '') NOT IN ('keep', 'replace', 'cancel_and_replace') THEN
    PERFORM orch.fail('OR003', format('mode %L is not known', p_mode), 'use keep, replace or cancel_and_replace');
  END IF;
  IF coalesce(trim(p_reason), '') = '' THEN
    PERFORM orch.fail('OR003', 'a proposal needs a reason', 'say in a sentence why this model should be retrained');
  END IF;
  p := orch.pipeline_lock(p_pipeline);
  IF p_idempotency_key IS NOT NULL THEN
    SELECT answer INTO v_answer FROM orch.replay WHERE scope = 'propose:' || p.id AND key = p_idempotency_key AND expires_at > orch.clock();
    IF FOUND THEN RETURN v_answer || '{"disposition": "repeated"}'; END IF;
  END IF;
  SELECT * INTO h FROM orch.hold WHERE pipeline_id = p.id AND released_at IS NULL;
  IF FOUND THEN
    PERFORM orch.fail('OR002', format('%s is on hold by %s: %s', p.name, h.actor, h.reason), format('orch release %s lifts it', p.name));
  END IF;
  SELECT id, state INTO v_open FROM orch.proposal WHERE pipeline_id = p.id
    AND state IN ('proposed', 'training', 'evaluating', 'awaiting_approval', 'rolling_out') ORDER BY id DESC LIMIT 1;
  IF v_open.id IS NOT NULL AND p_mode = 'keep' THEN
    v_id := v_open.id;
  ELSE
    IF v_open.state IN ('proposed', 'training', 'evaluating') THEN
      IF p_mode = 'replace' AND v_open.state <> 'proposed' THEN
        PERFORM orch.fail('OR005', format('proposal %s is %s already', v_open.id, v_open.state),
          'use --mode cancel_and_replace to stop it, or keep to join it');
      END IF;
      v_gone := v_open.id;
      PERFORM orch.proposal_end(v_open.id, 'superseded', 'replaced by a newer proposal of ' || p_actor);
    END IF;
    v_id := orch.proposal_open(p, trim(p_reason), p_actor, p_as_of);
  END IF;
  PERFORM orch.proposers_add(v_id, trim(p_reason));
  PERFORM orch.signal_record_manual(p, v_id, trim(p_reason), p_as_of);
  IF v_id IS DISTINCT FROM v_open.id THEN
    PERFORM orch.proposal_announce(p, v_id);
    PERFORM orch.proposal_start(v_id);
  END IF;
  v_answer := jsonb_build_object('proposal', v_id, 'superseded', v_gone,
    'disposition', CASE WHEN v_id = v_open.id THEN 'joined' ELSE 'opened' END);
  IF p_idempotency_key IS NOT NULL THEN
    INSERT INTO orch.replay (scope, key, answer, expires_at)
      VALUES ('propose:' || p.id, p_idempotency_key, v_answer, orch.clock() + interval '24 hours')
      ON CONFLICT (scope, key) DO UPDATE SET answer = excluded.answer, expires_at = excluded.expires_at;
  END IF;
  RETURN v_answer;
END $$;

-- Whoever asks for a retraining, by whatever way, is remembered as a proposer.
CREATE OR REPLACE FUNCTION orch.proposers_add(p_id bigint, p_reason text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO orch.proposal_proposer (proposal_id, reviewer_id, reason, at)
    SELECT DISTINCT p_id, r, p_reason, orch.clock() FROM unnest(orch.acting_reviewers(orch.actor())) r ON CONFLICT DO NOTHING;
END $$;

-- A person's wish is a signal too, so that a proposal shows all its reasons in one list.
CREATE OR REPLACE FUNCTION orch.signal_record_manual(p orch.pipeline, p_proposal bigint, p_reason text, p_as_of timestamptz)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE v_now timestamptz := orch.clock();
BEGIN
  INSERT INTO orch.signal (pipeline_id, source, kind, fingerprint, episode, status, title, first_at, last_at, as_of,
                           resolved_at, disposition, proposal_id)
    VALUES (p.id, orch.actor(), 'manual', 'proposal ' || p_proposal, '', 'resolved', left(p_reason, 1000), v_now, v_now,
            coalesce(p_as_of, v_now), v_now,
            CASE WHEN (SELECT count(*) FROM orch.signal WHERE proposal_id = p_proposal) = 0 THEN 'proposed' ELSE 'folded' END,
            p_proposal);
END $$;

-- Ends a proposal that is not final yet and everything that hangs on it: jobs, gate. The pipeline is locked.
CREATE OR REPLACE FUNCTION orch.proposal_end(p_id bigint, p_state text, p_reason text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE v_gate bigint;
BEGIN
  -- The state first: the ends of its jobs then find a final proposal and change nothing.
  PERFORM orch.proposal_move(p_id, p_state, p_reason);
  PERFORM orch.jobs_cancel(p_id);
  UPDATE orch.proposal_step SET state = 'cancelled' WHERE proposal_id = p_id AND state IN ('waiting', 'queued');
  SELECT id INTO v_gate FROM orch.gate WHERE proposal_id = p_id AND state = 'open';
  IF FOUND THEN
    PERFORM orch.gate_close(v_gate, CASE WHEN p_state = 'superseded' THEN 'superseded' ELSE 'withdrawn' END, p_reason);
  END IF;
END $$;

CREATE OR REPLACE FUNCTION orch.proposal_cancel(p_id bigint, p_reason text, p_actor text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  q orch.proposal;
  p orch.pipeline;
BEGIN
  PERFORM orch.act(p_actor);
  SELECT * INTO q FROM orch.proposal WHERE id = p_id;
  IF NOT FOUND THEN PERFORM orch.fail('OR001', format('there is no proposal %s', p_id), 'orch proposals lists them'); END IF;
  p := orch.pipeline_lock_id(q.pipeline_id);
  SELECT * INTO STRICT q FROM orch.proposal WHERE id = p_id FOR UPDATE;
  IF q.state = 'rolling_out' THEN
    PERFORM orch.fail('OR002', format('proposal %s is rolling out already', p_id), format('orch rollback %s undoes it', p.name));
  END IF;
  IF q.ended_at IS NOT NULL THEN
    PERFORM orch.fail('OR002', format('proposal %s is %s already', p_id, q.state));
  END IF;
  PERFORM orch.proposal_end(p_id, 'cancelled', coalesce(nullif(trim(p_reason), ''), 'cancelled by ' || p_actor));
  PERFORM orch.emit('proposal.cancelled', p.id, NULL, jsonb_build_object('pipeline', p.name, 'proposal', p_id, 'by', p_actor, 'reason', p_reason));
  RETURN jsonb_build_object('proposal', p_id, 'state', 'cancelled');
END $$;

-- The queue tells that a job of a proposal is final. Same transaction as the job's end. The pipeline's row is locked
-- here; callers that lock job rows for proposals must have locked the pipeline before.
CREATE OR REPLACE FUNCTION orch.proposal_on_job(p_proposal_id bigint, p_job_id bigint, p_step text, p_role text,
  p_subject text, p_state text, p_result jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  p      orch.pipeline;
  q      orch.proposal;
  v_now  timestamptz := orch.clock();
  v_flaw text;
BEGIN
  SELECT * INTO STRICT q FROM orch.proposal WHERE id = p_proposal_id;
  p := orch.pipeline_lock_id(q.pipeline_id);
  SELECT * INTO STRICT q FROM orch.proposal WHERE id = p_proposal_id FOR UPDATE;
  IF q.state NOT IN ('training', 'evaluating') THEN RETURN; END IF;
  -- Always: what a session has set before must not sign for a worker. (Cancellations come here too, but find the proposal
  -- ended.)
  PERFORM orch.act('system:worker');
  v_flaw := CASE WHEN p_state = 'succeeded' THEN orch.job_result_flaw(p_role, p_result) END;
  IF v_flaw IS NOT NULL THEN
    p_state := 'failed'; p_result := jsonb_build_object('error', v_flaw);
  END IF;
  UPDATE orch.proposal_step SET state = p_state, result = p_result - 'profile'
    WHERE proposal_id = p_proposal_id AND step = p_step AND subject = coalesce(p_subject, '') AND job_id = p_job_id;
  IF NOT FOUND THEN RETURN; END IF; -- a job of an earlier plan
  INSERT INTO orch.snapshot (proposal_id, name, digest, taken_at)
    SELECT q.id, s.key, s.value, v_now FROM jsonb_each_text(CASE WHEN p_state = 'succeeded' OR orch.job_result_flaw('step', p_result) IS NULL
      THEN coalesce(p_result -> 'snapshots', '{}') ELSE '{}' END) s
    ON CONFLICT DO NOTHING;
  IF p_state <> 'succeeded' THEN
    PERFORM orch.proposal_end(q.id, CASE WHEN p_state = 'cancelled' THEN 'cancelled' ELSE 'failed' END,
      format('step %s %s: %s', p_step, replace(p_state, '_', ' '), coalesce(p_result ->> 'error', 'no reason given')));
    PERFORM orch.emit('proposal.failed', p.id, NULL, jsonb_build_object('pipeline', p.name, 'proposal', q.id,
      'step', p_step, 'state', p_state, 'error', p_result ->> 'error', 'job', p_job_id));
    RETURN;
  END IF;
  IF p_role = 'train' THEN PERFORM orch.version_record(q, p_job_id, p_result); END IF;
  IF p_role = 'evaluate' THEN
    INSERT INTO orch.evaluation (proposal_id, subject, version_id, metrics, job_id, at)
      VALUES (q.id, p_subject, CASE p_subject WHEN 'candidate' THEN q.version_id ELSE q.champion_id END,
              coalesce(p_result -> 'metrics', '{}'), p_job_id, v_now);
  END IF;
  PERFORM orch.proposal_advance(q.id);
END $$;

-- What is wrong with a result, or NULL. A result that cannot be recorded ends its step as failed, with this as the error:
-- an exception would undo the whole hand-in, and the worker would bring the same result for ever.
CREATE OR REPLACE FUNCTION orch.job_result_flaw(p_role text, p_result jsonb) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE c_digest CONSTANT text := '^sha256:[0-9a-f]{64}$';
BEGIN
  IF p_result IS NOT NULL AND jsonb_typeof(p_result) <> 'object' THEN RETURN 'the result is not an object'; END IF;
  IF p_role = 'train' AND p_result ->> 'output' IS NULL THEN RETURN 'a training step must report its output'; END IF;
  IF p_result ->> 'output' !~ c_digest THEN RETURN 'the output is no digest'; END IF;
  IF jsonb_typeof(p_result -> 'metrics') NOT IN ('object', 'null') THEN RETURN 'the metrics are not an object'; END IF;
  IF octet_length((p_result -> 'metrics')::text) > 2097152 THEN RETURN 'the metrics have more than 2 MiB'; END IF;
  IF jsonb_typeof(p_result -> 'snapshots') NOT IN ('object', 'null') THEN RETURN 'the snapshots are not an object'; END IF;
  IF jsonb_typeof(p_result -> 'snapshots') = 'object' AND EXISTS (
      SELECT FROM jsonb_each_text(p_result -> 'snapshots') s WHERE coalesce(s.value, '') !~ c_digest) THEN
    RETURN 'a snapshot is no digest';
  END IF;
  BEGIN
    IF octet_length(decode(p_result ->> 'profile', 'base64')) > 8388608 THEN RETURN 'the profile has more than 8 MiB'; END IF;
  EXCEPTION WHEN data_exception THEN RETURN 'the profile is no base64';
  END;
  RETURN NULL;
END $$;

-- The trained candidate becomes an immutable version.
CREATE OR REPLACE FUNCTION orch.version_record(q orch.proposal, p_job_id bigint, p_result jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE v_version bigint;
BEGIN
  INSERT INTO orch.artifact (digest, recorded_at) VALUES (p_result ->> 'output', orch.clock())
    ON CONFLICT (digest) DO UPDATE SET removed_at = NULL WHERE orch.artifact.removed_at IS NOT NULL;
  INSERT INTO orch.version (pipeline_id, number, proposal_id, revision_id, artifact, metrics, profile, train_job_id, created_at)
    VALUES (q.pipeline_id, q.version_number, q.id, q.revision_id, p_result ->> 'output',
            coalesce(p_result -> 'metrics', '{}'), decode(p_result ->> 'profile', 'base64'), p_job_id, orch.clock())
    RETURNING id INTO v_version;
  UPDATE orch.proposal SET version_id = v_version WHERE id = q.id;
END $$;

-- Moves on when all that was asked for is there: training -> evaluating -> judged.
CREATE OR REPLACE FUNCTION orch.proposal_advance(p_id bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  q          orch.proposal;
  v_champion bigint;
BEGIN
  SELECT * INTO STRICT q FROM orch.proposal WHERE id = p_id;
  IF q.state = 'training' AND NOT EXISTS (SELECT FROM orch.proposal_step WHERE proposal_id = p_id
      AND role <> 'evaluate' AND state <> 'succeeded') THEN
    SELECT champion_id INTO v_champion FROM orch.pipeline WHERE id = q.pipeline_id;
    UPDATE orch.proposal SET champion_id = v_champion WHERE id = p_id;
    IF v_champion IS NOT NULL THEN
      INSERT INTO orch.proposal_step (proposal_id, step, subject, role, needs)
        SELECT proposal_id, step, 'champion', role, needs FROM orch.proposal_step
        WHERE proposal_id = p_id AND role = 'evaluate' AND subject = 'candidate';
    END IF;
    PERFORM orch.proposal_move(p_id, 'evaluating');
  END IF;
  PERFORM orch.proposal_enqueue_ready(p_id);
  SELECT * INTO STRICT q FROM orch.proposal WHERE id = p_id;
  IF q.state = 'evaluating' AND NOT EXISTS (SELECT FROM orch.proposal_step WHERE proposal_id = p_id AND state <> 'succeeded') THEN
    PERFORM orch.proposal_judge(p_id);
  END IF;
END $$;

-- A finite number out of a metrics document, or NULL (fail closed: what is no number cannot pass a check).
CREATE OR REPLACE FUNCTION orch.metric(p_metrics jsonb, VARIADIC p_path text[]) RETURNS double precision
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN jsonb_typeof(p_metrics #> p_path) = 'number' AND abs((p_metrics #>> p_path)::numeric) < 1e300
         -- Below what a double holds is zero, not an error.
         THEN CASE WHEN abs((p_metrics #>> p_path)::numeric) < 1e-300 THEN 0 ELSE (p_metrics #>> p_path)::double precision END END
$$;

-- One check against both evaluations -> {metric, slice?, value?, ok, candidate, champion, limit, what}.
CREATE OR REPLACE FUNCTION orch.check_one(p_check jsonb, p_path text[], p_cand jsonb, p_champ jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  v_a   double precision := orch.metric(p_cand, VARIADIC p_path);
  v_b   double precision := orch.metric(p_champ, VARIADIC p_path);
  v_min double precision := (p_check ->> 'min')::double precision;
  v_max double precision := (p_check ->> 'max')::double precision;
  v_vs  double precision := (p_check ->> 'vs_champion')::double precision;
  v_why text := '';
BEGIN
  IF v_a IS NULL THEN
    v_why := 'the candidate reports no such number';
  ELSE
    IF v_a < v_min THEN v_why := v_why || format('; %s is under the floor %s', round(v_a::numeric, 4), v_min); END IF;
    IF v_a > v_max THEN v_why := v_why || format('; %s is over the limit %s', round(v_a::numeric, 4), v_max); END IF;
    IF v_vs IS NOT NULL AND p_champ IS NOT NULL THEN
      IF v_b IS NULL THEN v_why := v_why || '; the champion reports no such number';
      -- A negative allowance bounds a loss (higher is better), a positive one a gain in error (lower is better).
      ELSIF v_vs <= 0 AND v_a < v_b + v_vs OR v_vs > 0 AND v_a > v_b + v_vs THEN
        v_why := v_why || format('; %s against the champion''s %s is beyond %s', round(v_a::numeric, 4), round(v_b::numeric, 4), v_vs);
      END IF;
    END IF;
    v_why := ltrim(v_why, '; ');
  END IF;
  RETURN p_check || jsonb_build_object('ok', v_why = '', 'candidate', v_a, 'champion', v_b, 'what', nullif(v_why, ''));
END $$;

-- All checks of a proposal; a check over a slice becomes one a value of the slice that both evaluations know.
CREATE OR REPLACE FUNCTION orch.checks_run(p_checks jsonb, p_cand jsonb, p_champ jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN (
      WITH c AS (SELECT x, o FROM jsonb_array_elements(p_checks) WITH ORDINALITY AS t(x, o)),
      flat AS (
        SELECT o, '' AS v, orch.check_one(x, ARRAY[x ->> 'metric'], p_cand, p_champ) AS r FROM c WHERE x ->> 'slice' IS NULL
        UNION ALL
        SELECT o, k.v, orch.check_one(x || jsonb_build_object('value', k.v), ARRAY['slices', x ->> 'slice', k.v, x ->> 'metric'], p_cand, p_champ)
        FROM c, LATERAL (SELECT v FROM jsonb_object_keys(CASE WHEN jsonb_typeof(p_cand #> ARRAY['slices', x ->> 'slice']) = 'object'
                           THEN p_cand #> ARRAY['slices', x ->> 'slice'] ELSE '{}' END) AS v
                         UNION SELECT v FROM jsonb_object_keys(CASE WHEN jsonb_typeof(p_champ #> ARRAY['slices', x ->> 'slice']) = 'object'
                           THEN p_champ #> ARRAY['slices', x ->> 'slice'] ELSE '{}' END) AS v) k
        WHERE x ->> 'slice' IS NOT NULL
        UNION ALL -- a slice that nobody reports is a missing metric
        SELECT o, '', x || jsonb_build_object('ok', false, 'candidate', NULL, 'champion', NULL, 'what', 'the candidate reports no such slice')
        FROM c WHERE x ->> 'slice' IS NOT NULL AND coalesce(p_cand #> ARRAY['slices', x ->> 'slice'], '{}') IN ('{}', 'null')
      )
      SELECT coalesce(jsonb_agg(r ORDER BY o, v), '[]') FROM flat
  );
END $$;

-- Compares, then opens the gate or blocks the proposal with the numbers.
CREATE OR REPLACE FUNCTION orch.proposal_judge(p_id bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  q        orch.proposal;
  p        orch.pipeline;
  v_checks jsonb;
  v_failed jsonb;
  v_bytes  int;
BEGIN
  SELECT * INTO STRICT q FROM orch.proposal WHERE id = p_id FOR UPDATE;
  SELECT * INTO STRICT p FROM orch.pipeline WHERE id = q.pipeline_id;
  IF q.champion_id IS DISTINCT FROM p.champion_id THEN
    PERFORM orch.proposal_end(p_id, 'superseded', 'the champion changed while the candidate was compared with the one before; propose again');
    RETURN;
  END IF;
  SELECT orch.checks_run(coalesce(r.spec -> 'checks', '[]'),
           (SELECT metrics FROM orch.evaluation WHERE proposal_id = p_id AND subject = 'candidate'),
           (SELECT metrics FROM orch.evaluation WHERE proposal_id = p_id AND subject = 'champion'))
    INTO STRICT v_checks FROM orch.revision r WHERE r.id = q.revision_id;
  UPDATE orch.proposal SET checks = v_checks WHERE id = p_id;
  SELECT jsonb_agg(c) INTO v_failed FROM jsonb_array_elements(v_checks) c WHERE NOT (c ->> 'ok')::boolean;
  IF v_failed IS NOT NULL THEN
    PERFORM orch.proposal_move(p_id, 'blocked', (
      SELECT string_agg(concat_ws(' ', c ->> 'metric', nullif(concat_ws('=', c ->> 'slice', c ->> 'value'), '')) || ': ' || (c ->> 'what'), '; ')
      FROM (SELECT c FROM jsonb_array_elements(v_failed) c LIMIT 10) few));
    PERFORM orch.emit('proposal.blocked', p.id, NULL, jsonb_build_object('pipeline', p.name, 'proposal', p_id,
      'version', q.version_number, 'failed', v_failed));
    RETURN;
  END IF;
  -- People must be able to read what they approve, and everybody is sent it.
  v_bytes := octet_length(orch.evidence_build(p_id, orch.current_spec(p.id) #> '{gates,promote}')::text);
  IF v_bytes > 4194304 THEN
    PERFORM orch.proposal_move(p_id, 'blocked', format('its evidence has %s bytes, more than 4 MiB: report fewer metrics or slices', v_bytes));
    PERFORM orch.emit('proposal.blocked', p.id, NULL, jsonb_build_object('pipeline', p.name, 'proposal', p_id,
      'version', q.version_number, 'failed', '[]'::jsonb, 'reason', 'its evidence is too large'));
    RETURN;
  END IF;
  PERFORM orch.gate_open(p_id);
END $$;
