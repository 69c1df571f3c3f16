-- Pipelines, reviewers, the server's file and tokens: what `orch apply` and `orch token` call.

-- Stores an immutable revision and makes it the current one. The same digest twice changes nothing.
-- -> {"pipeline", "revision", "digest", "changed", "regated": gate id or null}
CREATE OR REPLACE FUNCTION orch.pipeline_apply(p_spec jsonb, p_yaml text, p_digest text, p_bundle_digest text,
  p_git_commit text, p_git_dirty boolean, p_actor text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  v_name   text := p_spec ->> 'pipeline';
  v_now    timestamptz := orch.clock();
  p        orch.pipeline;
  v_old    jsonb;
  v_rev    bigint;
  v_policy jsonb := p_spec #> '{gates,promote}';
  v_gate   bigint;
BEGIN
  PERFORM orch.act(p_actor);
  IF coalesce(v_name, '') !~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$' THEN
    PERFORM orch.fail('OR003', format('pipeline name %L is not one', left(v_name, 80)),
      'use 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit');
  END IF;
  IF octet_length(p_yaml) > 1048576 OR octet_length(p_spec::text) > 4194304 THEN
    PERFORM orch.fail('OR007', format('pipeline %s: the file has more than 1 MiB', v_name));
  END IF;
  IF coalesce(p_digest, '') !~ '^sha256:[0-9a-f]{64}$' OR coalesce(p_bundle_digest, '') !~ '^sha256:[0-9a-f]{64}$'
     OR p_yaml IS NULL OR length(p_git_commit) > 64 THEN
    PERFORM orch.fail('OR003', format('pipeline %s: a revision needs its YAML, its digest and that of its bundle', v_name));
  END IF;
  IF coalesce(p_spec ->> 'owner', '') = '' OR coalesce(p_spec ->> 'oncall', '') = '' THEN
    PERFORM orch.fail('OR003', format('pipeline %s: owner and oncall are required', v_name), 'no model without an owner');
  END IF;
  PERFORM orch.policy_check(v_policy);
  INSERT INTO orch.pipeline (name, owner, oncall, created_at)
    VALUES (v_name, p_spec ->> 'owner', p_spec ->> 'oncall', v_now) ON CONFLICT (name) DO NOTHING;
  p := orch.pipeline_lock(v_name);
  v_old := orch.current_spec(p.id);
  SELECT id INTO v_rev FROM orch.revision WHERE pipeline_id = p.id AND digest = p_digest;
  IF v_rev IS NOT NULL AND v_rev = p.revision_id THEN
    RETURN jsonb_build_object('pipeline', v_name, 'revision', v_rev, 'digest', p_digest, 'changed', false, 'regated', NULL);
  END IF;
  IF v_rev IS NULL THEN
    INSERT INTO orch.revision (pipeline_id, digest, spec, yaml, bundle_digest, git_commit, git_dirty, applied_by, applied_at)
      VALUES (p.id, p_digest, p_spec, p_yaml, p_bundle_digest, p_git_commit, p_git_dirty, p_actor, v_now)
      RETURNING id INTO v_rev;
  END IF;
  UPDATE orch.pipeline SET revision_id = v_rev, owner = p_spec ->> 'owner', oncall = p_spec ->> 'oncall' WHERE id = p.id;
  INSERT INTO orch.observation_stream (pipeline_id, stream) VALUES (p.id, 'rows'), (p.id, 'labels') ON CONFLICT DO NOTHING;
  PERFORM orch.monitors_sync(p.id, coalesce(p_spec -> 'monitors', '[]'));
  -- Rule 2: a changed policy voids the votes given under the old one. The candidate gets a new gate.
  IF v_old IS NOT NULL AND v_old #> '{gates,promote}' IS DISTINCT FROM v_policy THEN
    v_gate := orch.gate_renew(p.id, 'the gate''s policy changed');
  END IF;
  RETURN jsonb_build_object('pipeline', v_name, 'revision', v_rev, 'digest', p_digest, 'changed', true, 'regated', v_gate);
END $$;

-- Makes the monitor rows follow the spec. A changed rule starts a new window and knows nothing of earlier ones; a removed
-- one stops, and what it had fired is over, as is what it fired as another kind: nobody is left to say so later, and a
-- fault that fires for ever would hold back drift for ever. The pipeline is locked.
CREATE OR REPLACE FUNCTION orch.monitors_sync(p_pipeline_id bigint, p_monitors jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  p      orch.pipeline;
  s      orch.signal;
  v_spec jsonb;
  v_now  timestamptz := orch.clock();
BEGIN
  SELECT * INTO STRICT p FROM orch.pipeline WHERE id = p_pipeline_id;
  PERFORM FROM orch.observation_stream WHERE pipeline_id = p_pipeline_id ORDER BY stream DESC FOR NO KEY UPDATE;
  FOR s IN SELECT x.* FROM orch.signal x JOIN orch.monitor m ON m.pipeline_id = x.pipeline_id AND x.source = 'monitor:' || m.name
           WHERE x.pipeline_id = p_pipeline_id AND x.status = 'firing' AND m.active
             AND NOT EXISTS (SELECT FROM jsonb_array_elements(p_monitors) e WHERE e ->> 'name' = m.name
                             AND coalesce(e ->> 'kind', 'drift') = m.kind) ORDER BY x.id LOOP
    PERFORM orch.signal_resolve(p, s, 'the monitor was removed');
  END LOOP;
  UPDATE orch.monitor SET active = false, due_at = NULL WHERE pipeline_id = p_pipeline_id AND active
    AND name NOT IN (SELECT m ->> 'name' FROM jsonb_array_elements(p_monitors) m);
  FOR v_spec IN SELECT jsonb_array_elements(p_monitors) LOOP
    CONTINUE WHEN EXISTS (SELECT FROM orch.monitor WHERE pipeline_id = p_pipeline_id AND name = v_spec ->> 'name' AND active AND spec = v_spec);
    -- Windows and the clock end under the new rule what the old one said; of canaries and of other systems only the memory knows.
    PERFORM orch.signals_end(p_pipeline_id, 'monitor:' || (v_spec ->> 'name'), CASE WHEN v_spec ->> 'kind' IN ('prometheus', 'sql') THEN NULL
      ELSE 'canary' END, 'the monitor looks with another rule');
    INSERT INTO orch.monitor AS m (pipeline_id, name, spec, kind, stream, version_id, next_row, start_row, window_rows, window_ms, lateness_ms,
        every_ms, warm_row, warm_at)
      SELECT p_pipeline_id, v_spec ->> 'name', v_spec, coalesce(v_spec ->> 'kind', 'drift'), o.stream, p.champion_id, o.next_row, o.next_row,
        coalesce(v_spec #>> '{window,rows}', v_spec ->> 'window_rows')::bigint, (v_spec #>> '{window,ms}')::bigint,
        coalesce((v_spec #>> '{window,lateness_ms}')::bigint, 0), (v_spec ->> 'every_ms')::bigint,
        -- A rule that is new while a model is live needs no time to settle: the model has had it.
        NULL, NULL
      FROM orch.observation_stream o WHERE o.pipeline_id = p_pipeline_id
        AND o.stream = CASE v_spec ->> 'kind' WHEN 'performance' THEN 'labels' ELSE 'rows' END
    ON CONFLICT (pipeline_id, name) DO UPDATE SET spec = excluded.spec, kind = excluded.kind, stream = excluded.stream, active = true,
      version_id = excluded.version_id, next_row = excluded.next_row, start_row = excluded.start_row, window_rows = excluded.window_rows,
      window_ms = excluded.window_ms, lateness_ms = excluded.lateness_ms, every_ms = excluded.every_ms, window_from = NULL,
      state = '{}', latest = NULL, lease = NULL, lease_owner = NULL, lease_until = NULL, due_at = NULL,
      warm_row = CASE WHEN m.stream = excluded.stream THEN m.warm_row END;
    -- Those that look at the clock or ask another system say themselves when they look next.
    UPDATE orch.monitor m SET due_at = CASE m.runner WHEN 'clock' THEN orch.clock_due(m) ELSE v_now END
      WHERE m.pipeline_id = p_pipeline_id AND m.name = v_spec ->> 'name' AND m.runner <> 'window';
  END LOOP;
END $$;

-- Refuses a policy that nobody can read or nobody can satisfy (fail closed: an empty list is not "everybody").
CREATE OR REPLACE FUNCTION orch.policy_check(p_policy jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE v_all bigint[];
BEGIN
  IF jsonb_typeof(p_policy -> 'require') IS DISTINCT FROM 'array' OR jsonb_array_length(p_policy -> 'require') = 0 THEN
    PERFORM orch.fail('OR003', 'gates.promote.require is empty: nobody could approve',
      'name at least one rule, like {group: ml-owners, approvals: 1}');
  END IF;
  IF jsonb_array_length(p_policy -> 'require') > 8 THEN
    PERFORM orch.fail('OR007', 'gates.promote.require has more than 8 rules');
  END IF;
  IF EXISTS (SELECT FROM jsonb_array_elements(p_policy -> 'require') r
             WHERE coalesce(r ->> 'group', '') = '' OR coalesce(r ->> 'approvals', '') !~ '^([1-9][0-9]?|100)$') THEN
    PERFORM orch.fail('OR003', 'gates.promote.require: each rule needs a group and 1 to 100 approvals');
  END IF;
  IF jsonb_typeof(p_policy -> 'expires_ms') IS DISTINCT FROM 'number'
     OR (p_policy ->> 'expires_ms')::numeric NOT BETWEEN 1 AND 31622400000 THEN
    PERFORM orch.fail('OR003', 'gates.promote.expires must be between 1 ms and 366 days');
  END IF;
  SELECT coalesce(array_agg(id), '{}') INTO v_all FROM orch.reviewer WHERE active;
  IF NOT orch.rules_satisfied(p_policy -> 'require', v_all) THEN
    PERFORM orch.fail('OR003', 'gates.promote.require: the known reviewers cannot satisfy it, even if all approve',
      'add reviewers with these groups to orch.yaml and run: orch apply orch.yaml');
  END IF;
END $$;

-- True when distinct people among p_voters can fill all rules, each vote serving one rule. By Hall's theorem that holds
-- exactly when every set of rules is answered by at least as many people as it asks for; with at most 8 rules those are
-- 255 sets. Greedy assignment would deadlock (a vote spent on the wrong rule); this cannot.
CREATE OR REPLACE FUNCTION orch.rules_satisfied(p_require jsonb, p_voters bigint[]) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_rules  CONSTANT int := jsonb_array_length(p_require);
  v_served int[];  -- per voter: the rules that this person could serve, as bits
  v_need   int;
  v_have   int;
BEGIN
  IF v_rules NOT BETWEEN 1 AND 8 THEN RETURN false; END IF;
  v_served := ARRAY(
    SELECT (SELECT bit_or(1 << (o - 1)::int) FROM jsonb_array_elements(p_require) WITH ORDINALITY AS t(r, o)
            WHERE r ->> 'group' = ANY (v.groups))
    FROM orch.reviewer v WHERE v.id = ANY (p_voters) AND v.active);
  FOR s IN 1 .. (1 << v_rules) - 1 LOOP
    v_need := 0;
    FOR i IN 0 .. v_rules - 1 LOOP
      IF (s >> i) & 1 = 1 THEN v_need := v_need + (p_require #>> ARRAY[i::text, 'approvals'])::int; END IF;
    END LOOP;
    v_have := 0;
    FOR i IN 1 .. cardinality(v_served) LOOP
      IF v_served[i] & s <> 0 THEN v_have := v_have + 1; END IF;
    END LOOP;
    IF v_need > v_have THEN RETURN false; END IF;
  END LOOP;
  RETURN true;
END $$;

-- Applies orch.yaml: reviewers not named any more become inactive; chat, webhooks and callbacks are replaced.
-- Open gates that the new list of reviewers can no longer satisfy are named in `stuck`.
CREATE OR REPLACE FUNCTION orch.server_apply(p_config jsonb, p_actor text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  v_now     timestamptz := orch.clock();
  v_changed boolean;
  v_all     bigint[];
  v_stuck   jsonb;
BEGIN
  PERFORM orch.act(p_actor);
  LOCK TABLE orch.server_config IN SHARE ROW EXCLUSIVE MODE;
  v_changed := orch.server_config_current() IS DISTINCT FROM p_config;
  IF v_changed THEN
    -- Two people may swap ids; free them first.
    UPDATE orch.reviewer r SET slack = NULL WHERE slack IS NOT NULL AND NOT EXISTS (
      SELECT FROM jsonb_array_elements(p_config -> 'reviewers') c WHERE c ->> 'name' = r.name AND c ->> 'slack' = r.slack);
    INSERT INTO orch.reviewer (name, email, slack, groups, active, updated_at)
      SELECT c ->> 'name', c ->> 'email', c ->> 'slack',
             ARRAY(SELECT jsonb_array_elements_text(coalesce(c -> 'groups', '[]'))), true, v_now
      FROM jsonb_array_elements(coalesce(p_config -> 'reviewers', '[]')) c
    ON CONFLICT (name) DO UPDATE SET email = excluded.email, slack = excluded.slack, groups = excluded.groups,
      active = true, updated_at = v_now
      WHERE (orch.reviewer.email, orch.reviewer.slack, orch.reviewer.groups, orch.reviewer.active)
        IS DISTINCT FROM (excluded.email, excluded.slack, excluded.groups, true);
    UPDATE orch.reviewer SET active = false, updated_at = v_now WHERE active
      AND name NOT IN (SELECT c ->> 'name' FROM jsonb_array_elements(coalesce(p_config -> 'reviewers', '[]')) c);
    INSERT INTO orch.server_config (config, applied_by, applied_at) VALUES (p_config, p_actor, v_now);
    PERFORM pg_notify('orch_serve', '');
  END IF;
  SELECT coalesce(array_agg(id), '{}') INTO v_all FROM orch.reviewer WHERE active;
  SELECT coalesce(jsonb_agg(g.id), '[]') INTO v_stuck FROM orch.gate g
    WHERE g.state = 'open' AND NOT orch.rules_satisfied(g.policy -> 'require', v_all);
  RETURN jsonb_build_object('changed', v_changed, 'reviewers', cardinality(v_all), 'stuck', v_stuck);
END $$;

CREATE OR REPLACE FUNCTION orch.callback_sources() RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
BEGIN
  RETURN (
      SELECT coalesce(orch.server_config_current() -> 'callbacks', '[]')
  );
END $$;

-- ---------------------------------------------------------------- tokens

CREATE OR REPLACE FUNCTION orch.token_create(p_name text, p_hash text, p_scopes text[], p_reviewer text, p_actor text)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE v_reviewer bigint;
BEGIN
  PERFORM orch.act(p_actor);
  IF p_reviewer IS NOT NULL THEN
    SELECT id INTO v_reviewer FROM orch.reviewer WHERE name = p_reviewer AND active;
    IF NOT FOUND THEN
      PERFORM orch.fail('OR001', format('no active reviewer is named %L', p_reviewer), 'orch reviewers lists them');
    END IF;
  END IF;
  IF p_scopes IS NULL OR p_name IS NULL OR p_hash IS NULL THEN
    PERFORM orch.fail('OR003', 'a token needs a name, its hash and scopes');
  END IF;
  IF 'decide' = ANY (p_scopes) AND v_reviewer IS NULL THEN
    PERFORM orch.fail('OR003', 'a token with scope decide needs a reviewer: a decision always belongs to a person',
      'add --reviewer NAME');
  END IF;
  BEGIN
    INSERT INTO orch.token (name, hash, scopes, reviewer_id, created_by, created_at)
      VALUES (p_name, p_hash, p_scopes, v_reviewer, p_actor, orch.clock());
  EXCEPTION
    WHEN unique_violation THEN
      PERFORM orch.fail('OR005', format('a token named %L exists already', p_name), 'orch token revoke NAME, or choose another name');
    WHEN check_violation THEN
      PERFORM orch.fail('OR003', 'a token needs a plain name and scopes out of signal, observe, read, propose, decide, operate, admin, work');
  END;
  RETURN jsonb_build_object('token', p_name, 'scopes', to_jsonb(p_scopes), 'reviewer', p_reviewer);
END $$;

-- Who a bearer token is, if it carries the scope (admin carries all). p_hash is the digest of the token's text.
CREATE OR REPLACE FUNCTION orch.token_check(p_hash text, p_scope text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  t      orch.token;
  v_name text;
BEGIN
  SELECT * INTO t FROM orch.token WHERE hash = p_hash AND revoked_at IS NULL;
  IF NOT FOUND THEN
    PERFORM orch.fail('OR008', 'the token is unknown or revoked', 'orch token create makes a new one');
  END IF;
  IF NOT (p_scope = ANY (t.scopes) OR 'admin' = ANY (t.scopes)) THEN
    PERFORM orch.fail('OR006', format('token %s lacks the scope %s', t.name, p_scope),
      format('orch token create NAME --scope %s', p_scope));
  END IF;
  IF t.reviewer_id IS NOT NULL THEN
    SELECT name INTO v_name FROM orch.reviewer WHERE id = t.reviewer_id AND active;
    IF NOT FOUND THEN PERFORM orch.fail('OR008', format('token %s belongs to a reviewer who is not active any more', t.name)); END IF;
  END IF;
  RETURN jsonb_build_object('token', t.name, 'reviewer', v_name, 'scopes', to_jsonb(t.scopes),
    'actor', CASE WHEN v_name IS NULL THEN 'token:' || t.name ELSE 'reviewer:' || v_name END);
END $$;

CREATE OR REPLACE FUNCTION orch.token_revoke(p_name text, p_actor text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
BEGIN
  PERFORM orch.act(p_actor);
  UPDATE orch.token SET revoked_at = orch.clock() WHERE name = p_name AND revoked_at IS NULL;
  IF NOT FOUND THEN PERFORM orch.fail('OR001', format('no live token is named %L', p_name), 'orch token list shows them'); END IF;
  RETURN jsonb_build_object('token', p_name, 'revoked', true);
END $$;

-- ---------------------------------------------------------------- replays

-- True when (scope, key) was seen within its time to live; otherwise remembers it and returns false.
CREATE OR REPLACE FUNCTION orch.replay_seen(p_scope text, p_key text, p_ttl_ms bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
BEGIN
  IF coalesce(length(p_key), 0) NOT BETWEEN 1 AND 512 THEN
    PERFORM orch.fail('OR003', 'a message id or idempotency key has 1 to 512 characters');
  END IF;
  INSERT INTO orch.replay (scope, key, expires_at) VALUES (p_scope, p_key, orch.clock() + orch.ms_interval(p_ttl_ms))
    ON CONFLICT (scope, key) DO UPDATE SET expires_at = excluded.expires_at, answer = NULL
      WHERE orch.replay.expires_at <= orch.clock();
  RETURN NOT FOUND;
END $$;
