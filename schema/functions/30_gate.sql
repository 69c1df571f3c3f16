-- Gates: frozen evidence, a policy, votes, one outcome.

-- The document that an approval is bound to. jsonb prints its keys in one fixed order, so its text is canonical.
CREATE OR REPLACE FUNCTION orch.evidence_build(p_id bigint, p_policy jsonb) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (
      SELECT jsonb_build_object(
        'format', 'orch.evidence/1',
        'pipeline', p.name, 'owner', p.owner, 'proposal', q.id, 'reason', q.reason, 'opened_by', q.opened_by,
        'as_of', orch.rfc3339(q.as_of), 'seed', q.seed,
        'candidate', jsonb_build_object('version', v.number, 'artifact', v.artifact, 'training', v.metrics,
          'metrics', (SELECT metrics FROM orch.evaluation WHERE proposal_id = q.id AND subject = 'candidate')),
        'champion', CASE WHEN c.id IS NOT NULL THEN jsonb_build_object('version', c.number, 'artifact', c.artifact,
          'metrics', (SELECT metrics FROM orch.evaluation WHERE proposal_id = q.id AND subject = 'champion')) END,
        'checks', q.checks,
        'revision', jsonb_build_object('digest', r.digest, 'bundle', r.bundle_digest, 'git_commit', r.git_commit, 'git_dirty', r.git_dirty),
        'config', r.spec -> 'config',
        'snapshots', (SELECT coalesce(jsonb_object_agg(name, digest), '{}') FROM orch.snapshot WHERE proposal_id = q.id),
        'signals', (SELECT coalesce(jsonb_agg(jsonb_build_object('signal', s.id, 'kind', s.kind, 'source', s.source, 'title', s.title,
                      'detail', CASE WHEN octet_length(s.detail::text) <= 32768 THEN s.detail
                        ELSE jsonb_build_object('omitted', format('%s bytes; signal %s has them', octet_length(s.detail::text), s.id)) END) ORDER BY s.id), '[]') FROM (SELECT * FROM orch.signal WHERE proposal_id = q.id ORDER BY id LIMIT 50) s),
        'diagnosis', orch.diagnosis(q.id),
        'policy', p_policy)
      FROM orch.proposal q JOIN orch.pipeline p ON p.id = q.pipeline_id JOIN orch.version v ON v.id = q.version_id
        JOIN orch.revision r ON r.id = q.revision_id LEFT JOIN orch.version c ON c.id = q.champion_id
      WHERE q.id = p_id
  );
END $$;

-- Opens the promote gate of a judged proposal; an older candidate's gate and proposal are superseded (I4).
CREATE OR REPLACE FUNCTION orch.gate_open(p_id bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  q     orch.proposal;
  v_old record;
BEGIN
  SELECT * INTO STRICT q FROM orch.proposal WHERE id = p_id;
  FOR v_old IN SELECT id FROM orch.proposal WHERE pipeline_id = q.pipeline_id AND state = 'awaiting_approval' AND id <> p_id LOOP
    PERFORM orch.proposal_end(v_old.id, 'superseded', format('superseded by the newer candidate of proposal %s', p_id));
  END LOOP;
  IF q.state <> 'awaiting_approval' THEN PERFORM orch.proposal_move(p_id, 'awaiting_approval'); END IF;
  RETURN orch.gate_insert(p_id);
END $$;

-- The policy is that of the pipeline's current revision: what people agreed on last.
CREATE OR REPLACE FUNCTION orch.gate_insert(p_id bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  q          orch.proposal;
  p          orch.pipeline;
  v_policy   jsonb;
  v_evidence jsonb;
  v_text     text;
  v_gate     orch.gate;
  v_now      timestamptz := orch.clock();
BEGIN
  SELECT * INTO STRICT q FROM orch.proposal WHERE id = p_id;
  SELECT * INTO STRICT p FROM orch.pipeline WHERE id = q.pipeline_id;
  v_policy := orch.current_spec(p.id) #> '{gates,promote}';
  v_evidence := orch.evidence_build(p_id, v_policy);
  v_text := v_evidence::text;
  IF octet_length(v_text) > 4194304 THEN
    PERFORM orch.fail('OR007', format('the evidence of proposal %s has more than 4 MiB', p_id), format('orch cancel %s, then propose again with fewer metrics', p_id));
  END IF;
  INSERT INTO orch.gate (pipeline_id, proposal_id, version_id, kind, state, policy, evidence, digest, nonce, opened_at, expires_at)
    VALUES (p.id, q.id, q.version_id, 'promote', 'open', v_policy, v_text,
            'sha256:' || encode(sha256(convert_to(v_text, 'UTF8')), 'hex'),
            -- 244 random bits from two version-4 UUIDs: core PostgreSQL has no other strong source
            replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''),
            v_now, v_now + orch.ms_interval((v_policy ->> 'expires_ms')::bigint))
    RETURNING * INTO v_gate;
  PERFORM orch.emit('gate.opened', p.id, v_gate.id, orch.gate_event(v_gate) || jsonb_build_object('evidence', v_evidence));
  RETURN v_gate.id;
END $$;

-- What every gate event says.
CREATE OR REPLACE FUNCTION orch.gate_event(g orch.gate) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (
      SELECT jsonb_build_object('gate', g.id, 'kind', g.kind, 'pipeline', p.name, 'proposal', g.proposal_id, 'version', v.number,
        'champion', (g.evidence::jsonb #> '{champion,version}'), 'digest', g.digest, 'state', g.state,
        'opened_at', orch.rfc3339(g.opened_at), 'expires_at', orch.rfc3339(g.expires_at),
        'require', g.policy -> 'require', 'approvals', orch.gate_approvals(g.id))
      FROM orch.pipeline p, orch.version v WHERE p.id = g.pipeline_id AND v.id = g.version_id
  );
END $$;

-- The state of each rule: [{group, approvals, given, by: [names]}] and what is still open.
CREATE OR REPLACE FUNCTION orch.gate_approvals(p_gate bigint) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE v_voters bigint[] := orch.gate_voters(p_gate);
BEGIN
  RETURN (
    SELECT coalesce(jsonb_agg(r || jsonb_build_object(
        'by', (SELECT coalesce(jsonb_agg(v.name ORDER BY v.name), '[]') FROM orch.reviewer v
               WHERE v.id = ANY (v_voters) AND r ->> 'group' = ANY (v.groups))) ORDER BY o), '[]')
    FROM orch.gate g, jsonb_array_elements(g.policy -> 'require') WITH ORDINALITY AS t(r, o) WHERE g.id = p_gate
  );
END $$;

-- I2: the distinct people whose approval counts now: active, not a proposer (unless the policy allows), digest unchanged.
CREATE OR REPLACE FUNCTION orch.gate_voters(p_gate bigint) RETURNS bigint[] LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (
      SELECT coalesce(array_agg(DISTINCT d.reviewer_id), '{}')
      FROM orch.decision d JOIN orch.gate g ON g.id = d.gate_id JOIN orch.reviewer v ON v.id = d.reviewer_id
      WHERE g.id = p_gate AND d.verdict = 'approve' AND d.digest = g.digest AND v.active
        AND (coalesce((g.policy ->> 'own_proposals')::boolean, false) OR NOT EXISTS (
          SELECT FROM orch.proposal_proposer o WHERE o.proposal_id = g.proposal_id AND o.reviewer_id = d.reviewer_id))
  );
END $$;

CREATE OR REPLACE FUNCTION orch.gate_satisfied(p_gate bigint) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (
      SELECT orch.rules_satisfied(g.policy -> 'require', orch.gate_voters(g.id)) FROM orch.gate g WHERE g.id = p_gate
  );
END $$;

-- Why a decision may not count, or NULL: {code, message}. One list of rules for all ways in, and for plain SQL too.
CREATE OR REPLACE FUNCTION orch.decision_objection(p_gate bigint, p_reviewer bigint, p_verdict text, p_digest text)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  g      orch.gate;
  r      orch.reviewer;
  h      orch.hold;
  v_code text;
  v_text text;
BEGIN
  SELECT * INTO g FROM orch.gate WHERE id = p_gate FOR UPDATE;
  SELECT * INTO r FROM orch.reviewer WHERE id = p_reviewer;
  SELECT * INTO h FROM orch.hold WHERE pipeline_id = g.pipeline_id AND released_at IS NULL;
  IF g.id IS NULL THEN
    v_code := 'no_gate'; v_text := format('there is no gate %s', p_gate);
  ELSIF g.state <> 'open' THEN
    v_code := 'closed'; v_text := format('gate %s was %s at %s by %s', g.id, g.state, orch.rfc3339(g.closed_at), g.closed_by);
  ELSIF orch.clock() >= g.expires_at THEN
    v_code := 'expired'; v_text := format('gate %s expired at %s; nothing was promoted', g.id, orch.rfc3339(g.expires_at));
  ELSIF r.id IS NULL OR NOT r.active THEN
    v_code := 'not_reviewer'; v_text := 'you are not a reviewer here';
  ELSIF NOT EXISTS (SELECT FROM jsonb_array_elements(g.policy -> 'require') x WHERE x ->> 'group' = ANY (r.groups)) THEN
    v_code := 'not_eligible'; v_text := format('%s is in none of the groups that gate %s asks: %s', r.name, g.id,
      (SELECT string_agg(x ->> 'group', ', ') FROM jsonb_array_elements(g.policy -> 'require') x));
  ELSIF p_digest IS DISTINCT FROM g.digest THEN
    v_code := 'stale'; v_text := format('the evidence of gate %s is %s, not what this decision was given for', g.id, left(g.digest, 19));
  ELSIF p_verdict = 'approve' AND NOT coalesce((g.policy ->> 'own_proposals')::boolean, false) AND EXISTS (
      SELECT FROM orch.proposal_proposer o WHERE o.proposal_id = g.proposal_id AND o.reviewer_id = r.id) THEN
    v_code := 'own_proposal'; v_text := format('%s proposed this retraining; somebody else must approve it', r.name);
  ELSIF p_verdict = 'approve' AND h.id IS NOT NULL THEN
    v_code := 'hold'; v_text := format('the pipeline is on hold by %s: %s', h.actor, h.reason);
  ELSE
    RETURN NULL;
  END IF;
  RETURN jsonb_build_object('code', v_code, 'message', v_text);
END $$;

-- Closes an open gate and tells everyone. Returns what gate events say of it.
CREATE OR REPLACE FUNCTION orch.gate_close(p_gate bigint, p_state text, p_reason text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  g       orch.gate;
  v_event jsonb;
BEGIN
  UPDATE orch.gate SET state = p_state, closed_at = orch.clock(), closed_by = orch.actor(), close_reason = left(p_reason, 4000)
    WHERE id = p_gate RETURNING * INTO STRICT g;
  v_event := orch.gate_event(g);
  PERFORM orch.emit('gate.closed', g.pipeline_id, g.id, v_event || orch.gate_outcome(g));
  RETURN v_event;
END $$;

CREATE OR REPLACE FUNCTION orch.gate_outcome(g orch.gate) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (
      SELECT jsonb_build_object('outcome', g.state, 'closed_at', orch.rfc3339(g.closed_at), 'closed_by', g.closed_by, 'reason', g.close_reason,
        'decisions', (SELECT coalesce(jsonb_agg(jsonb_build_object('reviewer', v.name, 'verdict', d.verdict, 'comment', d.comment,
            'via', d.via, 'at', orch.rfc3339(d.at)) ORDER BY d.id), '[]')
          FROM orch.decision d JOIN orch.reviewer v ON v.id = d.reviewer_id WHERE d.gate_id = g.id))
  );
END $$;

-- Rule 2: what the open gate of a pipeline was bound to has changed; its candidate gets a new gate. -> new gate or NULL
CREATE OR REPLACE FUNCTION orch.gate_renew(p_pipeline_id bigint, p_reason text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE g orch.gate;
BEGIN
  SELECT * INTO g FROM orch.gate WHERE pipeline_id = p_pipeline_id AND state = 'open' FOR UPDATE;
  IF NOT FOUND THEN RETURN NULL; END IF;
  PERFORM orch.gate_close(g.id, 'superseded', p_reason);
  RETURN orch.gate_insert(g.proposal_id);
END $$;

-- The reviewer whom a decision names, and whether the way it came in may speak for them.
-- -> {reviewer: id} or {code, message, who}
CREATE OR REPLACE FUNCTION orch.decision_identity(d jsonb) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_via    text := d ->> 'via';
  v_source jsonb;
  r        orch.reviewer;
  t        orch.token;
BEGIN
  -- The schema's owner is above all roles anyway; on a managed database it is no member of orch_server by itself.
  IF v_via IN ('slack', 'webhook', 'api') AND NOT pg_has_role(session_user, 'orch_server', 'MEMBER')
     AND NOT pg_has_role(session_user, (SELECT nspowner FROM pg_namespace WHERE nspname = 'orch'), 'MEMBER') THEN
    RETURN jsonb_build_object('code', 'not_server', 'who', session_user, 'message', 'only the server takes decisions that come by ' || v_via);
  END IF;
  IF v_via = 'slack' THEN
    SELECT * INTO r FROM orch.reviewer WHERE slack = d ->> 'slack' AND active;
    IF NOT FOUND THEN
      RETURN jsonb_build_object('code', 'stranger', 'who', 'slack:' || coalesce(d ->> 'slack', '?'),
        'message', 'your Slack account does not belong to a reviewer; ask for it to be added to orch.yaml');
    END IF;
  ELSIF v_via = 'cli' THEN
    IF d ->> 'token_hash' IS NOT NULL THEN
      SELECT * INTO t FROM orch.token WHERE hash = d ->> 'token_hash' AND revoked_at IS NULL
        AND ('decide' = ANY (scopes) OR 'admin' = ANY (scopes));
      SELECT * INTO r FROM orch.reviewer WHERE id = t.reviewer_id AND active;
    ELSE
      SELECT * INTO r FROM orch.reviewer WHERE name = session_user AND active;
    END IF;
    IF r.id IS NULL THEN
      RETURN jsonb_build_object('code', 'unproven', 'who', coalesce('token:' || t.name, 'login:' || session_user),
        'message', 'who you are is not proven: set ORCH_TOKEN to a token made with orch token create NAME --scope decide --reviewer YOU');
    END IF;
  ELSE
    SELECT * INTO r FROM orch.reviewer WHERE name = d ->> 'reviewer' AND active;
    IF NOT FOUND THEN
      RETURN jsonb_build_object('code', 'stranger', 'who', v_via || ':' || coalesce(left(d ->> 'reviewer', 100), '?'),
        'message', format('%L is not an active reviewer', left(d ->> 'reviewer', 100)));
    END IF;
    IF v_via = 'webhook' THEN
      SELECT c INTO v_source FROM jsonb_array_elements(orch.callback_sources()) c WHERE c ->> 'name' = d ->> 'source';
      IF v_source IS NULL OR NOT r.groups && ARRAY(SELECT jsonb_array_elements_text(v_source -> 'may_speak_for')) THEN
        RETURN jsonb_build_object('code', 'may_not_speak', 'who', 'callback:' || coalesce(d ->> 'source', '?'),
          'message', format('%s may not speak for %s', coalesce(d ->> 'source', '?'), r.name));
      END IF;
    END IF;
  END IF;
  RETURN jsonb_build_object('reviewer', r.id, 'name', r.name);
END $$;

-- THE decision function: chat, callback, API and shell all end here.
-- p_decision = {verdict, comment, digest, nonce?, reviewer | slack | token_hash, via, source?, replay?: {scope, key}}
-- -> {outcome: accepted|refused|duplicate, code, message, reviewer, gate: {…}}. A refusal is an answer and is recorded.
-- With `replay`, the same key again gets the first answer and has no second effect.
CREATE OR REPLACE FUNCTION orch.gate_decide(p_gate bigint, p_decision jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  v_scope   text := p_decision #>> '{replay,scope}';
  v_key     text := p_decision #>> '{replay,key}';
  v_answer  jsonb;
BEGIN
  IF coalesce(p_decision ->> 'verdict', '') NOT IN ('approve', 'reject') THEN
    PERFORM orch.fail('OR003', 'verdict must be approve or reject');
  END IF;
  IF coalesce(p_decision ->> 'via', '') NOT IN ('slack', 'webhook', 'api', 'cli') THEN
    PERFORM orch.fail('OR003', 'via must be slack, webhook, api or cli');
  END IF;
  PERFORM orch.check_length(p_decision ->> 'comment', 'the comment', 4000);
  PERFORM orch.check_length(p_decision ->> 'source', 'the source', 200);
  IF v_key IS NOT NULL AND (v_scope IS NULL OR length(v_key) NOT BETWEEN 1 AND 512) THEN
    PERFORM orch.fail('OR003', 'a replay key has a scope and 1 to 512 characters');
  END IF;
  IF v_key IS NOT NULL THEN
    INSERT INTO orch.replay (scope, key, expires_at) VALUES (v_scope, v_key, orch.clock() + interval '24 hours')
      ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
      SELECT answer INTO v_answer FROM orch.replay WHERE scope = v_scope AND key = v_key;
      RETURN coalesce(v_answer, '{"outcome": "refused", "code": "replay", "message": "this request was seen before"}')
             || '{"repeated": true}';
    END IF;
  END IF;
  v_answer := orch.gate_decide_once(p_gate, p_decision);
  IF v_key IS NOT NULL THEN UPDATE orch.replay SET answer = v_answer WHERE scope = v_scope AND key = v_key; END IF;
  RETURN v_answer;
END $$;

CREATE OR REPLACE FUNCTION orch.gate_decide_once(p_gate bigint, d jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  v_who     jsonb := orch.decision_identity(d);
  v_verdict text := d ->> 'verdict';
  v_comment text := trim(coalesce(d ->> 'comment', ''));
  v_pipe    bigint;
  g         orch.gate;
  v_why     jsonb;
  v_outcome text := 'accepted';
  v_event   jsonb;
BEGIN
  PERFORM orch.act(CASE WHEN v_who ? 'name' THEN 'reviewer:' || (v_who ->> 'name') ELSE v_who ->> 'who' END);
  SELECT pipeline_id INTO v_pipe FROM orch.gate WHERE id = p_gate;
  IF NOT FOUND THEN
    PERFORM orch.fail('OR001', format('there is no gate %s', p_gate), 'orch status shows what waits for whom');
  END IF;
  PERFORM orch.pipeline_lock_id(v_pipe);
  SELECT * INTO STRICT g FROM orch.gate WHERE id = p_gate FOR UPDATE;
  v_why := CASE
    WHEN v_who ? 'code' THEN v_who
    WHEN d ->> 'nonce' IS NOT NULL AND d ->> 'nonce' <> g.nonce
      THEN '{"code": "nonce", "message": "this button belongs to another gate"}'
    WHEN v_verdict = 'reject' AND v_comment = '' AND g.state = 'open'
      THEN '{"code": "comment", "message": "a rejection needs a comment that says why"}'
    WHEN EXISTS (SELECT FROM orch.decision x WHERE x.gate_id = g.id AND x.reviewer_id = (v_who ->> 'reviewer')::bigint
                 AND x.verdict = v_verdict AND x.digest = d ->> 'digest')
      THEN jsonb_build_object('code', 'already', 'message', format('%s has decided so already', v_who ->> 'name'))
    ELSE orch.decision_objection(g.id, (v_who ->> 'reviewer')::bigint, v_verdict, d ->> 'digest') END;
  IF v_why ->> 'code' = 'already' THEN
    v_outcome := 'duplicate';
  ELSIF v_why IS NOT NULL THEN
    v_outcome := 'refused';
    INSERT INTO orch.refusal (gate_id, who, verdict, comment, code, message, via, at)
      VALUES (g.id, coalesce('reviewer:' || (v_who ->> 'name'), v_who ->> 'who'), v_verdict, v_comment, v_why ->> 'code',
              v_why ->> 'message', d ->> 'via', orch.clock());
  ELSE
    INSERT INTO orch.decision (gate_id, reviewer_id, verdict, comment, digest, via, source, at)
      VALUES (g.id, (v_who ->> 'reviewer')::bigint, v_verdict, v_comment, d ->> 'digest', d ->> 'via', d ->> 'source', orch.clock());
    IF v_verdict = 'reject' THEN
      v_event := orch.gate_close(g.id, 'rejected', v_comment);
      PERFORM orch.proposal_move(g.proposal_id, 'rejected', format('rejected by %s: %s', v_who ->> 'name', v_comment));
    ELSIF orch.gate_satisfied(g.id) THEN
      v_event := orch.gate_close(g.id, 'approved', NULL);
      PERFORM orch.deployment_open(g.id);
    ELSE
      v_event := orch.gate_event(g);
      PERFORM orch.emit('gate.decided', g.pipeline_id, g.id, v_event || orch.gate_outcome(g));
    END IF;
  END IF;
  v_event := coalesce(v_event, orch.gate_event(g));
  RETURN jsonb_build_object('outcome', v_outcome, 'code', coalesce(v_why ->> 'code', 'ok'),
    'message', coalesce(v_why ->> 'message', CASE v_event ->> 'state'
      WHEN 'open' THEN format('recorded: %s %ss; gate %s still waits', v_who ->> 'name', v_verdict, g.id)
      ELSE format('recorded: %s %ss; gate %s is %s', v_who ->> 'name', v_verdict, g.id, v_event ->> 'state') END),
    'reviewer', v_who ->> 'name', 'gate', v_event);
END $$;

-- Duty: gates whose time is over close as "not promoted". -> {"expired"}
CREATE OR REPLACE FUNCTION orch.gates_expire(p_limit int) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  r       record;
  v_count int := 0;
BEGIN
  PERFORM orch.act('system:serve');
  FOR r IN SELECT id, pipeline_id, proposal_id FROM orch.gate WHERE state = 'open' AND expires_at <= orch.clock()
           ORDER BY expires_at LIMIT greatest(p_limit, 0) LOOP
    PERFORM FROM orch.pipeline WHERE id = r.pipeline_id FOR NO KEY UPDATE SKIP LOCKED;
    CONTINUE WHEN NOT FOUND;
    PERFORM FROM orch.gate WHERE id = r.id AND state = 'open' FOR UPDATE;
    CONTINUE WHEN NOT FOUND; -- somebody decided meanwhile: they won
    PERFORM orch.gate_close(r.id, 'expired', 'nobody decided in time; nothing was promoted');
    PERFORM orch.proposal_move(r.proposal_id, 'expired', 'its gate expired without a decision');
    v_count := v_count + 1;
  END LOOP;
  RETURN jsonb_build_object('expired', v_count);
END $$;
