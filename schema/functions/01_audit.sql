-- Invariant I6: every change of a governance table writes an audit row in the same transaction, whoever makes it, and
-- the rows of a pipeline form a hash chain that orch.audit_verify checks.

-- hash = SHA-256 over the previous hash and the row's fields joined by the unit separator. Times are microseconds, so
-- that no session setting can change what is hashed.
CREATE OR REPLACE FUNCTION orch.audit_hash(p_prev bytea, p_scope bigint, p_seq bigint, p_at timestamptz, p_actor text,
  p_action text, p_object text, p_object_id text, p_detail jsonb) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN sha256(p_prev || convert_to(concat_ws(chr(31), p_scope, p_seq, (extract(epoch FROM p_at) * 1000000)::bigint,
                p_actor, p_action, p_object, p_object_id, p_detail::text), 'UTF8'));
END $$;

CREATE OR REPLACE FUNCTION orch.audit_add(p_scope bigint, p_action text, p_object text, p_object_id text, p_detail jsonb)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  h     orch.audit_head;
  v_at  timestamptz := orch.clock();
  v_who text := orch.actor();
BEGIN
  -- An actor is what the caller says. A login that is neither the server's nor the owner's is named beside it.
  IF NOT (pg_has_role(session_user, 'orch_server', 'MEMBER')
          OR pg_has_role(session_user, (SELECT relowner FROM pg_class WHERE oid = 'orch.audit'::regclass), 'MEMBER')) THEN
    v_who := v_who || ' via login ' || session_user;
  END IF;
  LOOP
    -- One statement takes the head, and with it the order of the chain.
    UPDATE orch.audit_head SET seq = seq + 1, prev_hash = hash,
        hash = orch.audit_hash(hash, p_scope, seq + 1, v_at, v_who, p_action, p_object, p_object_id, p_detail)
      WHERE scope = p_scope RETURNING * INTO h;
    EXIT WHEN FOUND;
    INSERT INTO orch.audit_head (scope) VALUES (p_scope) ON CONFLICT DO NOTHING;
  END LOOP;
  INSERT INTO orch.audit (scope, seq, at, actor, action, object, object_id, detail, prev_hash, hash)
    VALUES (p_scope, h.seq, v_at, v_who, p_action, p_object, p_object_id, p_detail, h.prev_hash, h.hash);
END $$;

-- Generic row trigger. Argument 1: the column with the pipeline's id ('' = scope 0). Argument 2: columns left out,
-- comma separated (large ones that a digest stands for, leases, secrets' hashes).
CREATE OR REPLACE FUNCTION orch.audit_row() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  v_skip  text[] := string_to_array(TG_ARGV[1], ',');
  v_old   jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) - v_skip END;
  v_new   jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) - v_skip END;
  v_row   jsonb := coalesce(v_new, v_old);
  v_delta jsonb := v_row;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    SELECT jsonb_object_agg(n.key, n.value) INTO v_delta FROM jsonb_each(v_new) n
      WHERE v_old -> n.key IS DISTINCT FROM n.value;
    IF v_delta IS NULL THEN RETURN NULL; END IF;
  END IF;
  PERFORM orch.audit_add(CASE TG_ARGV[0] WHEN '' THEN 0 ELSE coalesce((v_row ->> TG_ARGV[0])::bigint, 0) END,
    lower(TG_OP), TG_TABLE_NAME, coalesce(v_row ->> 'id', v_row ->> 'digest', v_row ->> 'incident_id', v_row ->> 'proposal_id', '-'), v_delta);
  RETURN NULL;
END $$;

-- decision, refusal and proposal_proposer name their pipeline only through another row.
CREATE OR REPLACE FUNCTION orch.audit_child() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  v_row   jsonb := to_jsonb(CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END);
  v_scope bigint;
BEGIN
  SELECT pipeline_id INTO v_scope FROM orch.gate WHERE id = (v_row ->> 'gate_id')::bigint;
  IF v_scope IS NULL THEN
    SELECT pipeline_id INTO v_scope FROM orch.proposal WHERE id = (v_row ->> 'proposal_id')::bigint;
  END IF;
  PERFORM orch.audit_add(coalesce(v_scope, 0), lower(TG_OP), TG_TABLE_NAME,
    coalesce(v_row ->> 'id', v_row ->> 'proposal_id'), v_row);
  RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON orch.pipeline
  FOR EACH ROW EXECUTE FUNCTION orch.audit_row('id', 'next_version');
CREATE OR REPLACE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON orch.revision
  FOR EACH ROW EXECUTE FUNCTION orch.audit_row('pipeline_id', 'yaml');
CREATE OR REPLACE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON orch.reviewer
  FOR EACH ROW EXECUTE FUNCTION orch.audit_row('', '');
CREATE OR REPLACE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON orch.server_config
  FOR EACH ROW EXECUTE FUNCTION orch.audit_row('', '');
CREATE OR REPLACE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON orch.token
  FOR EACH ROW EXECUTE FUNCTION orch.audit_row('', 'hash');
CREATE OR REPLACE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON orch.proposal
  FOR EACH ROW EXECUTE FUNCTION orch.audit_row('pipeline_id', '');
CREATE OR REPLACE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON orch.proposal_proposer
  FOR EACH ROW EXECUTE FUNCTION orch.audit_child();
CREATE OR REPLACE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON orch.version
  FOR EACH ROW EXECUTE FUNCTION orch.audit_row('pipeline_id', 'profile');
CREATE OR REPLACE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON orch.gate
  FOR EACH ROW EXECUTE FUNCTION orch.audit_row('pipeline_id', 'evidence,nonce');
CREATE OR REPLACE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON orch.decision
  FOR EACH ROW EXECUTE FUNCTION orch.audit_child();
CREATE OR REPLACE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON orch.refusal
  FOR EACH ROW EXECUTE FUNCTION orch.audit_child();
CREATE OR REPLACE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON orch.deployment
  FOR EACH ROW EXECUTE FUNCTION orch.audit_row('pipeline_id', 'lease,lease_owner,lease_until,due_at');
CREATE OR REPLACE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON orch.live_period
  FOR EACH ROW EXECUTE FUNCTION orch.audit_row('pipeline_id', '');
CREATE OR REPLACE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON orch.hold
  FOR EACH ROW EXECUTE FUNCTION orch.audit_row('pipeline_id', '');
CREATE OR REPLACE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON orch.artifact
  FOR EACH ROW EXECUTE FUNCTION orch.audit_row('', '');
-- Incidents span pipelines: they stand in the server's chain.
CREATE OR REPLACE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON orch.incident
  FOR EACH ROW EXECUTE FUNCTION orch.audit_row('', '');
CREATE OR REPLACE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON orch.incident_member
  FOR EACH ROW EXECUTE FUNCTION orch.audit_row('', '');

-- Walks the chains and reports the first break of each: {"ok", "rows", "chains", "broken": [{scope, seq, what}]}.
CREATE OR REPLACE FUNCTION orch.audit_verify(p_pipeline text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  v_scope  bigint;
  v_broken jsonb;
  v_rows   bigint;
  v_chains bigint;
BEGIN
  IF p_pipeline IS NOT NULL THEN
    SELECT id INTO v_scope FROM orch.pipeline WHERE name = p_pipeline;
    IF NOT FOUND THEN PERFORM orch.fail('OR001', format('no pipeline is named %L', p_pipeline), 'orch pipelines lists them'); END IF;
  END IF;
  WITH walked AS (
    SELECT a.scope, a.seq,
      a.prev_hash IS DISTINCT FROM coalesce(lag(a.hash) OVER w, '\x') AS unlinked,
      a.seq <> row_number() OVER w AS gap,
      a.hash <> orch.audit_hash(a.prev_hash, a.scope, a.seq, a.at, a.actor, a.action, a.object, a.object_id, a.detail) AS altered
    FROM orch.audit a WHERE v_scope IS NULL OR a.scope = v_scope
    WINDOW w AS (PARTITION BY a.scope ORDER BY a.seq)
  ), first_break AS (
    SELECT DISTINCT ON (scope) scope, seq,
      CASE WHEN gap THEN 'a row before this one is missing' WHEN altered THEN 'this row was altered'
           ELSE 'this row does not follow from the one before it' END AS what
    FROM walked WHERE unlinked OR gap OR altered ORDER BY scope, seq
  ), tail AS (
    SELECT h.scope, h.seq, 'the newest rows are missing' AS what FROM orch.audit_head h
    WHERE (v_scope IS NULL OR h.scope = v_scope)
      AND NOT EXISTS (SELECT FROM orch.audit a WHERE a.scope = h.scope AND a.seq = h.seq AND a.hash = h.hash)
      AND h.scope NOT IN (SELECT scope FROM first_break)
  ), breaks AS (SELECT * FROM first_break UNION ALL SELECT * FROM tail)
  SELECT (SELECT coalesce(jsonb_agg(jsonb_build_object('scope', coalesce(p.name, 'server'), 'seq', b.seq, 'what', b.what)
                                    ORDER BY b.scope), '[]')
          FROM breaks b LEFT JOIN orch.pipeline p ON p.id = b.scope),
         count(*), count(DISTINCT scope)
  INTO v_broken, v_rows, v_chains FROM walked;
  RETURN jsonb_build_object('ok', v_broken = '[]', 'rows', v_rows, 'chains', v_chains, 'broken', v_broken);
END $$;
