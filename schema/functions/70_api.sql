-- Reading: one JSON document a call, the same for the shell, HTTP and whoever comes next. Lists are paged by
-- {"limit": 1..500 (50), "after": id}: newest first, `next` names the page after.

CREATE OR REPLACE FUNCTION orch.page_limit(p_filter jsonb) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN orch.take_bigint(p_filter, 'limit', 50, 1, 500);
END $$;

-- The row that a page begins after; without one, the newest.
CREATE OR REPLACE FUNCTION orch.page_after(p_filter jsonb) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN orch.take_bigint(p_filter, 'after', 9223372036854775807, 0, 9223372036854775807);
END $$;

-- A filter's word out of those there are, or an error that lists them.
CREATE OR REPLACE FUNCTION orch.page_word(p_filter jsonb, p_key text, p_words text[]) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE v text := nullif(p_filter ->> p_key, '');
BEGIN
  IF v <> ALL (p_words) THEN
    PERFORM orch.fail('OR003', format('%s %L is not known', p_key, left(v, 40)), 'one of ' || array_to_string(p_words, ', '));
  END IF;
  RETURN v;
END $$;

-- The pipeline that a filter names, or NULL for all; an unknown one is an error, not an empty list.
CREATE OR REPLACE FUNCTION orch.page_pipeline(p_filter jsonb) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN CASE WHEN p_filter ->> 'pipeline' IS NOT NULL THEN orch.pipeline_id_of(p_filter ->> 'pipeline') END;
END $$;

CREATE OR REPLACE FUNCTION orch.pipeline_id_of(p_name text) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE v_id bigint;
BEGIN
  SELECT id INTO v_id FROM orch.pipeline WHERE name = p_name;
  IF NOT FOUND THEN
    PERFORM orch.fail('OR001', format('no pipeline is named %L', p_name), 'orch pipelines lists them; orch apply DIR adds one');
  END IF;
  RETURN v_id;
END $$;

-- Pieces that several documents share.
CREATE OR REPLACE FUNCTION orch.doc_hold(p_pipeline_id bigint) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object('by', actor, 'reason', reason, 'since', orch.rfc3339(at)) FROM orch.hold
  WHERE pipeline_id = p_pipeline_id AND released_at IS NULL
$$;
CREATE OR REPLACE FUNCTION orch.doc_live(p orch.pipeline) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object('version', v.number, 'artifact', v.artifact, 'since', orch.rfc3339(l.since), 'deployment', l.deployment_id,
    'metrics', coalesce((SELECT metrics - 'slices' FROM orch.evaluation e WHERE e.version_id = v.id AND e.subject = 'candidate'), v.metrics - 'slices'))
  FROM orch.version v JOIN orch.live_period l ON l.deployment_id = p.champion_deployment_id WHERE v.id = p.champion_id
$$;
CREATE OR REPLACE FUNCTION orch.doc_signal(s orch.signal) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object('signal', s.id, 'pipeline', (SELECT name FROM orch.pipeline WHERE id = s.pipeline_id), 'source', s.source,
    'kind', s.kind, 'fingerprint', s.fingerprint, 'status', s.status, 'title', s.title, 'detail', s.detail, 'count', s.count,
    'first_at', orch.rfc3339(s.first_at), 'last_at', orch.rfc3339(s.last_at), 'as_of', orch.rfc3339(s.as_of),
    'resolved_at', orch.rfc3339(s.resolved_at), 'disposition', s.disposition, 'held_reason', s.held_reason,
    'reconsider_at', orch.rfc3339(s.reconsider_at), 'proposal', s.proposal_id, 'then', CASE WHEN s.tell THEN 'tell' ELSE 'propose' END,
    'incident', s.incident_id)
$$;
CREATE OR REPLACE FUNCTION orch.doc_steps(p_proposal_id bigint) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT coalesce(jsonb_agg(jsonb_build_object('step', s.step, 'subject', nullif(s.subject, ''), 'role', s.role, 'needs', to_jsonb(s.needs),
      'state', CASE WHEN s.state = 'queued' AND j.state = 'running' THEN 'running' ELSE s.state END, 'job', s.job_id,
      'lease', coalesce(j.lease, h.lease), 'attempt', coalesce(j.attempt, h.attempt), 'progress', j.progress, 'progress_text', j.progress_text,
      'since', orch.rfc3339(coalesce(j.claimed_at, h.claimed_at)), 'finished_at', orch.rfc3339(h.finished_at),
      'retry_at', orch.rfc3339(l.due_at), 'error', s.result ->> 'error', 'log', s.result ->> 'log', 'duration_ms', s.result -> 'duration_ms')
    ORDER BY s.role = 'evaluate', cardinality(s.needs), s.step, s.subject), '[]')
  FROM orch.proposal_step s LEFT JOIN orch.job j ON j.proposal_id = s.proposal_id AND j.id = s.job_id LEFT JOIN orch.job_later l ON l.id = s.job_id
    LEFT JOIN orch.job_history h ON h.id = s.job_id WHERE s.proposal_id = p_proposal_id
$$;
CREATE OR REPLACE FUNCTION orch.doc_gate(g orch.gate) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT orch.gate_event(g) || orch.gate_outcome(g) || jsonb_build_object('own_proposals', coalesce((g.policy ->> 'own_proposals')::boolean, false),
    'refusals', (SELECT coalesce(jsonb_agg(jsonb_build_object('who', r.who, 'verdict', r.verdict, 'code', r.code, 'message', r.message,
      'via', r.via, 'at', orch.rfc3339(r.at)) ORDER BY r.id), '[]') FROM (SELECT * FROM orch.refusal WHERE gate_id = g.id ORDER BY id DESC LIMIT 50) r))
$$;
CREATE OR REPLACE FUNCTION orch.doc_deployment(d orch.deployment) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object('deployment', d.id, 'kind', d.kind, 'state', d.state, 'version', v.number, 'from', f.number, 'gate', d.gate_id,
    'proposal', d.proposal_id, 'reason', d.reason, 'actor', d.actor, 'attempts', d.attempts, 'created_at', orch.rfc3339(d.created_at),
    'ended_at', orch.rfc3339(d.ended_at), 'detail', d.detail)
  FROM orch.version v LEFT JOIN orch.version f ON f.id = d.from_version_id WHERE v.id = d.version_id
$$;
CREATE OR REPLACE FUNCTION orch.doc_version(v orch.version) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object('version', v.number, 'pipeline', p.name, 'artifact', v.artifact, 'proposal', v.proposal_id,
    'metrics', coalesce((SELECT metrics FROM orch.evaluation e WHERE e.version_id = v.id AND e.subject = 'candidate'), v.metrics) - 'slices',
    'state', CASE WHEN v.id = p.champion_id THEN 'live' WHEN v.quarantined_at IS NOT NULL THEN 'quarantined'
                  WHEN q.state IN ('promoted', 'rolled_back') THEN 'retired' ELSE q.state END,
    'created_at', orch.rfc3339(v.created_at), 'revision', r.digest, 'git_commit', r.git_commit,
    'quarantined', CASE WHEN v.quarantined_at IS NOT NULL THEN jsonb_build_object('at', orch.rfc3339(v.quarantined_at), 'by', v.quarantined_by,
      'reason', v.quarantine_reason) END,
    'live_periods', (SELECT coalesce(jsonb_agg(jsonb_build_object('since', orch.rfc3339(l.since), 'until', orch.rfc3339(l.until), 'good', l.good,
      'deployment', l.deployment_id) ORDER BY l.id), '[]') FROM orch.live_period l WHERE l.version_id = v.id))
  FROM orch.pipeline p, orch.proposal q, orch.revision r WHERE p.id = v.pipeline_id AND q.id = v.proposal_id AND r.id = v.revision_id
$$;
CREATE OR REPLACE FUNCTION orch.doc_proposal_short(q orch.proposal) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object('proposal', q.id, 'pipeline', (SELECT name FROM orch.pipeline WHERE id = q.pipeline_id), 'state', q.state,
    'reason', q.reason, 'opened_by', q.opened_by, 'version', q.version_number, 'created_at', orch.rfc3339(q.created_at),
    'state_at', orch.rfc3339(q.state_at), 'ended_at', orch.rfc3339(q.ended_at), 'end_reason', q.end_reason,
    'gate', (SELECT id FROM orch.gate WHERE proposal_id = q.id ORDER BY id DESC LIMIT 1))
$$;

-- The monitor that says most about a pipeline, the one that knows the truth before those that suspect, and what its newest
-- windows came to, oldest first. NULL while no monitor has closed a window. For sparklines: short, whatever the history.
CREATE OR REPLACE FUNCTION orch.doc_trend(p_pipeline_id bigint) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE m orch.monitor;
BEGIN
  SELECT * INTO m FROM orch.monitor WHERE pipeline_id = p_pipeline_id AND active AND number > 0
    ORDER BY array_position(ARRAY['performance', 'drift', 'prediction_drift', 'estimated_performance', 'quality', 'latency', 'prometheus', 'sql'], kind),
      name LIMIT 1;
  IF NOT FOUND THEN RETURN NULL; END IF;
  RETURN (
    SELECT jsonb_build_object('monitor', m.name, 'kind', m.kind, 'threshold', (array_agg(w.result -> 'threshold' ORDER BY w.number DESC))[1],
      'points', coalesce(jsonb_agg(jsonb_build_object('at', coalesce(orch.rfc3339(w.to_at), w.result ->> 'newest_at', orch.rfc3339(w.closed_at)),
        'verdict', w.verdict, 'value', w.result -> 'value') ORDER BY w.number), '[]'))
    FROM (SELECT * FROM orch.monitor_window WHERE monitor_id = m.id ORDER BY number DESC LIMIT 30) w);
END $$;

-- The trends of the first p_limit pipelines, those of which something fires or waits before the others: {NAME: trend}.
CREATE OR REPLACE FUNCTION orch.api_trends(p_limit int) RETURNS jsonb LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
BEGIN
  RETURN (
    SELECT coalesce(jsonb_object_agg(x.name, orch.doc_trend(x.id)), '{}') FROM (
      SELECT p.id, p.name FROM orch.pipeline p
      ORDER BY EXISTS (SELECT FROM orch.gate g WHERE g.pipeline_id = p.id AND g.state = 'open')
            OR EXISTS (SELECT FROM orch.signal s WHERE s.pipeline_id = p.id AND s.status = 'firing')
            OR EXISTS (SELECT FROM orch.hold h WHERE h.pipeline_id = p.id AND h.released_at IS NULL) DESC, p.name
      LIMIT least(greatest(p_limit, 0), 500)) x);
END $$;

-- One screen: each pipeline, what is live since when, what waits for whom, the queue, what failed to be delivered.
CREATE OR REPLACE FUNCTION orch.api_status() RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
  SELECT jsonb_build_object('now', orch.rfc3339(orch.clock()),
    'pipelines', (SELECT coalesce(jsonb_agg(jsonb_build_object(
        'pipeline', p.name, 'owner', p.owner, 'oncall', p.oncall, 'live', orch.doc_live(p), 'hold', orch.doc_hold(p.id),
        'proposals', (SELECT coalesce(jsonb_agg(orch.doc_proposal_short(q) || jsonb_build_object('steps', CASE
              WHEN q.state IN ('training', 'evaluating') THEN orch.doc_steps(q.id) ELSE '[]' END) ORDER BY q.id), '[]')
            FROM orch.proposal q WHERE q.pipeline_id = p.id
              AND q.state IN ('proposed', 'training', 'evaluating', 'awaiting_approval', 'rolling_out')),
        'gate', (SELECT orch.gate_event(g) FROM orch.gate g WHERE g.pipeline_id = p.id AND g.state = 'open'),
        'deployment', (SELECT orch.doc_deployment(d) FROM orch.deployment d WHERE d.pipeline_id = p.id AND d.state IN ('pending', 'stepping')),
        'firing', (SELECT coalesce(jsonb_agg(jsonb_build_object('signal', s.id, 'kind', s.kind, 'title', s.title, 'disposition', s.disposition,
              'held_reason', s.held_reason, 'since', orch.rfc3339(s.first_at), 'incident', (SELECT i.id FROM orch.incident i
                WHERE i.id = s.incident_id AND i.state = 'open' AND s.disposition = 'held')) ORDER BY s.id), '[]')
            FROM (SELECT * FROM orch.signal WHERE pipeline_id = p.id AND status = 'firing' ORDER BY id DESC LIMIT 20) s),
        'observations', (SELECT jsonb_build_object('rows', o.next_row, 'last_at', orch.rfc3339(o.last_at))
            FROM orch.observation_stream o WHERE o.pipeline_id = p.id AND o.stream = 'rows')) ORDER BY p.name), '[]') FROM orch.pipeline p),
    'incidents', (SELECT coalesce(jsonb_agg(orch.doc_incident(i) - 'members' ORDER BY i.id), '[]')
        FROM (SELECT * FROM orch.incident WHERE state = 'open' ORDER BY id LIMIT 50) i),
    'queue', orch.queue_status(),
    'outbox', jsonb_build_object('pending', (SELECT count(*) FROM orch.outbox WHERE state = 'pending'),
                                 'dead', (SELECT count(*) FROM orch.outbox WHERE state = 'dead')))
$$;

CREATE OR REPLACE FUNCTION orch.api_pipelines() RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
  SELECT jsonb_build_object('pipelines', coalesce(jsonb_agg(jsonb_build_object('pipeline', p.name, 'owner', p.owner, 'oncall', p.oncall,
    'revision', r.digest, 'live', orch.doc_live(p), 'hold', orch.doc_hold(p.id)) ORDER BY p.name), '[]'))
  FROM orch.pipeline p LEFT JOIN orch.revision r ON r.id = p.revision_id
$$;

CREATE OR REPLACE FUNCTION orch.api_pipeline(p_name text) RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
  SELECT jsonb_build_object('pipeline', p.name, 'owner', p.owner, 'oncall', p.oncall, 'created_at', orch.rfc3339(p.created_at),
    'revision', jsonb_build_object('digest', r.digest, 'bundle', r.bundle_digest, 'git_commit', r.git_commit, 'git_dirty', r.git_dirty,
      'applied_by', r.applied_by, 'applied_at', orch.rfc3339(r.applied_at), 'spec', r.spec),
    'live', orch.doc_live(p), 'hold', orch.doc_hold(p.id),
    'proposals', (SELECT coalesce(jsonb_agg(orch.doc_proposal_short(q) ORDER BY q.id DESC), '[]')
      FROM (SELECT * FROM orch.proposal WHERE pipeline_id = p.id ORDER BY id DESC LIMIT 20) q),
    'monitors', (SELECT coalesce(jsonb_agg(orch.doc_monitor(m) ORDER BY m.name), '[]')
      FROM orch.monitor m WHERE m.pipeline_id = p.id))
  FROM orch.pipeline p LEFT JOIN orch.revision r ON r.id = p.revision_id WHERE p.id = (SELECT orch.pipeline_id_of(p_name))
$$;

-- p_filter: {pipeline?, state?, limit?, after?}
CREATE OR REPLACE FUNCTION orch.api_proposals(p_filter jsonb DEFAULT '{}') RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = orch, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
  v_limit    int := orch.page_limit(p_filter);
  v_after    bigint := orch.page_after(p_filter);
  v_pipeline bigint := orch.page_pipeline(p_filter);
  v_state    text := orch.page_word(p_filter, 'state', ARRAY['proposed', 'training', 'evaluating', 'awaiting_approval', 'rolling_out',
    'promoted', 'rolled_back', 'failed', 'blocked', 'rejected', 'aborted', 'expired', 'superseded', 'cancelled']);
BEGIN
  RETURN (
    WITH page AS (
      SELECT q FROM orch.proposal q
      WHERE (v_pipeline IS NULL OR q.pipeline_id = v_pipeline) AND (v_state IS NULL OR q.state = v_state) AND q.id < v_after
      ORDER BY q.id DESC LIMIT v_limit)
    SELECT jsonb_build_object('proposals', coalesce(jsonb_agg(orch.doc_proposal_short(q) ORDER BY (q).id DESC), '[]'),
      'next', CASE WHEN count(*) = v_limit THEN min((q).id) END) FROM page);
END $$;

-- Everything about one proposal: why, how far, with what numbers, who decides.
CREATE OR REPLACE FUNCTION orch.api_proposal(p_id bigint) RETURNS jsonb LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  q orch.proposal;
  g orch.gate;
  d orch.deployment;
BEGIN
  SELECT * INTO q FROM orch.proposal WHERE id = p_id;
  IF NOT FOUND THEN PERFORM orch.fail('OR001', format('there is no proposal %s', p_id), 'orch proposals lists them'); END IF;
  SELECT * INTO g FROM orch.gate WHERE proposal_id = p_id ORDER BY id DESC LIMIT 1;
  SELECT * INTO d FROM orch.deployment WHERE proposal_id = p_id ORDER BY id DESC LIMIT 1;
  RETURN orch.doc_proposal_short(q) || jsonb_build_object(
    'as_of', orch.rfc3339(q.as_of), 'seed', q.seed, 'checks', q.checks,
    -- Once there is a gate, what everybody was asked with; until then, as it stands.
    'diagnosis', coalesce(g.evidence::jsonb -> 'diagnosis', orch.diagnosis(p_id)),
    'proposers', (SELECT coalesce(jsonb_agg(v.name ORDER BY o.at), '[]') FROM orch.proposal_proposer o JOIN orch.reviewer v ON v.id = o.reviewer_id
                  WHERE o.proposal_id = p_id),
    'signals', (SELECT coalesce(jsonb_agg(orch.doc_signal(s) ORDER BY s.id), '[]') FROM (
                  SELECT * FROM orch.signal WHERE proposal_id = p_id ORDER BY id LIMIT 100) s),
    'steps', orch.doc_steps(p_id),
    'evaluations', (SELECT coalesce(jsonb_object_agg(e.subject, jsonb_build_object('version', v.number, 'metrics', e.metrics)), '{}')
                    FROM orch.evaluation e JOIN orch.version v ON v.id = e.version_id WHERE e.proposal_id = p_id),
    'candidate', (SELECT orch.doc_version(v) FROM orch.version v WHERE v.id = q.version_id),
    'gate', CASE WHEN g.id IS NOT NULL THEN orch.doc_gate(g) END,
    'deployment', CASE WHEN d.id IS NOT NULL THEN orch.doc_deployment(d) END,
    'revision', (SELECT jsonb_build_object('digest', digest, 'bundle', bundle_digest, 'git_commit', git_commit, 'git_dirty', git_dirty)
                 FROM orch.revision WHERE id = q.revision_id),
    'snapshots', (SELECT coalesce(jsonb_object_agg(name, digest), '{}') FROM orch.snapshot WHERE proposal_id = p_id));
END $$;

CREATE OR REPLACE FUNCTION orch.api_versions(p_name text) RETURNS jsonb LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE v_pipeline bigint := orch.pipeline_id_of(p_name);
BEGIN
  RETURN (
    SELECT jsonb_build_object('pipeline', p_name, 'versions', coalesce(jsonb_agg(orch.doc_version(v) ORDER BY v.number DESC), '[]'))
    FROM (SELECT * FROM orch.version WHERE pipeline_id = v_pipeline ORDER BY number DESC LIMIT 500) v);
END $$;

CREATE OR REPLACE FUNCTION orch.version_of(p_name text, p_number int) RETURNS orch.version LANGUAGE plpgsql STABLE AS $$
DECLARE v orch.version;
BEGIN
  SELECT * INTO v FROM orch.version WHERE pipeline_id = orch.pipeline_id_of(p_name) AND number = p_number;
  IF NOT FOUND THEN PERFORM orch.fail('OR001', format('there is no version %s@%s', p_name, p_number), format('orch versions %s lists them', p_name)); END IF;
  RETURN v;
END $$;

CREATE OR REPLACE FUNCTION orch.api_version(p_name text, p_number int) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
  SELECT orch.doc_version(v) || jsonb_build_object('training_metrics', v.metrics, 'pinned_by', orch.artifact_pinned_by(v.artifact))
  FROM orch.version_of(p_name, p_number) v
$$;

-- What was live, from when to when, and why it ended.
CREATE OR REPLACE FUNCTION orch.api_history(p_name text) RETURNS jsonb LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE v_pipeline bigint := orch.pipeline_id_of(p_name);
BEGIN
  RETURN (SELECT jsonb_build_object('pipeline', p_name,
    'history', (SELECT coalesce(jsonb_agg(jsonb_build_object('version', v.number, 'since', orch.rfc3339(l.since), 'until', orch.rfc3339(l.until),
        'good', l.good, 'how', d.kind, 'deployment', d.id, 'gate', d.gate_id, 'proposal', d.proposal_id, 'actor', d.actor, 'reason', d.reason,
        'approved_by', (SELECT coalesce(jsonb_agg(r.name ORDER BY c.id), '[]') FROM orch.decision c JOIN orch.reviewer r ON r.id = c.reviewer_id
                        WHERE c.gate_id = d.gate_id AND c.verdict = 'approve'),
        'quarantined', v.quarantine_reason) ORDER BY l.id DESC), '[]')
      FROM (SELECT * FROM orch.live_period WHERE pipeline_id = v_pipeline ORDER BY id DESC LIMIT 500) l
      JOIN orch.version v ON v.id = l.version_id JOIN orch.deployment d ON d.id = l.deployment_id),
    'failed', (SELECT coalesce(jsonb_agg(orch.doc_deployment(d) ORDER BY d.id DESC), '[]') FROM (
        SELECT * FROM orch.deployment WHERE pipeline_id = v_pipeline AND state = 'aborted' ORDER BY id DESC LIMIT 100) d)));
END $$;

-- Signal -> proposal -> jobs -> data, code and config -> votes -> deployments and rollbacks, in one document.
CREATE OR REPLACE FUNCTION orch.api_lineage(p_name text, p_number int) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
  SELECT jsonb_build_object('version', orch.doc_version(v),
    'signals', (SELECT coalesce(jsonb_agg(orch.doc_signal(s) ORDER BY s.id), '[]') FROM orch.signal s WHERE s.proposal_id = v.proposal_id),
    'proposal', (SELECT orch.doc_proposal_short(q) || jsonb_build_object('as_of', orch.rfc3339(q.as_of), 'seed', q.seed, 'checks', q.checks,
        'proposers', (SELECT coalesce(jsonb_agg(x.name), '[]') FROM orch.proposal_proposer o JOIN orch.reviewer x ON x.id = o.reviewer_id WHERE o.proposal_id = q.id))
      FROM orch.proposal q WHERE q.id = v.proposal_id),
    'jobs', orch.doc_steps(v.proposal_id),
    'inputs', jsonb_build_object(
        'snapshots', (SELECT coalesce(jsonb_object_agg(name, digest), '{}') FROM orch.snapshot WHERE proposal_id = v.proposal_id),
        'code', r.bundle_digest, 'revision', r.digest, 'git_commit', r.git_commit, 'git_dirty', r.git_dirty, 'config', r.spec -> 'config',
        'config_digest', 'sha256:' || encode(sha256(convert_to((r.spec -> 'config')::text, 'UTF8')), 'hex'), 'applied_by', r.applied_by),
    'gates', (SELECT coalesce(jsonb_agg(orch.doc_gate(g) ORDER BY g.id), '[]') FROM orch.gate g WHERE g.version_id = v.id),
    'deployments', (SELECT coalesce(jsonb_agg(orch.doc_deployment(d) ORDER BY d.id), '[]') FROM orch.deployment d
                    WHERE d.version_id = v.id OR (d.kind = 'rollback' AND d.from_version_id = v.id)))
  FROM orch.version_of(p_name, p_number) v JOIN orch.revision r ON r.id = v.revision_id
$$;

-- p_filter: {pipeline?, status?, disposition?, kind?, limit?, after?}
CREATE OR REPLACE FUNCTION orch.api_signals(p_filter jsonb DEFAULT '{}') RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = orch, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
  v_limit    int := orch.page_limit(p_filter);
  v_after    bigint := orch.page_after(p_filter);
  v_pipeline bigint := orch.page_pipeline(p_filter);
  v_status   text := orch.page_word(p_filter, 'status', ARRAY['firing', 'resolved']);
  v_becomes  text := orch.page_word(p_filter, 'disposition', ARRAY['proposed', 'folded', 'held', 'recorded', 'resolved']);
  v_kind     text := orch.page_word(p_filter, 'kind', ARRAY['drift', 'prediction_drift', 'performance', 'estimate', 'latency', 'volume',
    'schedule', 'data_fault', 'canary', 'alert', 'manual', 'external']);
BEGIN
  RETURN (
    WITH page AS (
      SELECT s FROM orch.signal s
      WHERE (v_pipeline IS NULL OR s.pipeline_id = v_pipeline) AND (v_status IS NULL OR s.status = v_status)
        AND (v_becomes IS NULL OR s.disposition = v_becomes) AND (v_kind IS NULL OR s.kind = v_kind) AND s.id < v_after
      ORDER BY s.id DESC LIMIT v_limit)
    SELECT jsonb_build_object('signals', coalesce(jsonb_agg(orch.doc_signal(s) ORDER BY (s).id DESC), '[]'),
      'next', CASE WHEN count(*) = v_limit THEN min((s).id) END) FROM page);
END $$;

CREATE OR REPLACE FUNCTION orch.api_gate(p_id bigint) RETURNS jsonb LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE g orch.gate;
BEGIN
  SELECT * INTO g FROM orch.gate WHERE id = p_id;
  IF NOT FOUND THEN PERFORM orch.fail('OR001', format('there is no gate %s', p_id), 'orch status shows what waits for whom'); END IF;
  RETURN orch.doc_gate(g) || jsonb_build_object('evidence', g.evidence::jsonb);
END $$;

-- p_filter: {pipeline?, limit?, after?: seq (with pipeline)}
CREATE OR REPLACE FUNCTION orch.api_audit(p_filter jsonb DEFAULT '{}') RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = orch, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
  v_limit    int := orch.page_limit(p_filter);
  v_after    bigint := orch.page_after(p_filter);
  v_pipeline bigint := orch.page_pipeline(p_filter);
BEGIN
  RETURN (
    -- One chain in its own order; all chains by time. Only within one chain can a sequence number name the next page.
    WITH page AS (
      (SELECT a.*, 1 AS o FROM orch.audit a WHERE v_pipeline IS NOT NULL AND a.scope = v_pipeline AND a.seq < v_after ORDER BY a.seq DESC LIMIT v_limit)
      UNION ALL
      (SELECT a.*, 2 AS o FROM orch.audit a WHERE v_pipeline IS NULL ORDER BY a.at DESC, a.seq DESC LIMIT v_limit))
    SELECT jsonb_build_object('audit', coalesce(jsonb_agg(jsonb_build_object('scope', coalesce(p.name, 'server'), 'seq', a.seq, 'at', orch.rfc3339(a.at),
        'actor', a.actor, 'action', a.action, 'object', a.object, 'object_id', a.object_id, 'detail', a.detail, 'hash', encode(a.hash, 'hex'))
        ORDER BY CASE a.o WHEN 1 THEN a.seq END DESC, a.at DESC, a.seq DESC), '[]'),
      'next', CASE WHEN v_pipeline IS NOT NULL AND count(*) = v_limit THEN min(a.seq) END)
    FROM page a LEFT JOIN orch.pipeline p ON p.id = a.scope);
END $$;

-- p_filter: {state?: pending|delivered|dead, limit?, after?}
CREATE OR REPLACE FUNCTION orch.api_outbox(p_filter jsonb DEFAULT '{}') RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = orch, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
  v_limit    int := orch.page_limit(p_filter);
  v_after    bigint := orch.page_after(p_filter);
  v_state    text := orch.page_word(p_filter, 'state', ARRAY['pending', 'delivered', 'dead']);
BEGIN
  RETURN (
    WITH page AS (
      SELECT o.*, e.type, e.gate_id FROM (
        SELECT * FROM orch.outbox WHERE (v_state IS NULL OR state = v_state) AND id < v_after ORDER BY id DESC LIMIT v_limit) o
      JOIN orch.event e ON e.id = o.event_id)
    SELECT jsonb_build_object('outbox', coalesce(jsonb_agg(jsonb_build_object('id', id, 'message', message_id, 'channel', channel,
        'endpoint', coalesce(endpoint ->> 'name', endpoint ->> 'channel'), 'type', type, 'gate', gate_id, 'state', state, 'attempts', attempts,
        'due_at', orch.rfc3339(due_at), 'created_at', orch.rfc3339(created_at), 'ended_at', orch.rfc3339(ended_at), 'error', last_error)
        ORDER BY id DESC), '[]'),
      'next', CASE WHEN count(*) = v_limit THEN min(id) END) FROM page);
END $$;

CREATE OR REPLACE FUNCTION orch.api_reviewers() RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
  SELECT jsonb_build_object('reviewers', coalesce(jsonb_agg(jsonb_build_object('name', r.name, 'email', r.email, 'slack', r.slack,
    'groups', to_jsonb(r.groups), 'active', r.active,
    'tokens', (SELECT count(*) FROM orch.token t WHERE t.reviewer_id = r.id AND t.revoked_at IS NULL)) ORDER BY NOT r.active, r.name), '[]'))
  FROM orch.reviewer r
$$;

CREATE OR REPLACE FUNCTION orch.api_tokens() RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
  SELECT jsonb_build_object('tokens', coalesce(jsonb_agg(jsonb_build_object('token', t.name, 'scopes', to_jsonb(t.scopes), 'reviewer', r.name,
    'created_by', t.created_by, 'created_at', orch.rfc3339(t.created_at), 'revoked_at', orch.rfc3339(t.revoked_at)) ORDER BY t.revoked_at IS NOT NULL, t.name), '[]'))
  FROM orch.token t LEFT JOIN orch.reviewer r ON r.id = t.reviewer_id
$$;

-- How long the first attempts of lately finished jobs had waited to be claimed. Looks at 500 rows, however long the history.
CREATE OR REPLACE FUNCTION orch.claim_latency() RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object('jobs', count(*), 'p50_ms', percentile_cont(0.5) WITHIN GROUP (ORDER BY s.ms),
    'p99_ms', percentile_cont(0.99) WITHIN GROUP (ORDER BY s.ms), 'max_ms', max(s.ms))
  FROM (SELECT attempt, (extract(epoch FROM claimed_at - enqueued_at) * 1000)::float8 AS ms FROM orch.job_history
        WHERE claimed_at IS NOT NULL ORDER BY id DESC LIMIT 500) s WHERE s.attempt = 1
$$;

-- From a claim to the step's running process, as workers measured it: data, code and inputs are laid out in between.
CREATE OR REPLACE FUNCTION orch.dispatch_latency() RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object('jobs', count(*), 'p50_ms', percentile_cont(0.5) WITHIN GROUP (ORDER BY s.ms),
    'p99_ms', percentile_cont(0.99) WITHIN GROUP (ORDER BY s.ms), 'max_ms', max(s.ms))
  FROM (SELECT (result ->> 'dispatch_ms')::float8 AS ms FROM orch.job_history WHERE result ? 'dispatch_ms' ORDER BY id DESC LIMIT 500) s
$$;

-- Numbers for /metrics. Cheap: partial indexes and small tables only.
CREATE OR REPLACE FUNCTION orch.api_metrics() RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
  SELECT jsonb_build_object('queue', orch.queue_status(), 'claim_latency', orch.claim_latency(), 'dispatch_latency', orch.dispatch_latency(),
    'gates_open', (SELECT count(*) FROM orch.gate WHERE state = 'open'),
    'gate_oldest_seconds', (SELECT extract(epoch FROM orch.clock() - min(opened_at)) FROM orch.gate WHERE state = 'open'),
    'outbox_pending', (SELECT count(*) FROM orch.outbox WHERE state = 'pending'),
    'outbox_oldest_seconds', (SELECT extract(epoch FROM orch.clock() - min(created_at)) FROM orch.outbox WHERE state = 'pending'),
    'outbox_dead', (SELECT count(*) FROM orch.outbox WHERE state = 'dead'),
    'deployments_in_flight', (SELECT count(*) FROM orch.deployment WHERE state IN ('pending', 'stepping')),
    'holds', (SELECT count(*) FROM orch.hold WHERE released_at IS NULL),
    'signals_firing', (SELECT coalesce(jsonb_object_agg(kind, n), '{}') FROM (SELECT kind, count(*) AS n FROM orch.signal WHERE status = 'firing' GROUP BY kind) x),
    'incidents_open', (SELECT count(*) FROM orch.incident WHERE state = 'open'),
    'signals_held', (SELECT count(*) FROM orch.signal WHERE status = 'firing' AND disposition = 'held'),
    'proposals', (SELECT coalesce(jsonb_object_agg(state, n), '{}') FROM (SELECT state, count(*) AS n FROM orch.proposal GROUP BY state) x),
    'windows_due', (SELECT count(*) FROM orch.monitor WHERE runner = 'window' AND active AND due_at <= orch.clock()),
    'windows_oldest_seconds', (SELECT extract(epoch FROM orch.clock() - min(due_at)) FROM orch.monitor WHERE runner = 'window' AND active
                               AND due_at <= orch.clock()),
    'xmin_age_seconds', (SELECT extract(epoch FROM max(clock_timestamp() - xact_start)) FROM pg_stat_activity
                         WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()))
$$;
