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
