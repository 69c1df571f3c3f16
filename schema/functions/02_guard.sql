-- Triggers that hold the invariants for everybody, the owner of the tables included. The functions of the other files
-- check the same rules first, to answer in words; here they only must not be broken.

-- ---------------------------------------------------------------- legal moves of states

CREATE OR REPLACE FUNCTION orch.guard_arrow() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_source text := CASE WHEN TG_OP = 'INSERT' THEN '' ELSE OLD.state END;
BEGIN
  IF TG_OP = 'UPDATE' AND NEW.state = OLD.state THEN RETURN NEW; END IF;
  IF NOT EXISTS (SELECT FROM orch.arrow WHERE object = TG_TABLE_NAME AND source = v_source AND target = NEW.state) THEN
    PERFORM orch.fail('OR002', format('%s %s cannot go from %L to %L', TG_TABLE_NAME, NEW.id, v_source, NEW.state),
      'the legal moves stand in orch.arrow');
  END IF;
  RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER guard_1_arrow BEFORE INSERT OR UPDATE OF state ON orch.proposal
  FOR EACH ROW EXECUTE FUNCTION orch.guard_arrow();
CREATE OR REPLACE TRIGGER guard_1_arrow BEFORE INSERT OR UPDATE OF state ON orch.gate
  FOR EACH ROW EXECUTE FUNCTION orch.guard_arrow();
CREATE OR REPLACE TRIGGER guard_1_arrow BEFORE INSERT OR UPDATE OF state ON orch.deployment
  FOR EACH ROW EXECUTE FUNCTION orch.guard_arrow();
CREATE OR REPLACE TRIGGER guard_1_arrow BEFORE INSERT OR UPDATE OF state ON orch.incident
  FOR EACH ROW EXECUTE FUNCTION orch.guard_arrow();

-- ---------------------------------------------------------------- what never changes

CREATE OR REPLACE FUNCTION orch.guard_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM orch.fail('OR002', format('%s is append-only: %s is refused', TG_TABLE_NAME, TG_OP),
    'history is a fact; record what happened next instead');
  RETURN NULL;
END $$;
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['revision', 'server_config', 'snapshot', 'evaluation', 'decision', 'refusal', 'event', 'audit',
                           'arrow', 'proposal_proposer'] LOOP
    EXECUTE format('CREATE OR REPLACE TRIGGER guard_append_only BEFORE UPDATE OR DELETE ON orch.%I
                    FOR EACH ROW EXECUTE FUNCTION orch.guard_append_only()', t);
  END LOOP;
  FOREACH t IN ARRAY ARRAY['pipeline', 'version', 'proposal', 'gate', 'deployment', 'live_period', 'hold', 'artifact',
                           'incident', 'incident_member'] LOOP
    EXECUTE format('CREATE OR REPLACE TRIGGER guard_no_delete BEFORE DELETE ON orch.%I
                    FOR EACH ROW EXECUTE FUNCTION orch.guard_append_only()', t);
  END LOOP;
  FOREACH t IN ARRAY ARRAY['revision', 'server_config', 'snapshot', 'evaluation', 'decision', 'refusal', 'event', 'audit',
      'arrow', 'proposal_proposer', 'monitor_window', 'pipeline', 'version', 'proposal', 'gate', 'deployment',
      'live_period', 'hold', 'artifact', 'audit_head', 'signal', 'reviewer', 'token', 'incident', 'incident_member'] LOOP
    EXECUTE format('CREATE OR REPLACE TRIGGER guard_no_truncate BEFORE TRUNCATE ON orch.%I
                    FOR EACH STATEMENT EXECUTE FUNCTION orch.guard_append_only()', t);
  END LOOP;
END $$;

-- What a window said never changes. Only what is older than the newest that are kept may go.
CREATE OR REPLACE TRIGGER guard_append_only BEFORE UPDATE ON orch.monitor_window
  FOR EACH ROW EXECUTE FUNCTION orch.guard_append_only();
CREATE OR REPLACE FUNCTION orch.guard_window() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM gone g JOIN orch.monitor m ON m.id = g.monitor_id WHERE g.number > m.number - orch.windows_kept()) THEN
    PERFORM orch.fail('OR002', format('the newest %s windows of a monitor are kept', orch.windows_kept()));
  END IF;
  RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER guard_window AFTER DELETE ON orch.monitor_window REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION orch.guard_window();

-- Only the named columns may change: TG_ARGV[0], comma separated.
CREATE OR REPLACE FUNCTION orch.guard_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_free text[] := string_to_array(TG_ARGV[0], ',');
BEGIN
  IF to_jsonb(OLD) - v_free IS DISTINCT FROM to_jsonb(NEW) - v_free THEN
    PERFORM orch.fail('OR002', format('%s %s is fixed; only %s may change', TG_TABLE_NAME, to_jsonb(NEW) ->> 'id',
      array_to_string(v_free, ', ')), 'make a new one instead');
  END IF;
  RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER guard_2_frozen BEFORE UPDATE ON orch.version FOR EACH ROW
  EXECUTE FUNCTION orch.guard_frozen('quarantined_at,quarantined_by,quarantine_reason');
CREATE OR REPLACE TRIGGER guard_2_frozen BEFORE UPDATE ON orch.proposal FOR EACH ROW
  EXECUTE FUNCTION orch.guard_frozen('state,version_id,champion_id,as_of,checks,ended_at,end_reason,state_at');
CREATE OR REPLACE TRIGGER guard_2_frozen BEFORE UPDATE ON orch.gate FOR EACH ROW
  EXECUTE FUNCTION orch.guard_frozen('state,closed_at,closed_by,close_reason');
CREATE OR REPLACE TRIGGER guard_2_frozen BEFORE UPDATE ON orch.deployment FOR EACH ROW
  EXECUTE FUNCTION orch.guard_frozen('state,attempts,due_at,lease,lease_owner,lease_until,ended_at,detail');
CREATE OR REPLACE TRIGGER guard_2_frozen BEFORE UPDATE ON orch.live_period FOR EACH ROW
  EXECUTE FUNCTION orch.guard_frozen('until,good');
CREATE OR REPLACE TRIGGER guard_2_frozen BEFORE UPDATE ON orch.hold FOR EACH ROW
  EXECUTE FUNCTION orch.guard_frozen('released_at,released_by,release_reason');
CREATE OR REPLACE TRIGGER guard_2_frozen BEFORE UPDATE ON orch.token FOR EACH ROW
  EXECUTE FUNCTION orch.guard_frozen('revoked_at');
CREATE OR REPLACE TRIGGER guard_2_frozen BEFORE UPDATE ON orch.incident FOR EACH ROW
  EXECUTE FUNCTION orch.guard_frozen('state,closed_at,closed_by,close_reason');
CREATE OR REPLACE TRIGGER guard_2_frozen BEFORE UPDATE ON orch.incident_member FOR EACH ROW
  EXECUTE FUNCTION orch.guard_frozen('proposal_id');

-- A closed incident is a decision that was made; it stays as it was.
CREATE OR REPLACE FUNCTION orch.guard_incident() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.state <> 'open' THEN
    PERFORM orch.fail('OR002', format('incident %s is %s; a closed incident never changes', OLD.id, OLD.state));
  END IF;
  RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER guard_3_incident BEFORE UPDATE ON orch.incident FOR EACH ROW EXECUTE FUNCTION orch.guard_incident();

-- ---------------------------------------------------------------- I2 and I3: gates and decisions

-- I3: a closed gate never changes. I2: it becomes approved only when its votes satisfy its policy, in time.
CREATE OR REPLACE FUNCTION orch.guard_gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND OLD.state <> 'open' THEN
    PERFORM orch.fail('OR002', format('gate %s is %s; a closed gate never changes', OLD.id, OLD.state));
  END IF;
  IF TG_OP = 'UPDATE' AND NEW.state = 'approved' THEN
    IF NEW.closed_at >= NEW.expires_at OR orch.clock() >= NEW.expires_at THEN
      PERFORM orch.fail('OR002', format('gate %s expired at %s', NEW.id, orch.rfc3339(NEW.expires_at)));
    END IF;
    IF NOT orch.gate_satisfied(NEW.id) THEN
      PERFORM orch.fail('OR002', format('gate %s does not have the approvals that its policy requires', NEW.id));
    END IF;
  END IF;
  RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER guard_3_gate BEFORE UPDATE ON orch.gate FOR EACH ROW EXECUTE FUNCTION orch.guard_gate();

CREATE OR REPLACE FUNCTION orch.guard_decision() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_why jsonb := orch.decision_objection(NEW.gate_id, NEW.reviewer_id, NEW.verdict, NEW.digest);
BEGIN
  IF v_why IS NOT NULL THEN PERFORM orch.fail('OR002', v_why ->> 'message'); END IF;
  RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER guard_1_decision BEFORE INSERT ON orch.decision
  FOR EACH ROW EXECUTE FUNCTION orch.guard_decision();

-- ---------------------------------------------------------------- I1: what may go live

CREATE OR REPLACE FUNCTION orch.guard_deployment() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  g orch.gate;
  v orch.version;
BEGIN
  SELECT * INTO STRICT v FROM orch.version WHERE id = NEW.version_id;
  IF NEW.kind = 'promote' THEN
    SELECT * INTO g FROM orch.gate WHERE id = NEW.gate_id FOR SHARE;
    IF NOT FOUND OR g.state <> 'approved' OR g.kind <> 'promote' OR g.version_id <> NEW.version_id THEN
      PERFORM orch.fail('OR002', format('version %s has no approved gate: it cannot be deployed', v.number),
        'a version goes live by an approved gate or by rollback to a version that was live');
    END IF;
    IF g.evidence::jsonb #>> '{candidate,artifact}' IS DISTINCT FROM v.artifact THEN
      PERFORM orch.fail('OR002', format('gate %s approved another artifact than that of version %s', g.id, v.number));
    END IF;
    IF v.quarantined_at IS NOT NULL THEN
      PERFORM orch.fail('OR002', format('version %s is quarantined: %s', v.number, v.quarantine_reason));
    END IF;
  ELSE
    IF NOT EXISTS (SELECT FROM orch.live_period l WHERE l.version_id = NEW.version_id) THEN
      PERFORM orch.fail('OR002', format('version %s was never live: it cannot be rolled back to', v.number),
        'orch history shows what was live');
    END IF;
    IF v.quarantined_at IS NOT NULL THEN
      PERFORM orch.fail('OR002', format('version %s is quarantined: %s', v.number, v.quarantine_reason));
    END IF;
  END IF;
  RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER guard_3_deployment BEFORE INSERT ON orch.deployment
  FOR EACH ROW EXECUTE FUNCTION orch.guard_deployment();

-- A version that was quarantined on its way cannot arrive.
CREATE OR REPLACE FUNCTION orch.guard_deployment_live() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.state = 'live' AND OLD.state <> 'live'
     AND (SELECT quarantined_at IS NOT NULL FROM orch.version WHERE id = NEW.version_id) THEN
    PERFORM orch.fail('OR002', format('deployment %s: its version is quarantined', NEW.id));
  END IF;
  RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER guard_3_live BEFORE UPDATE OF state ON orch.deployment
  FOR EACH ROW EXECUTE FUNCTION orch.guard_deployment_live();

-- The live pointer moves only to what a deployment that just became live says, and forwards in deployment order, so an
-- old deployment cannot be used twice.
CREATE OR REPLACE FUNCTION orch.guard_champion() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE d orch.deployment;
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.champion_id IS NOT NULL OR NEW.champion_deployment_id IS NOT NULL THEN
      PERFORM orch.fail('OR002', 'a pipeline is born without a champion');
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.champion_id IS NOT DISTINCT FROM OLD.champion_id
     AND NEW.champion_deployment_id IS NOT DISTINCT FROM OLD.champion_deployment_id THEN
    RETURN NEW;
  END IF;
  SELECT * INTO d FROM orch.deployment WHERE id = NEW.champion_deployment_id;
  IF NOT FOUND OR d.state <> 'live' OR d.pipeline_id <> NEW.id OR d.version_id IS DISTINCT FROM NEW.champion_id
     OR d.id <= coalesce(OLD.champion_deployment_id, 0)
     OR EXISTS (SELECT FROM orch.live_period l WHERE l.deployment_id = d.id) THEN
    PERFORM orch.fail('OR002', format('pipeline %s: the live version changes only through a deployment', NEW.name),
      'an approved gate leads to one; orch rollback is the way back');
  END IF;
  RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER guard_champion BEFORE INSERT OR UPDATE ON orch.pipeline
  FOR EACH ROW EXECUTE FUNCTION orch.guard_champion();

-- History is written by the pointer's own move.
CREATE OR REPLACE FUNCTION orch.record_champion() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_now timestamptz := orch.clock();
BEGIN
  UPDATE orch.live_period SET until = v_now WHERE pipeline_id = NEW.id AND until IS NULL;
  INSERT INTO orch.live_period (pipeline_id, version_id, deployment_id, since)
    VALUES (NEW.id, NEW.champion_id, NEW.champion_deployment_id, v_now);
  RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER record_champion AFTER UPDATE ON orch.pipeline FOR EACH ROW
  WHEN (NEW.champion_deployment_id IS DISTINCT FROM OLD.champion_deployment_id)
  EXECUTE FUNCTION orch.record_champion();

CREATE OR REPLACE FUNCTION orch.guard_live_period() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM orch.pipeline p WHERE p.id = NEW.pipeline_id AND p.champion_id = NEW.version_id
                 AND p.champion_deployment_id = NEW.deployment_id) THEN
    PERFORM orch.fail('OR002', 'live_period follows the live pointer; it is not written by hand');
  END IF;
  RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER guard_live_period BEFORE INSERT ON orch.live_period
  FOR EACH ROW EXECUTE FUNCTION orch.guard_live_period();

-- ---------------------------------------------------------------- I7: pinned artifacts

-- Why an artifact must stay, or NULL: live, waiting at a gate or in flight, or among the last `keep` good live versions.
CREATE OR REPLACE FUNCTION orch.artifact_pinned_by(p_digest text) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (
      WITH holders AS (
        SELECT v.id, v.pipeline_id, p.name || '@' || v.number AS label, p.champion_id,
               coalesce((r.spec ->> 'keep')::int, 5) AS keep
        FROM orch.version v JOIN orch.pipeline p ON p.id = v.pipeline_id LEFT JOIN orch.revision r ON r.id = p.revision_id
        WHERE v.artifact = p_digest
      )
      SELECT CASE
          WHEN h.id = h.champion_id THEN h.label || ' is live'
          WHEN EXISTS (SELECT FROM orch.gate g WHERE g.version_id = h.id AND g.state = 'open') THEN h.label || ' waits at a gate'
          WHEN EXISTS (SELECT FROM orch.deployment d WHERE d.version_id = h.id AND d.state IN ('pending', 'stepping'))
            THEN h.label || ' is being deployed'
          ELSE h.label || ' is one of the last ' || h.keep || ' good versions' END
      FROM holders h
      WHERE h.id = h.champion_id
         OR EXISTS (SELECT FROM orch.gate g WHERE g.version_id = h.id AND g.state = 'open')
         OR EXISTS (SELECT FROM orch.deployment d WHERE d.version_id = h.id AND d.state IN ('pending', 'stepping'))
         OR h.id IN (SELECT v2.id FROM orch.version v2
                     JOIN (SELECT version_id, max(id) AS last FROM orch.live_period WHERE good GROUP BY version_id) l
                       ON l.version_id = v2.id
                     WHERE v2.pipeline_id = h.pipeline_id AND v2.quarantined_at IS NULL ORDER BY l.last DESC LIMIT h.keep)
      LIMIT 1
  );
END $$;

CREATE OR REPLACE FUNCTION orch.guard_artifact() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_why text;
BEGIN
  IF NEW.digest <> OLD.digest THEN PERFORM orch.fail('OR002', 'an artifact''s digest is its name; it cannot change'); END IF;
  IF NEW.removed_at IS NOT NULL AND OLD.removed_at IS NULL THEN
    v_why := orch.artifact_pinned_by(OLD.digest);
    IF v_why IS NOT NULL THEN
      PERFORM orch.fail('OR002', format('artifact %s is pinned: %s', left(OLD.digest, 19), v_why));
    END IF;
  END IF;
  RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER guard_artifact BEFORE UPDATE ON orch.artifact
  FOR EACH ROW EXECUTE FUNCTION orch.guard_artifact();
