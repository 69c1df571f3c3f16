-- What a worker is told with a job: all it needs, so that it never reads a table.

CREATE OR REPLACE FUNCTION orch.job_brief(j orch.job) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
  q       orch.proposal;
  r       orch.revision;
  v_step  jsonb;
  v_model orch.version;
  v_name  text;
BEGIN
  SELECT * INTO STRICT q FROM orch.proposal WHERE id = j.proposal_id;
  SELECT * INTO STRICT r FROM orch.revision WHERE id = q.revision_id;
  SELECT name INTO STRICT v_name FROM orch.pipeline WHERE id = q.pipeline_id;
  SELECT x INTO STRICT v_step FROM jsonb_array_elements(r.spec -> 'steps') x WHERE x ->> 'name' = j.step;
  IF j.role = 'evaluate' THEN
    SELECT * INTO v_model FROM orch.version WHERE id = CASE j.subject WHEN 'champion' THEN q.champion_id ELSE q.version_id END;
  END IF;
  RETURN jsonb_build_object(
    'job', j.id, 'lease', j.lease, 'pipeline', v_name, 'proposal', q.id, 'version', coalesce(v_model.number, q.version_number),
    'step', j.step, 'role', j.role, 'subject', j.subject, 'attempt', j.attempt, 'seed', q.seed, 'as_of', orch.rfc3339(q.as_of),
    'config', r.spec -> 'config', 'run', v_step -> 'run', 'bundle', r.bundle_digest, 'secrets', coalesce(v_step -> 'secrets', '[]'),
    'timeout_ms', j.timeout_ms, 'grace_ms', 10000, 'resources', v_step -> 'resources', 'executor', v_step ->> 'executor',
    'data', (SELECT coalesce(jsonb_agg(d || jsonb_build_object('snapshot', s.digest) ORDER BY o), '[]')
             FROM jsonb_array_elements(coalesce(r.spec -> 'data', '[]')) WITH ORDINALITY AS t(d, o)
             LEFT JOIN orch.snapshot s ON s.proposal_id = q.id AND s.name = d ->> 'name'),
    'inputs', (SELECT coalesce(jsonb_object_agg(p.step, p.result ->> 'output'), '{}') FROM orch.proposal_step p
               WHERE p.proposal_id = q.id AND p.role <> 'evaluate' AND p.state = 'succeeded' AND p.result ->> 'output' IS NOT NULL),
    'model', v_model.artifact);
END $$;
