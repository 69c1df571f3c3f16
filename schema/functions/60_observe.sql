-- Rows that models saw and labels that came for them: how they get in, are joined, and are forgotten.
--
-- Locks: the stream `rows` before the stream `labels` of the same pipeline, pipelines in the order of their ids; monitors
-- after both. What a label needs (predictions, labels that wait) is touched only under the lock of the stream `labels`, so
-- a label and its prediction that come at the same time cannot miss each other.

-- What whoever accepts rows must know of a pipeline. `labels`: some monitor needs labels, so predictions are kept.
-- -> {"pipeline_id", "revision", "keys": spec.observations, "labels"}
CREATE OR REPLACE FUNCTION orch.observe_plan(p_pipeline text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE p orch.pipeline;
BEGIN
  SELECT * INTO p FROM orch.pipeline WHERE name = p_pipeline;
  IF NOT FOUND THEN PERFORM orch.fail('OR001', format('no pipeline is named %L', p_pipeline), 'orch pipelines lists them'); END IF;
  RETURN jsonb_build_object('pipeline_id', p.id, 'revision', p.revision_id,
    'keys', coalesce(orch.current_spec(p.id) -> 'observations', '{}'), 'labels', orch.wants_labels(p.id));
END $$;

CREATE OR REPLACE FUNCTION orch.wants_labels(p_pipeline_id bigint) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN EXISTS (SELECT FROM orch.monitor WHERE pipeline_id = p_pipeline_id AND active AND stream = 'labels');
END $$;

-- Stores one batch of a stream. Times later than now are cut: a row's time never lies in the future.
CREATE OR REPLACE FUNCTION orch.batch_put(p_pipeline_id bigint, p_stream text, p_first_row bigint, p_rows int, p_body bytea,
  p_min_at timestamptz, p_max_at timestamptz, p_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO orch.observation_batch (pipeline_id, stream, first_row, n_rows, received_at, body, min_at, max_at)
    VALUES (p_pipeline_id, p_stream, p_first_row, p_rows, p_now, p_body, least(p_min_at, p_now), least(p_max_at, p_now));
END $$;

-- Moves a stream on by so many rows and wakes whoever has waited for them. The stream's row is locked. `upto` is the
-- newest time among them.
CREATE OR REPLACE FUNCTION orch.stream_advance(p_pipeline_id bigint, p_stream text, p_next_row bigint, p_upto timestamptz,
  p_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE orch.observation_stream SET next_row = p_next_row, last_at = p_now, newest_at = greatest(newest_at, least(p_upto, p_now))
    WHERE pipeline_id = p_pipeline_id AND stream = p_stream;
END $$;

-- Why an item of observations_append_many cannot be taken, or NULL.
CREATE OR REPLACE FUNCTION orch.rows_refused(p_item jsonb, p_pipeline orch.pipeline) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN CASE
    WHEN p_pipeline.id IS NULL THEN jsonb_build_object('code', 'OR001', 'message', format('no pipeline is named %L', p_item ->> 'pipeline'),
      'hint', 'orch pipelines lists them')
    WHEN length(p_item ->> 'key') NOT BETWEEN 1 AND 512 THEN
      jsonb_build_object('code', 'OR003', 'message', 'an idempotency key has 1 to 512 characters')
    WHEN coalesce((p_item ->> 'rows')::bigint, 0) NOT BETWEEN 1 AND 1000000 THEN
      jsonb_build_object('code', 'OR003', 'message', 'a batch has 1 to 1000000 rows')
    -- Read under another revision: ids or times may stand in other keys now.
    WHEN (p_item ->> 'revision')::bigint <> p_pipeline.revision_id THEN
      jsonb_build_object('code', 'OR005', 'message', 'the pipeline has changed since the rows were read', 'hint', 'send them again')
  END;
END $$;

-- Appends many requests' rows in one transaction: durable, all of them, when this has committed. Row numbers are without
-- gaps and in commit order; a request with an idempotency key that was seen appends nothing.
--   p_items   [{"pipeline", "key"?, "revision"?, "rows", "parts": [[from, bytes, rows, min_us, max_us, untimed], …]}, …]
--             A part is a run of whole lines inside p_body (from: its first byte, from 0). min_us and max_us: the times that
--             its rows carry, in microseconds, or null; untimed: some of them carry none, and are as old as their arrival.
--   p_body    NDJSON, one line a row. Parts that lie side by side become one batch as long as that stays small.
--   p_item …  what labels are joined with, one element a row that has an id: the index of its item (from 0), its row in it
--             (from 0), its id, time in microseconds or null, version or null, prediction, score.
-- -> one answer an item: {"first_row", "rows", "repeated"?} or {"error": {"code", "message", "hint"?}}
CREATE OR REPLACE FUNCTION orch.observations_append_many(p_items jsonb, p_body bytea, p_item int[] DEFAULT NULL,
  p_row int[] DEFAULT NULL, p_id text[] DEFAULT NULL, p_at_us bigint[] DEFAULT NULL, p_version int[] DEFAULT NULL,
  p_prediction text[] DEFAULT NULL, p_score float8[] DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  v_now     timestamptz := orch.clock();
  v_answers jsonb[];
  v_first   bigint[]; -- per item: its first row; NULL when it appends nothing
  v_ids     bigint[];
  v_id      bigint;
BEGIN
  IF p_body IS NULL OR octet_length(p_body) > 16777216 OR jsonb_array_length(p_items) > 1000 THEN
    PERFORM orch.fail('OR007', 'a batch of observations has at most 16 MiB, from at most 1000 requests', 'send it in smaller batches');
  END IF;
  v_answers := array_fill(NULL::jsonb, ARRAY[jsonb_array_length(p_items)]);
  v_first := array_fill(NULL::bigint, ARRAY[jsonb_array_length(p_items)]);
  SELECT array_agg(DISTINCT p.id ORDER BY p.id) INTO v_ids
    FROM jsonb_array_elements(p_items) e JOIN orch.pipeline p ON p.name = e ->> 'pipeline';
  PERFORM FROM orch.observation_stream WHERE pipeline_id = ANY (v_ids) AND stream = 'rows' ORDER BY pipeline_id FOR UPDATE;
  FOREACH v_id IN ARRAY coalesce(v_ids, '{}') LOOP
    SELECT a.answers, a.first INTO v_answers, v_first FROM orch.rows_append(v_id, p_items, p_body, v_answers, v_first, v_now) a;
  END LOOP;
  IF p_item IS NOT NULL THEN
    PERFORM orch.predictions_put(v_ids, p_items, v_first, p_item, p_row, p_id, p_at_us, p_version, p_prediction, p_score, v_now);
  END IF;
  FOREACH v_id IN ARRAY coalesce(v_ids, '{}') LOOP
    PERFORM orch.monitors_wake(v_id, 'rows');
  END LOOP;
  RETURN (SELECT jsonb_agg(coalesce(a, jsonb_build_object('error', orch.rows_refused(p_items -> (n::int - 1), NULL))) ORDER BY n)
          FROM unnest(v_answers) WITH ORDINALITY AS x(a, n));
END $$;

-- The part of observations_append_many that is about one pipeline, whose stream is locked.
CREATE OR REPLACE FUNCTION orch.rows_append(p_pipeline_id bigint, p_items jsonb, p_body bytea, INOUT answers jsonb[], INOUT first bigint[],
  p_now timestamptz) RETURNS record LANGUAGE plpgsql AS $$
DECLARE
  c_batch   CONSTANT int := 262144; -- parts are gathered up to this size: what a window reads at least
  p         orch.pipeline;
  v_scope   text := 'observe:' || p_pipeline_id;
  v_start   bigint;
  v_next    bigint;
  v_upto    timestamptz;
  v_answer  jsonb;
  i         record;
  part      record;
  b_row     bigint; -- the batch that is being gathered: its first row, its bytes inside p_body, its times
  b_from    int := 0;
  b_bytes   int := 0;
  b_min     timestamptz;
  b_max     timestamptz;
BEGIN
  SELECT * INTO STRICT p FROM orch.pipeline WHERE id = p_pipeline_id;
  SELECT next_row INTO STRICT v_start FROM orch.observation_stream WHERE pipeline_id = p_pipeline_id AND stream = 'rows';
  v_next := v_start;
  b_row := v_start;
  FOR i IN SELECT e AS item, e ->> 'key' AS key, (e ->> 'rows')::int AS rows, n::int AS n FROM jsonb_array_elements(p_items) WITH ORDINALITY AS x(e, n)
           WHERE e ->> 'pipeline' = p.name ORDER BY n LOOP
    v_answer := orch.rows_refused(i.item, p);
    IF v_answer IS NOT NULL THEN
      answers[i.n] := jsonb_build_object('error', v_answer);
      CONTINUE;
    END IF;
    IF i.key IS NOT NULL THEN
      SELECT r.answer || '{"repeated": true}' INTO v_answer FROM orch.replay r WHERE scope = v_scope AND key = i.key AND expires_at > p_now;
      IF FOUND THEN
        answers[i.n] := v_answer;
        CONTINUE;
      END IF;
    END IF;
    answers[i.n] := jsonb_build_object('first_row', v_next, 'rows', i.rows);
    first[i.n] := v_next;
    IF i.key IS NOT NULL THEN
      INSERT INTO orch.replay (scope, key, answer, expires_at) VALUES (v_scope, i.key, answers[i.n], p_now + interval '24 hours')
        ON CONFLICT (scope, key) DO UPDATE SET answer = excluded.answer, expires_at = excluded.expires_at;
    END IF;
    FOR part IN SELECT (e ->> 0)::int AS at, (e ->> 1)::int AS bytes, (e ->> 2)::int AS rows, orch.us_time((e ->> 3)::bigint) AS min_at,
                orch.us_time((e ->> 4)::bigint) AS max_at, (e ->> 5)::boolean AS untimed FROM jsonb_array_elements(i.item -> 'parts') e LOOP
      IF b_bytes > 0 AND (part.at <> b_from + b_bytes OR b_bytes + part.bytes > c_batch) THEN
        PERFORM orch.batch_put(p.id, 'rows', b_row, (v_next - b_row)::int, substring(p_body FROM b_from + 1 FOR b_bytes), b_min, b_max, p_now);
        b_row := v_next;
        b_bytes := 0;
        b_min := NULL;
        b_max := NULL;
      END IF;
      IF b_bytes = 0 THEN b_from := part.at; END IF;
      b_bytes := b_bytes + part.bytes;
      b_min := least(b_min, part.min_at, CASE WHEN part.untimed THEN p_now END);
      b_max := greatest(b_max, part.max_at, CASE WHEN part.untimed THEN p_now END);
      v_upto := greatest(v_upto, b_max);
      v_next := v_next + part.rows;
    END LOOP;
    IF v_next <> first[i.n] + i.rows THEN
      PERFORM orch.fail('OR003', format('%s rows in parts, %s announced', v_next - first[i.n], i.rows));
    END IF;
  END LOOP;
  IF v_next = v_start THEN RETURN; END IF;
  PERFORM orch.batch_put(p.id, 'rows', b_row, (v_next - b_row)::int, substring(p_body FROM b_from + 1 FOR b_bytes), b_min, b_max, p_now);
  PERFORM orch.stream_advance(p.id, 'rows', v_next, v_upto, p_now);
END $$;

-- STABLE, as what is inside: then it is inlined, and costs no call a row.
CREATE OR REPLACE FUNCTION orch.us_time(p_us bigint) RETURNS timestamptz LANGUAGE sql STABLE AS $$
  SELECT timestamptz 'epoch' + p_us * interval '1 microsecond'
$$;

-- One batch by itself; what fails, fails. `p_min_at`, `p_max_at`: the times its rows carry; NULL: when they came.
-- -> {"first_row", "rows", "repeated"?}
CREATE OR REPLACE FUNCTION orch.observations_append(p_pipeline text, p_rows int, p_body bytea, p_idempotency_key text,
  p_min_at timestamptz DEFAULT NULL, p_max_at timestamptz DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE v_answer jsonb;
BEGIN
  v_answer := orch.observations_append_many(jsonb_build_array(jsonb_build_object('pipeline', p_pipeline, 'key', p_idempotency_key, 'rows', p_rows,
    'parts', jsonb_build_array(jsonb_build_array(0, octet_length(p_body), p_rows, (extract(epoch FROM p_min_at) * 1000000)::bigint,
      (extract(epoch FROM p_max_at) * 1000000)::bigint, p_min_at IS NULL OR p_max_at IS NULL)))), p_body) -> 0;
  IF v_answer ? 'error' THEN
    PERFORM orch.fail(v_answer #>> '{error,code}', v_answer #>> '{error,message}', v_answer #>> '{error,hint}');
  END IF;
  RETURN v_answer;
END $$;

-- ---------------------------------------------------------------- labels

-- The rows of orch.prediction that a call of observations_append_many makes, in its columns' order. STABLE and plain SQL, so that
-- it is inlined.
CREATE OR REPLACE FUNCTION orch.predictions_of(p_ids bigint[], p_items jsonb, p_first bigint[], p_item int[], p_row int[], p_id text[],
  p_at_us bigint[], p_version int[], p_prediction text[], p_score float8[], p_now timestamptz)
RETURNS TABLE (pipeline_id bigint, id text, number bigint, at timestamptz, version int, prediction text, score float8, received_at timestamptz)
LANGUAGE sql STABLE AS $$
  SELECT i.pipeline_id, x.id, i.first + x.row, CASE WHEN x.at_us IS NULL THEN p_now ELSE least(orch.us_time(x.at_us), p_now) END,
         coalesce(x.version, i.champion), x.prediction, x.score, p_now
  FROM unnest(p_item, p_row, p_id, p_at_us, p_version, p_prediction, p_score) AS x(item, row, id, at_us, version, prediction, score)
  JOIN (SELECT p.id AS pipeline_id, n::int - 1 AS item, p_first[n] AS first, v.number AS champion
        FROM jsonb_array_elements(p_items) WITH ORDINALITY AS e(e, n) JOIN orch.pipeline p ON p.name = e.e ->> 'pipeline'
          LEFT JOIN orch.version v ON v.id = p.champion_id
        WHERE p.id = ANY (p_ids) AND p_first[n] IS NOT NULL) i ON i.item = x.item
$$;

-- Keeps what rows with an id predicted, for pipelines that need labels, and joins the labels that were there first. An id
-- that stands twice keeps its first prediction. A row that names no version was predicted by the champion.
CREATE OR REPLACE FUNCTION orch.predictions_put(p_ids bigint[], p_items jsonb, p_first bigint[], p_item int[], p_row int[], p_id text[],
  p_at_us bigint[], p_version int[], p_prediction text[], p_score float8[], p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  v_id    bigint;
  v_again boolean := false; -- some id was there before
BEGIN
  SELECT array_agg(p.id ORDER BY p.id) INTO p_ids FROM orch.pipeline p WHERE p.id = ANY (p_ids) AND orch.wants_labels(p.id);
  IF p_ids IS NULL THEN RETURN; END IF;
  PERFORM FROM orch.observation_stream WHERE pipeline_id = ANY (p_ids) AND stream = 'labels' ORDER BY pipeline_id FOR UPDATE;
  -- Ids are new, nearly always, and nobody else adds some under this lock: without ON CONFLICT a row costs two thirds. What was
  -- sent before is mostly seen in a few of them; what is not fails, and is done over.
  FOREACH v_id IN ARRAY p_ids LOOP
    FOR k IN 0 .. 7 LOOP -- one at a time: each is a look into the index, whatever is known about the table
      EXIT WHEN v_again;
      v_again := EXISTS (SELECT FROM orch.prediction WHERE pipeline_id = v_id AND id = p_id[1 + k * (cardinality(p_id) - 1) / 7]);
    END LOOP;
  END LOOP;
  IF NOT v_again THEN
    BEGIN
      INSERT INTO orch.prediction (pipeline_id, id, row, at, version, prediction, score, received_at)
        SELECT * FROM orch.predictions_of(p_ids, p_items, p_first, p_item, p_row, p_id, p_at_us, p_version, p_prediction, p_score, p_now);
    EXCEPTION WHEN unique_violation THEN
      v_again := true;
    END;
  END IF;
  IF v_again THEN
    INSERT INTO orch.prediction (pipeline_id, id, row, at, version, prediction, score, received_at)
      SELECT * FROM orch.predictions_of(p_ids, p_items, p_first, p_item, p_row, p_id, p_at_us, p_version, p_prediction, p_score, p_now)
      ON CONFLICT (pipeline_id, id) DO NOTHING;
  END IF;
  FOREACH v_id IN ARRAY p_ids LOOP
    IF EXISTS (SELECT FROM orch.label_waiting WHERE pipeline_id = v_id) THEN
      PERFORM orch.labels_join(v_id, (SELECT array_agg(w.id) FROM orch.label_waiting w JOIN orch.prediction p USING (pipeline_id, id)
        WHERE w.pipeline_id = v_id AND w.id = ANY (p_id)), p_now);
    END IF;
  END LOOP;
END $$;

-- A text as JSON: what looks like a number is one.
CREATE OR REPLACE FUNCTION orch.label_json(p_text text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN p_text IS NULL THEN 'null' WHEN p_text ~ '^-?(0|[1-9][0-9]{0,50})(\.[0-9]{1,50})?([eE][+-]?[0-9]{1,2})?$' AND length(p_text) <= 64
    THEN p_text ELSE to_json(p_text)::text END
$$;

-- Moves the labels of these ids from waiting to the stream `labels`, whose row is locked: each prediction is labelled once.
-- -> how many
CREATE OR REPLACE FUNCTION orch.labels_join(p_pipeline_id bigint, p_ids text[], p_now timestamptz) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
  c_batch CONSTANT int := 1000; -- labels a batch; a line has at most 4 KiB
  v_first bigint;
  v_rows  int;
  v_upto  timestamptz;
BEGIN
  IF p_ids IS NULL THEN RETURN 0; END IF;
  SELECT next_row INTO STRICT v_first FROM orch.observation_stream WHERE pipeline_id = p_pipeline_id AND stream = 'labels';
  WITH label AS (
    DELETE FROM orch.label_waiting WHERE pipeline_id = p_pipeline_id AND id = ANY (p_ids) RETURNING id, label, at
  ), joined AS (
    UPDATE orch.prediction p SET labelled = true FROM label l WHERE p.pipeline_id = p_pipeline_id AND p.id = l.id AND NOT p.labelled
      RETURNING p.*, l.label, l.at AS label_at
  ), numbered AS (
    SELECT j.*, row_number() OVER (ORDER BY j.row) - 1 AS n FROM joined j
  ), batch AS (
    INSERT INTO orch.observation_batch (pipeline_id, stream, first_row, n_rows, received_at, body, min_at, max_at)
      SELECT p_pipeline_id, 'labels', v_first + min(n), count(*), p_now, convert_to(string_agg(format(
        E'{"id":%s,"row":%s,"at":"%s","label_at":"%s","version":%s,"prediction":%s,"score":%s,"label":%s}\n', to_json(id), row, orch.rfc3339(at),
        orch.rfc3339(label_at), coalesce(version::text, 'null'), orch.label_json(prediction), coalesce(score::text, 'null'), orch.label_json(label)),
        '' ORDER BY n), 'UTF8'), min(at), max(at)
      FROM numbered GROUP BY n / c_batch RETURNING n_rows, max_at
  )
  SELECT coalesce(sum(n_rows), 0), max(max_at) INTO v_rows, v_upto FROM batch;
  IF v_rows > 0 THEN
    PERFORM orch.stream_advance(p_pipeline_id, 'labels', v_first + v_rows, v_upto, p_now);
    PERFORM orch.monitors_wake(p_pipeline_id, 'labels');
  END IF;
  RETURN v_rows;
END $$;

-- Takes labels: joins those whose prediction is known, keeps the others waiting for theirs. The first label of an id counts,
-- whatever comes later. `p_at_us`: when the truth was known; NULL: now.
-- -> {"labels", "joined", "waiting", "known", "repeated"?}; known: the id has its label already
CREATE OR REPLACE FUNCTION orch.labels_append(p_pipeline text, p_ids text[], p_labels text[], p_at_us bigint[], p_idempotency_key text DEFAULT NULL)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  v_now    timestamptz := orch.clock();
  v_id     bigint;
  v_known  int;
  v_taken  int;
  v_joined int;
  v_answer jsonb;
BEGIN
  SELECT id INTO v_id FROM orch.pipeline WHERE name = p_pipeline;
  IF NOT FOUND THEN PERFORM orch.fail('OR001', format('no pipeline is named %L', p_pipeline), 'orch pipelines lists them'); END IF;
  IF length(p_idempotency_key) NOT BETWEEN 1 AND 512 THEN PERFORM orch.fail('OR003', 'an idempotency key has 1 to 512 characters'); END IF;
  IF coalesce(cardinality(p_ids), 0) NOT BETWEEN 1 AND 100000 THEN PERFORM orch.fail('OR007', 'labels come in batches of 1 to 100000'); END IF;
  IF NOT orch.wants_labels(v_id) THEN
    PERFORM orch.fail('OR002', format('no monitor of %s uses labels', p_pipeline), 'add a monitor of kind performance to its pipeline.yaml and apply it');
  END IF;
  PERFORM FROM orch.observation_stream WHERE pipeline_id = v_id AND stream = 'labels' FOR UPDATE;
  IF p_idempotency_key IS NOT NULL THEN
    SELECT answer INTO v_answer FROM orch.replay WHERE scope = 'label:' || v_id AND key = p_idempotency_key AND expires_at > v_now;
    IF FOUND THEN RETURN v_answer || '{"repeated": true}'; END IF;
  END IF;
  WITH label AS (
    SELECT DISTINCT ON (x.id) x.id, x.label, least(orch.us_time(x.at_us), v_now) AS at
    FROM unnest(p_ids, p_labels, p_at_us) WITH ORDINALITY AS x(id, label, at_us, n) ORDER BY x.id, x.n
  ), taken AS (
    INSERT INTO orch.label_waiting (pipeline_id, id, label, at, received_at)
      SELECT v_id, l.id, l.label, coalesce(l.at, v_now), v_now FROM label l
      WHERE NOT EXISTS (SELECT FROM orch.prediction p WHERE p.pipeline_id = v_id AND p.id = l.id AND p.labelled)
    ON CONFLICT (pipeline_id, id) DO NOTHING RETURNING 1
  )
  SELECT count(*) INTO v_taken FROM taken;
  v_known := cardinality(p_ids) - v_taken;
  v_joined := orch.labels_join(v_id, (SELECT array_agg(p.id) FROM orch.prediction p JOIN orch.label_waiting w USING (pipeline_id, id)
    WHERE p.pipeline_id = v_id AND p.id = ANY (p_ids)), v_now);
  v_answer := jsonb_build_object('labels', cardinality(p_ids), 'joined', v_joined, 'waiting', v_taken - v_joined, 'known', v_known);
  IF p_idempotency_key IS NOT NULL THEN
    INSERT INTO orch.replay (scope, key, answer, expires_at) VALUES ('label:' || v_id, p_idempotency_key, v_answer, v_now + interval '24 hours')
      ON CONFLICT (scope, key) DO UPDATE SET answer = excluded.answer, expires_at = excluded.expires_at;
  END IF;
  RETURN v_answer;
END $$;

-- Takes many requests' labels in one transaction; what one of them is refused for is its own affair.
--   p_items   [{"pipeline", "key"?, "labels"}, …]: whose labels, and how many; they lie one after another in the arrays
-- -> one answer an item: as labels_append, or {"error": {"code", "message", "hint"?}}
CREATE OR REPLACE FUNCTION orch.labels_append_many(p_items jsonb, p_ids text[], p_labels text[], p_at_us bigint[]) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  v_answers jsonb := '[]';
  v_from    int := 1;
  v_to      int;
  v_code    text;
  v_message text;
  v_hint    text;
  i         record;
BEGIN
  IF jsonb_array_length(p_items) > 1000 THEN PERFORM orch.fail('OR007', 'labels come from at most 1000 requests at a time'); END IF;
  PERFORM FROM orch.observation_stream WHERE stream = 'labels' AND pipeline_id IN
    (SELECT p.id FROM jsonb_array_elements(p_items) e JOIN orch.pipeline p ON p.name = e ->> 'pipeline') ORDER BY pipeline_id FOR UPDATE;
  FOR i IN SELECT e ->> 'pipeline' AS pipeline, e ->> 'key' AS key, (e ->> 'labels')::int AS labels
           FROM jsonb_array_elements(p_items) WITH ORDINALITY AS x(e, n) ORDER BY n LOOP
    v_to := v_from + i.labels - 1;
    BEGIN
      v_answers := v_answers || orch.labels_append(i.pipeline, p_ids[v_from:v_to], p_labels[v_from:v_to], p_at_us[v_from:v_to], i.key);
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS v_code = RETURNED_SQLSTATE, v_message = MESSAGE_TEXT, v_hint = PG_EXCEPTION_HINT;
      IF v_code NOT LIKE 'OR%' THEN RAISE; END IF;
      v_answers := v_answers || jsonb_build_object('error', jsonb_strip_nulls(jsonb_build_object('code', v_code, 'message', v_message,
        'hint', nullif(v_hint, ''))));
    END;
    v_from := v_to + 1;
  END LOOP;
  RETURN v_answers;
END $$;

-- ---------------------------------------------------------------- forgetting

-- The part of housekeeping that is about rows and labels; bounded a call. -> counts
CREATE OR REPLACE FUNCTION orch.observations_forget() RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  c_passed      CONSTANT interval := '7 days';  -- rows that every monitor has passed
  c_unwatched   CONSTANT interval := '30 days'; -- rows that nobody looks at
  c_predictions CONSTANT interval := '90 days'; -- how late a label may come
  c_kept        CONSTANT bigint := 20000000;    -- and for how many rows of a pipeline at most
  c_waiting     CONSTANT interval := '30 days'; -- how long a label waits for its prediction
  c_waiting_max CONSTANT int := 1000000;        -- and how many of a pipeline wait at most; beyond, the oldest go
  v_now         timestamptz := orch.clock();    -- read once: a condition with a volatile function cannot use an index
  v_batches     bigint;
  v_predictions bigint := 0;
  v_labels      bigint;
  v_gone        bigint;
  s             record;
BEGIN
  WITH passed AS (
    SELECT x.pipeline_id, x.stream, min(orch.monitor_passed(m)) AS upto FROM orch.observation_stream x
      LEFT JOIN orch.monitor m ON m.pipeline_id = x.pipeline_id AND m.stream = x.stream AND m.active AND m.version_id IS NOT NULL
    GROUP BY x.pipeline_id, x.stream
  ), gone AS (
    DELETE FROM orch.observation_batch b WHERE (b.pipeline_id, b.stream, b.first_row) IN (
      SELECT x.pipeline_id, x.stream, x.first_row FROM orch.observation_batch x JOIN passed USING (pipeline_id, stream)
      WHERE x.received_at < v_now - c_passed
        AND (x.first_row + x.n_rows <= passed.upto OR x.received_at < v_now - c_unwatched) LIMIT 2000) RETURNING 1)
    SELECT count(*) INTO v_batches FROM gone;
  -- A pipeline's predictions come in the order of its rows, so the first are the oldest.
  FOR s IN SELECT x.pipeline_id, x.next_row FROM orch.observation_stream x WHERE x.stream = 'rows'
           AND EXISTS (SELECT FROM orch.prediction p WHERE p.pipeline_id = x.pipeline_id) LOOP
    EXIT WHEN v_predictions >= 200000;
    WITH gone AS (
      DELETE FROM orch.prediction p WHERE p.pipeline_id = s.pipeline_id AND p.id IN (
        SELECT o.id FROM (SELECT x.id, x.row, x.received_at FROM orch.prediction x WHERE x.pipeline_id = s.pipeline_id ORDER BY x.row LIMIT 50000) o
        WHERE o.received_at < v_now - c_predictions OR o.row < s.next_row - c_kept) RETURNING 1)
      SELECT count(*) INTO v_gone FROM gone;
    v_predictions := v_predictions + v_gone;
  END LOOP;
  WITH gone AS (DELETE FROM orch.label_waiting w WHERE (w.pipeline_id, w.id) IN (
      SELECT x.pipeline_id, x.id FROM orch.label_waiting x WHERE x.received_at < v_now - c_waiting ORDER BY x.received_at LIMIT 50000) RETURNING 1)
    SELECT count(*) INTO v_labels FROM gone;
  FOR s IN SELECT pipeline_id, count(*) - c_waiting_max AS n FROM orch.label_waiting GROUP BY pipeline_id HAVING count(*) > c_waiting_max LOOP
    DELETE FROM orch.label_waiting w WHERE w.pipeline_id = s.pipeline_id AND w.id IN (
      SELECT x.id FROM orch.label_waiting x WHERE x.pipeline_id = s.pipeline_id ORDER BY x.received_at LIMIT s.n);
    v_labels := v_labels + s.n;
  END LOOP;
  RETURN jsonb_build_object('observation_batches', v_batches, 'predictions', v_predictions, 'labels_waiting', v_labels);
END $$;
