-- Diagnosis: why a proposal is there, in numbers and in words. One document for the shell, HTTP, chat and pages. What stands
-- in a signal's detail may come from outside: every piece is checked for its type and bounded in its size.

-- A number for people, as units_format_number() in C has it, so that all surfaces say the same: four digits where it has
-- a fraction (0.4137, 6.1, 250123), with an exponent from 10^9 on and below 0.0001 (1.235e-05).
CREATE OR REPLACE FUNCTION orch.words_number(p double precision) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  v_size CONSTANT double precision := abs(p);
BEGIN
  IF p = 0 THEN RETURN '0'; END IF;
  IF v_size >= 999.95 AND v_size < 999999999.5 THEN RETURN round(p::numeric)::text; END IF;
  IF v_size >= 0.0001 AND v_size < 1000 THEN RETURN trim_scale(round(p::numeric, 3 - floor(log(v_size::numeric))::int))::text; END IF;
  RETURN regexp_replace(ltrim(to_char(p::numeric, '9.999EEEE')), '[.]?0*e', 'e');
END $$;

-- A piece of a document, if it is of this type and not larger than p_max bytes.
CREATE OR REPLACE FUNCTION orch.piece(p jsonb, p_type text, p_max int DEFAULT 8192) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN jsonb_typeof(p) = p_type AND octet_length(p::text) <= p_max THEN p END
$$;
CREATE OR REPLACE FUNCTION orch.piece_array(p jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN jsonb_typeof(p) = 'array' THEN p ELSE '[]' END
$$;

-- One column of a signal's detail as a diagnosis shows it.
CREATE OR REPLACE FUNCTION orch.diagnosis_column(p_monitor text, p_column jsonb, p_importance double precision) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  v_effect     double precision := coalesce(orch.metric(p_column, 'effect'), orch.metric(p_column, 'psi'), 0);
  v_importance double precision := coalesce(orch.metric(p_column, 'importance'), p_importance, 1);
  v_before     double precision := orch.diagnosis_median(p_column #> '{quantiles,ref}');
  v_now        double precision := orch.diagnosis_median(p_column #> '{quantiles,now}');
BEGIN
  RETURN jsonb_build_object('name', left(p_column ->> 'name', 200), 'monitor', p_monitor, 'kind', left(p_column ->> 'kind', 20), 'effect', v_effect,
    'importance', v_importance, 'weight', v_effect * v_importance,
    'direction', coalesce(left(p_column ->> 'direction', 20), CASE WHEN v_now > v_before THEN 'up' WHEN v_now < v_before THEN 'down' END),
    'psi', orch.metric(p_column, 'psi'),
    'p_value', coalesce(orch.metric(p_column, 'p_adjusted'), orch.metric(p_column, 'chi2', 'p_value'), orch.metric(p_column, 'ks', 'p_value')),
    'quantiles', orch.piece(p_column -> 'quantiles', 'object'), 'missing', orch.piece(p_column -> 'missing', 'object'),
    'histogram', orch.piece(p_column -> 'histogram', 'object'), 'n_ref', orch.metric(p_column, 'n_ref'), 'n_now', orch.metric(p_column, 'n_now'),
    'since_row', orch.metric(p_column, 'since_row'), 'since_at', left(p_column ->> 'since_at', 40), 'why', left(p_column ->> 'why', 300));
END $$;

-- The middle of a list of quantiles, or NULL.
CREATE OR REPLACE FUNCTION orch.diagnosis_median(p jsonb) RETURNS double precision LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF jsonb_typeof(p) <> 'array' OR jsonb_array_length(p) = 0 THEN RETURN NULL; END IF;
  RETURN orch.metric(p, (jsonb_array_length(p) / 2)::text);
END $$;

-- The category whose share has changed most: 'Dallas from 12 % to 31 %', or NULL.
CREATE OR REPLACE FUNCTION orch.diagnosis_category(p jsonb) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN (SELECT format('%s from %s %% to %s %%', left(l.label, 60), round((l.ref * 100)::numeric), round((l.now * 100)::numeric)) FROM (
      SELECT x.label, orch.metric(p, 'ref', (x.o - 1)::text) AS ref, orch.metric(p, 'now', (x.o - 1)::text) AS now
      FROM jsonb_array_elements_text(orch.piece_array(p -> 'labels')) WITH ORDINALITY x(label, o)) l
    WHERE l.ref IS NOT NULL AND l.now IS NOT NULL ORDER BY abs(l.now - l.ref) DESC LIMIT 1);
END $$;

-- What a column did: 'inventory rose from a median of 6.1 to 8.9 (PSI 0.41)'.
CREATE OR REPLACE FUNCTION orch.diagnosis_words(c jsonb) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  v_before double precision := orch.diagnosis_median(c #> '{quantiles,ref}');
  v_now    double precision := orch.diagnosis_median(c #> '{quantiles,now}');
  v_last   text := (jsonb_array_length(orch.piece_array(c #> '{quantiles,ref}')) - 1)::text;
  v_range  text := format(' (middle from %s..%s to %s..%s)', orch.words_number(orch.metric(c, 'quantiles', 'ref', '0')),
    orch.words_number(orch.metric(c, 'quantiles', 'ref', v_last)), orch.words_number(orch.metric(c, 'quantiles', 'now', '0')),
    orch.words_number(orch.metric(c, 'quantiles', 'now', v_last)));
  v_what   text := coalesce(orch.diagnosis_category(c -> 'histogram'), '');
  v_psi    text := coalesce(format(' (PSI %s)', round((c ->> 'psi')::numeric, 2)), '');
BEGIN
  RETURN left(c ->> 'name', 80) || CASE
    WHEN c ->> 'direction' = 'categories' AND v_what <> '' THEN ' changed its mix, ' || v_what || v_psi
    WHEN v_before IS NULL OR v_now IS NULL THEN ' moved' || CASE WHEN v_what <> '' THEN ', ' || v_what ELSE '' END || v_psi
    WHEN c ->> 'direction' = 'spread' THEN ' spread differently' || v_range || v_psi
    WHEN c ->> 'direction' = 'shape' OR v_now = v_before THEN ' changed its shape around a median of ' || orch.words_number(v_now) || v_psi
    ELSE format(' %s from a median of %s to %s', CASE WHEN v_now > v_before THEN 'rose' ELSE 'fell' END, orch.words_number(v_before), orch.words_number(v_now)) || v_psi END;
END $$;

-- How the live model does: the windows of the monitor that knows the truth, else of one that estimates it; against the
-- champion's evaluation. -> {"monitor", "metric", "estimated", "better": "up"|"down", "at_promotion", "now", "threshold",
-- "verdict" (of the newest window), "series": [{"at", "row", "value", "rows"}] (≤ 60, oldest first)}, or NULL
CREATE OR REPLACE FUNCTION orch.live_metric(p_pipeline_id bigint, p_version_id bigint) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
  m        orch.monitor;
  v_metric text;
  v_series jsonb;
  v_newest orch.monitor_window;
  v_told   double precision;
BEGIN
  FOR m IN SELECT * FROM orch.monitor WHERE pipeline_id = p_pipeline_id AND active AND kind IN ('performance', 'estimated_performance')
           ORDER BY kind <> 'performance', name LOOP
    SELECT jsonb_agg(jsonb_build_object('at', orch.rfc3339(w.at), 'row', w.to_row, 'value', w.value, 'rows', w.rows) ORDER BY w.number)
      INTO v_series
      FROM (SELECT x.number, coalesce(x.to_at, orch.diagnosis_time(x.result ->> 'newest_at', x.closed_at)) AS at, x.to_row, x.rows,
              orch.metric(x.result, 'value') AS value FROM orch.monitor_window x
            WHERE x.monitor_id = m.id AND x.version_id = p_version_id AND x.verdict NOT IN ('insufficient', 'warming')
              AND orch.metric(x.result, 'value') IS NOT NULL ORDER BY x.number DESC LIMIT 60) w;
    CONTINUE WHEN v_series IS NULL;
    SELECT * INTO v_newest FROM orch.monitor_window x WHERE x.monitor_id = m.id AND x.version_id = p_version_id
      AND x.verdict NOT IN ('insufficient', 'warming') ORDER BY x.number DESC LIMIT 1;
    v_metric := coalesce(m.spec ->> 'metric', m.name);
    SELECT orch.metric(e.metrics, v_metric) INTO v_told FROM orch.evaluation e WHERE e.version_id = p_version_id AND e.subject = 'candidate'
      ORDER BY e.at DESC LIMIT 1;
    RETURN jsonb_build_object('monitor', m.name, 'metric', v_metric, 'estimated', m.kind <> 'performance',
      'better', CASE WHEN v_metric IN ('log_loss', 'mae', 'rmse') THEN 'down' ELSE 'up' END,
      'at_promotion', coalesce(v_told, orch.metric(v_newest.result, 'reference')), 'now', v_series -> -1 -> 'value',
      'threshold', coalesce(orch.metric(v_newest.result, 'threshold'), orch.metric(m.spec, 'min'), orch.metric(m.spec, 'max')),
      'verdict', v_newest.verdict, 'series', v_series);
  END LOOP;
  RETURN NULL;
END $$;

-- 'accuracy fell from 0.83 at promotion to 0.71, under its line of 0.75'
CREATE OR REPLACE FUNCTION orch.live_metric_words(l jsonb) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  v_then double precision := orch.metric(l, 'at_promotion');
  v_now  double precision := orch.metric(l, 'now');
  v_line double precision := orch.metric(l, 'threshold');
  v_bad  boolean := CASE WHEN l ->> 'better' = 'up' THEN v_now < v_line ELSE v_now > v_line END;
BEGIN
  RETURN (l ->> 'metric') || CASE WHEN (l ->> 'estimated')::boolean THEN ' (estimated)' ELSE '' END || CASE
      WHEN v_then IS NULL THEN ' is ' || orch.words_number(v_now)
      WHEN round(v_then::numeric, 4) = round(v_now::numeric, 4) THEN ' stayed at ' || orch.words_number(v_now)
      ELSE format(' %s from %s at promotion to %s', CASE WHEN v_now < v_then THEN 'fell' ELSE 'rose' END, orch.words_number(v_then), orch.words_number(v_now)) END
    || CASE WHEN v_bad THEN format(', %s its line of %s', CASE WHEN l ->> 'better' = 'up' THEN 'under' ELSE 'over' END, orch.words_number(v_line)) ELSE '' END;
END $$;

-- What would have become of it without anybody: what the live model did since, in words; NULL when nobody measures it.
CREATE OR REPLACE FUNCTION orch.diagnosis_ignored(l jsonb, p_since timestamptz) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_then  double precision;
  v_now   double precision := orch.metric(l, 'now');
  v_count bigint;
  v_worse boolean;
BEGIN
  IF l IS NULL THEN RETURN NULL; END IF;
  -- Where it stood when this began: its last window before, else its evaluation.
  SELECT orch.metric(x, 'value') INTO v_then FROM jsonb_array_elements(l -> 'series') WITH ORDINALITY t(x, o)
    WHERE (x ->> 'at')::timestamptz < p_since ORDER BY o DESC LIMIT 1;
  v_then := coalesce(v_then, orch.metric(l, 'at_promotion'));
  SELECT count(*) INTO v_count FROM jsonb_array_elements(l -> 'series') x WHERE (x ->> 'at')::timestamptz >= p_since;
  IF v_count = 0 THEN RETURN format('%s has not been measured since', l ->> 'metric'); END IF;
  v_worse := CASE WHEN l ->> 'better' = 'up' THEN v_now < v_then ELSE v_now > v_then END;
  RETURN format('since then the live model went from %s to %s in %s%s over %s%s: ', coalesce(orch.words_number(v_then), 'an unknown'), orch.words_number(v_now),
      CASE WHEN (l ->> 'estimated')::boolean THEN 'estimated ' ELSE '' END, l ->> 'metric', v_count, CASE WHEN v_count = 1 THEN ' window' ELSE ' windows' END)
    || CASE WHEN v_worse IS NULL THEN 'there is nothing to compare it with'
            WHEN v_worse THEN 'left alone, it goes on with that' ELSE 'so far, leaving it alone has cost nothing' END;
END $$;

-- Why a proposal is there. See docs/monitoring.md for the shape.
CREATE OR REPLACE FUNCTION orch.diagnosis(p_proposal_id bigint) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
  c_shown   CONSTANT int := 20;
  q         orch.proposal;
  p         orch.pipeline;
  r         record;
  v_all     jsonb;
  v_columns jsonb;
  v_more    bigint;
  v_faults  jsonb;
  v_also    jsonb;
  v_live    jsonb;
  v_since   jsonb;
  v_at      timestamptz;
  v_kinds   text[];
  v_verdict text;
BEGIN
  SELECT * INTO STRICT q FROM orch.proposal WHERE id = p_proposal_id;
  SELECT * INTO STRICT p FROM orch.pipeline WHERE id = q.pipeline_id;

  WITH s AS (
    SELECT x.id, left(coalesce(x.detail ->> 'monitor', x.source), 100) AS monitor, x.detail FROM orch.signal x
    WHERE x.proposal_id = q.id ORDER BY x.id LIMIT 50
  ), c AS (
    SELECT DISTINCT ON (s.monitor, e.value ->> 'name') s.monitor, e.value AS said, s.detail
    FROM s, LATERAL (SELECT * FROM jsonb_array_elements(orch.piece_array(s.detail -> 'columns')) LIMIT 200) e
    WHERE jsonb_typeof(e.value) = 'object' AND coalesce(e.value ->> 'name', '') <> '' ORDER BY s.monitor, e.value ->> 'name', s.id DESC
  ), d AS (
    SELECT orch.diagnosis_column(c.monitor, CASE WHEN c.said ? 'since_at' THEN c.said ELSE c.said || jsonb_build_object('since_at', c.detail -> 'since_at') END,
             orch.metric(m.spec, 'importance', c.said ->> 'name')) AS said
    FROM c LEFT JOIN orch.monitor m ON m.pipeline_id = q.pipeline_id AND m.name = c.monitor
  )
  SELECT coalesce(jsonb_agg(d.said ORDER BY (d.said ->> 'weight')::float8 DESC, d.said ->> 'name'), '[]') INTO v_all FROM d;
  SELECT coalesce(jsonb_agg(x || jsonb_build_object('words', orch.diagnosis_words(x)) ORDER BY o), '[]') INTO v_columns FROM jsonb_array_elements(v_all) WITH ORDINALITY t(x, o) WHERE o <= c_shown;
  SELECT greatest(jsonb_array_length(v_all) - c_shown, 0) + coalesce(sum(least(greatest(orch.metric(s.detail, 'more_columns'), 0), 100000)), 0)::bigint INTO v_more
    FROM orch.signal s WHERE s.proposal_id = q.id;

  -- Since when: of the signals that the summary leads with, the one that began first, by the time of its rows when they
  -- carry one.
  SELECT s.*, orch.metric(s.detail, 'since_row') AS since_row, s.detail ->> 'since_at' AS since_at INTO r FROM orch.signal s
    WHERE s.proposal_id = q.id AND s.kind <> 'manual'
    ORDER BY orch.diagnosis_rank(s.kind), orch.diagnosis_time(s.detail ->> 'since_at', s.first_at), s.id LIMIT 1;
  IF FOUND THEN
    v_at := orch.diagnosis_time(r.since_at, r.first_at);
    v_since := jsonb_build_object('row', r.since_row, 'at', orch.rfc3339(v_at), 'rows', orch.metric(r.detail, 'window', 'rows'),
      'by_rows', orch.diagnosis_time(r.since_at, NULL) IS NOT NULL,
      'windows', (SELECT nullif(count(*), 0) FROM orch.monitor_window w JOIN orch.monitor m ON m.id = w.monitor_id
                  WHERE m.pipeline_id = q.pipeline_id AND r.source = 'monitor:' || m.name AND w.from_row >= r.since_row
                    AND w.to_row <= coalesce(orch.metric(r.detail, 'window', 'to_row'), 9e18)));
  END IF;

  SELECT coalesce(jsonb_agg(f.said), '[]') INTO v_faults FROM (
    SELECT CASE WHEN e.o = 1 THEN orch.diagnosis_column(s.monitor, e.x, NULL)
                ELSE jsonb_build_object('name', left(e.x ->> 'column', 200), 'monitor', s.monitor, 'check', left(e.x ->> 'check', 40),
                  'why', left(e.x ->> 'why', 300), 'share_ref', orch.metric(e.x, 'share_ref'), 'share_now', orch.metric(e.x, 'share_now')) END AS said
    FROM (SELECT left(coalesce(z.detail ->> 'monitor', z.source), 100) AS monitor, z.detail FROM orch.signal z
          WHERE z.pipeline_id = q.pipeline_id AND z.kind = 'data_fault' AND z.status = 'firing' ORDER BY z.id LIMIT 20) s,
      LATERAL (SELECT 1 AS o, x FROM jsonb_array_elements(orch.piece_array(s.detail -> 'columns')) x
               UNION ALL SELECT 2, x FROM jsonb_array_elements(orch.piece_array(s.detail -> 'faults')) x) e
    WHERE jsonb_typeof(e.x) = 'object' LIMIT 20) f;

  -- What else fires: here, and with what is in the same incident.
  SELECT coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object('signal', a.id, 'kind', a.kind, 'title', left(a.title, 300), 'source', a.source,
      'status', a.status, 'since', orch.rfc3339(a.first_at), 'pipeline', a.other, 'incident', a.incident)) ORDER BY a.incident IS NOT NULL, a.id), '[]') INTO v_also
    FROM ((SELECT s.id, s.kind, s.title, s.source, s.status, s.first_at, NULL::text AS other, NULL::bigint AS incident FROM orch.signal s
           WHERE s.pipeline_id = q.pipeline_id AND s.status = 'firing' AND s.proposal_id IS DISTINCT FROM q.id ORDER BY s.id LIMIT 20)
          UNION ALL
          (SELECT s.id, s.kind, s.title, s.source, s.status, s.first_at, o.name, m.incident_id FROM orch.incident_member m
             JOIN orch.signal s ON s.id = m.signal_id JOIN orch.pipeline o ON o.id = s.pipeline_id
           WHERE s.pipeline_id <> q.pipeline_id AND m.incident_id IN (
             SELECT x.incident_id FROM orch.incident_member x JOIN orch.signal y ON y.id = x.signal_id WHERE y.proposal_id = q.id)
           ORDER BY s.id LIMIT 20)) a;

  v_live := orch.live_metric(q.pipeline_id, coalesce(q.champion_id, p.champion_id));
  SELECT array_agg(DISTINCT k.class) INTO v_kinds FROM (
    SELECT CASE WHEN s.kind IN ('drift', 'prediction_drift') THEN 'drift' WHEN s.kind = 'schedule' THEN 'schedule'
                WHEN s.kind IN ('performance', 'latency') THEN 'performance' ELSE 'asked' END AS class
    FROM orch.signal s WHERE s.proposal_id = q.id
    UNION ALL SELECT 'fault' WHERE v_faults <> '[]') k;
  -- Somebody who asks says nothing about what moved.
  IF cardinality(v_kinds) > 1 THEN v_kinds := array_remove(v_kinds, 'asked'); END IF;
  v_verdict := CASE WHEN cardinality(v_kinds) > 1 THEN 'mixed' ELSE coalesce(v_kinds[1], 'asked') END;

  RETURN jsonb_build_object('verdict', v_verdict, 'columns', v_columns, 'more_columns', v_more, 'since', v_since, 'faults', v_faults, 'also', v_also,
    'live_metric', v_live, 'if_ignored', orch.diagnosis_ignored(v_live, coalesce(v_at, q.created_at)),
    'summary', orch.diagnosis_summary(q, v_verdict, v_columns, jsonb_array_length(v_all), v_since, v_faults, v_live));
END $$;

-- Which kind of signal a summary leads with: what moved, then what it did to the model, then who asked.
CREATE OR REPLACE FUNCTION orch.diagnosis_rank(p_kind text) RETURNS int LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN p_kind IN ('drift', 'prediction_drift') THEN 1 WHEN p_kind = 'performance' THEN 2 WHEN p_kind = 'schedule' THEN 3 ELSE 4 END
$$;

-- A time out of a detail, or p_else for what is none.
CREATE OR REPLACE FUNCTION orch.diagnosis_time(p_text text, p_else timestamptz) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN CASE WHEN p_text ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,15}(Z|[+-][0-9]{2}:[0-9]{2})$' THEN p_text::timestamptz ELSE p_else END;
EXCEPTION WHEN data_exception THEN RETURN p_else;
END $$;

-- One or two sentences that a reviewer understands at once.
CREATE OR REPLACE FUNCTION orch.diagnosis_summary(q orch.proposal, p_verdict text, p_columns jsonb, p_moved int, p_since jsonb, p_faults jsonb, p_live jsonb)
RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
  s       orch.signal;
  v_head  text;
  v_since text := CASE WHEN p_since IS NULL THEN '' WHEN (p_since ->> 'by_rows')::boolean THEN ' since ' || left(p_since ->> 'at', 10)
                       WHEN p_since ->> 'row' IS NOT NULL THEN ' since row ' || (p_since ->> 'row') ELSE ' since ' || left(p_since ->> 'at', 10) END;
  v_over  text;
  v_fault text := (SELECT string_agg(coalesce(f ->> 'name', f ->> 'check', 'a column') || coalesce(' (' || (f ->> 'why') || ')', ''), ', ' ORDER BY o)
                   FROM jsonb_array_elements(p_faults) WITH ORDINALITY t(f, o) WHERE o <= 2);
BEGIN
  SELECT * INTO s FROM orch.signal x WHERE x.proposal_id = q.id
    ORDER BY orch.diagnosis_rank(x.kind), x.id LIMIT 1;
  v_over := CASE WHEN p_since ->> 'windows' IS NULL OR p_since ->> 'rows' IS NULL THEN '' ELSE format(', over %s of %s %s',
    CASE WHEN p_since ->> 'windows' = '1' THEN 'one window' ELSE (p_since ->> 'windows') || ' windows' END, p_since ->> 'rows',
    CASE s.kind WHEN 'performance' THEN 'labels' ELSE 'rows' END) END;
  v_head := CASE
    WHEN s.kind IN ('drift', 'prediction_drift') AND p_columns <> '[]' THEN orch.diagnosis_words(p_columns -> 0) || v_since || v_over
      || CASE p_moved WHEN 1 THEN '' WHEN 2 THEN ', and ' || left(p_columns #>> '{1,name}', 80) || ' moved too'
                      ELSE format(', and %s more columns moved', p_moved - 1) END
    WHEN s.kind = 'performance' AND p_live IS NOT NULL THEN orch.live_metric_words(p_live) || v_since || v_over
    WHEN s.kind IN ('drift', 'prediction_drift', 'performance', 'latency') THEN left(s.title, 300)
    WHEN s.kind = 'schedule' THEN left(s.title, 300) || '; no monitor asks for it'
    WHEN s.kind IN ('alert', 'external') THEN format('%s says: %s', left(s.source, 80), left(s.title, 300))
    ELSE format('%s asked: %s', regexp_replace(q.opened_by, '^(reviewer|user|token):', ''), left(q.reason, 300)) END;
  RETURN v_head
    || CASE WHEN v_fault IS NOT NULL AND p_verdict = 'fault' THEN '; but the data are broken: ' || v_fault || ', and a retraining would learn that'
            WHEN v_fault IS NOT NULL THEN '; the data are broken too: ' || v_fault || ', so look there first'
            WHEN s.kind IN ('drift', 'prediction_drift') THEN '; it looks like drift, not like broken data' ELSE '' END
    || CASE WHEN p_live IS NOT NULL AND s.kind IS DISTINCT FROM 'performance' THEN '; ' || orch.live_metric_words(p_live) || ' meanwhile' ELSE '' END;
END $$;
