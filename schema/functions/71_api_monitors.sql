-- Every monitor with its newest window: what `orch monitor list` and GET /v1/monitors show, over all pipelines.

-- p_filter: {pipeline?, kind?, verdict? (of the newest window), limit?, after?}. `latest` is that window's result without
-- what only a page about one monitor has room for; api_pipeline() has it whole.
CREATE OR REPLACE FUNCTION orch.api_monitors(p_filter jsonb DEFAULT '{}') RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = orch, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
  v_limit    int := orch.page_limit(p_filter);
  v_after    bigint := orch.take_bigint(p_filter, 'after', 0, 0, 9223372036854775807);
  v_pipeline bigint := orch.page_pipeline(p_filter);
  v_kind     text := orch.page_word(p_filter, 'kind', ARRAY['drift', 'prediction_drift', 'quality', 'performance',
    'estimated_performance', 'latency', 'volume', 'prometheus', 'sql', 'schedule']);
  v_verdict  text := orch.page_word(p_filter, 'verdict', ARRAY['ok', 'drift', 'fault', 'alarm', 'insufficient', 'warming']);
BEGIN
  RETURN (
    WITH page AS (
      SELECT m.id, jsonb_build_object('pipeline', p.name, 'monitor', m.name, 'kind', m.kind, 'spec', m.spec,
          'reference', (SELECT number FROM orch.version WHERE id = m.version_id), 'next_row', m.next_row,
          'due_at', orch.rfc3339(m.due_at),
          'firing', EXISTS (SELECT FROM orch.signal s WHERE s.pipeline_id = m.pipeline_id AND s.source = 'monitor:' || m.name
                            AND s.status = 'firing'),
          'latest', CASE WHEN w.monitor_id IS NOT NULL THEN
            (w.result - ARRAY['columns', 'state', 'versions', 'faults', 'detector', 'quantiles_ms', 'monitor', 'kind'])
            || jsonb_build_object('number', w.number, 'verdict', w.verdict, 'from_row', w.from_row, 'to_row', w.to_row,
              'from_at', orch.rfc3339(w.from_at), 'to_at', orch.rfc3339(w.to_at), 'rows', w.rows,
              'closed_at', orch.rfc3339(w.closed_at)) END) AS doc
      FROM orch.monitor m JOIN orch.pipeline p ON p.id = m.pipeline_id
        LEFT JOIN orch.monitor_window w ON w.monitor_id = m.id AND w.number = m.number
      WHERE m.active AND m.id > v_after AND (v_pipeline IS NULL OR m.pipeline_id = v_pipeline)
        AND (v_kind IS NULL OR m.kind = v_kind) AND (v_verdict IS NULL OR w.verdict = v_verdict)
      ORDER BY m.id LIMIT v_limit)
    SELECT jsonb_build_object('monitors', coalesce(jsonb_agg(doc ORDER BY id), '[]'),
      'next', CASE WHEN count(*) = v_limit THEN max(id) END) FROM page);
END $$;

-- A monitor with its newest result, whole, and its last windows as a chart needs them, newest first.
CREATE OR REPLACE FUNCTION orch.doc_monitor(m orch.monitor) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN jsonb_build_object('monitor', m.name, 'kind', m.kind, 'spec', m.spec, 'active', m.active,
    'reference', (SELECT number FROM orch.version WHERE id = m.version_id), 'next_row', m.next_row, 'next_at', orch.rfc3339(m.window_from),
    'due_at', orch.rfc3339(m.due_at), 'latest', m.latest,
    'windows', (SELECT coalesce(jsonb_agg(jsonb_build_object('number', w.number, 'from_row', w.from_row, 'to_row', w.to_row,
        'from_at', orch.rfc3339(w.from_at), 'to_at', orch.rfc3339(w.to_at), 'rows', w.rows, 'verdict', w.verdict, 'value', w.result -> 'value',
        'threshold', w.result -> 'threshold', 'summary', w.result -> 'summary', 'newest_at', w.result -> 'newest_at',
        'closed_at', orch.rfc3339(w.closed_at)) ORDER BY w.number DESC), '[]')
      FROM (SELECT * FROM orch.monitor_window WHERE monitor_id = m.id ORDER BY number DESC LIMIT 60) w));
END $$;

-- What a replay of history through the monitors in force needs: {"pipeline", "version", "monitors", "keys", "metrics", "profile"
-- (base64)}; version, metrics and profile are null while nothing is live.
CREATE OR REPLACE FUNCTION orch.backtest_plan(p_pipeline text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  v_id   bigint := orch.pipeline_id_of(p_pipeline);
  v_spec jsonb := orch.current_spec(v_id);
  v      orch.version;
BEGIN
  SELECT x.* INTO v FROM orch.pipeline p JOIN orch.version x ON x.id = p.champion_id WHERE p.id = v_id;
  RETURN jsonb_build_object('pipeline', p_pipeline, 'version', v.number, 'monitors', coalesce(v_spec -> 'monitors', '[]'),
    'keys', v_spec -> 'observations', 'profile', translate(encode(v.profile, 'base64'), E'\n', ''),
    'metrics', coalesce((SELECT e.metrics FROM orch.evaluation e WHERE e.version_id = v.id AND e.subject = 'candidate'
      ORDER BY e.proposal_id DESC LIMIT 1), v.metrics) - 'slices');
END $$;
