-- Incidents: several pipelines that share something fire together, so the cause is what they share and not each model.
-- Their proposals wait for one answer of a person.

-- The rule in force: orch.yaml's `cascade`, or three pipelines within an hour. NULL: turned off.
CREATE OR REPLACE FUNCTION orch.cascade_rule() RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE v jsonb := orch.server_config_current() -> 'cascade';
BEGIN
  IF v ->> 'off' = 'true' THEN RETURN NULL; END IF;
  RETURN '{"pipelines": 3, "within_ms": 3600000, "share": ["owner", "data", "column"]}'
         || CASE WHEN jsonb_typeof(v) = 'object' THEN v ELSE '{}' END;
END $$;

-- Two pipelines that fire in the same instant must see each other: whoever decides about a signal of drift holds this
-- lock until its decision is visible. It comes after the pipelines' rows.
CREATE OR REPLACE FUNCTION orch.cascade_lock() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('orch.cascade'));
END $$;

-- What a signal has that another pipeline's may have too. The owner; the columns that drifted (of inputs: outputs are
-- called alike everywhere); the data: what the pipeline names as its source (a query's server, a command's words, each
-- with the name that the pipeline gives it), and the very bytes that its champion was trained on. A file's path is no
-- source: it lies in the pipeline's own folder.
CREATE OR REPLACE FUNCTION orch.signal_shares(s orch.signal) RETURNS text[] LANGUAGE plpgsql STABLE AS $$
DECLARE
  p      orch.pipeline;
  v_data jsonb := orch.current_spec(s.pipeline_id) -> 'data';
BEGIN
  SELECT * INTO STRICT p FROM orch.pipeline WHERE id = s.pipeline_id;
  RETURN ARRAY['owner:' || left(p.owner, 200)] || ARRAY(
      SELECT DISTINCT 'data:' || left(d.said, 200) FROM (
        SELECT CASE WHEN x ? 'sql' THEN (x ->> 'name') || ' (sql ' || coalesce(x #>> '{sql,url_env}', x ->> 'url_env', '?') || ')'
                    WHEN jsonb_typeof(x -> 'command') = 'array' THEN (x ->> 'name') || ' (command '
                      || (SELECT string_agg(w, ' ' ORDER BY o) FROM jsonb_array_elements_text(x -> 'command') WITH ORDINALITY t(w, o)) || ')'
               END AS said
        FROM jsonb_array_elements(CASE WHEN jsonb_typeof(v_data) = 'array' THEN v_data ELSE '[]' END) x
        UNION ALL
        SELECT 'the bytes ' || left(n.digest, 19) FROM orch.snapshot n JOIN orch.version v ON v.proposal_id = n.proposal_id
        WHERE v.id = p.champion_id) d WHERE d.said <> '')
    || CASE WHEN s.kind = 'drift' AND jsonb_typeof(s.detail -> 'columns') = 'array' THEN ARRAY(
      SELECT DISTINCT 'column:' || left(c ->> 'name', 200) FROM (SELECT * FROM jsonb_array_elements(s.detail -> 'columns') LIMIT 100) t(c)
      WHERE coalesce(c ->> 'name', '') <> '') ELSE '{}' END;
END $$;

-- What of it the rule looks at.
CREATE OR REPLACE FUNCTION orch.cascade_shares(s orch.signal, p_rule jsonb) RETURNS text[] LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN ARRAY(SELECT x FROM unnest(s.shares) x WHERE p_rule -> 'share' ? split_part(x, ':', 1));
END $$;

-- The largest group that this signal makes with those of other pipelines which began within the window and still fire,
-- if it is large enough for the rule: what they share, and their ids. What a person has released does not count again.
CREATE OR REPLACE FUNCTION orch.cascade_group(s orch.signal, p_rule jsonb)
RETURNS TABLE (shared text, signals bigint[]) LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_mine CONSTANT text[] := orch.cascade_shares(s, p_rule);
  v_from CONSTANT timestamptz := s.first_at - orch.ms_interval((p_rule ->> 'within_ms')::bigint);
  v_to   CONSTANT timestamptz := s.first_at + orch.ms_interval((p_rule ->> 'within_ms')::bigint);
BEGIN
  RETURN QUERY
  SELECT x, array_agg(DISTINCT o.id) FROM orch.signal o, unnest(o.shares) x
  WHERE o.status = 'firing' AND o.first_at BETWEEN v_from AND v_to AND o.shares && v_mine AND x = ANY (v_mine)
    AND o.pipeline_id <> s.pipeline_id AND orch.signal_is_drift(o.kind) AND NOT orch.incident_has_released(o.id)
  GROUP BY x HAVING count(DISTINCT o.pipeline_id) + 1 >= (p_rule ->> 'pipelines')::int
  ORDER BY count(DISTINCT o.pipeline_id) DESC, array_position(ARRAY['data', 'column', 'owner'], split_part(x, ':', 1)), x LIMIT 1;
END $$;

-- Whether a person let this signal go its way.
CREATE OR REPLACE FUNCTION orch.incident_has_released(p_signal_id bigint) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN EXISTS (SELECT FROM orch.incident_member m JOIN orch.incident i ON i.id = m.incident_id
                 WHERE m.signal_id = p_signal_id AND i.state = 'released');
END $$;

-- Why a signal proposes nothing more in this episode, or NULL: a person dismissed an incident that it was in.
CREATE OR REPLACE FUNCTION orch.incident_dismissal(p_signal_id bigint) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (SELECT format('incident %s was dismissed by %s: %s', i.id, i.closed_by, i.close_reason)
          FROM orch.incident_member m JOIN orch.incident i ON i.id = m.incident_id
          WHERE m.signal_id = p_signal_id AND i.state = 'dismissed' ORDER BY i.id DESC LIMIT 1);
END $$;

-- Puts a signal of drift into the open incident that it shares something with, or, when it would propose (p_would_propose)
-- and enough others fire with it, opens one. -> the incident in which it waits, or NULL. The cascade lock is held.
-- Signals of other pipelines become members and are not touched: each is changed under its own pipeline's lock alone.
CREATE OR REPLACE FUNCTION orch.incident_join(p_signal_id bigint, p_would_propose boolean) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  s      orch.signal;
  i      orch.incident;
  g      record;
  v_rule jsonb := orch.cascade_rule();
  v_new  boolean := false;
  v_now  timestamptz := orch.clock();
BEGIN
  SELECT * INTO STRICT s FROM orch.signal WHERE id = p_signal_id;
  IF NOT orch.signal_is_drift(s.kind) OR orch.incident_has_released(s.id) THEN RETURN NULL; END IF;
  -- What waits goes on waiting when the rule is turned off or changed: only a person ends that.
  SELECT x.* INTO i FROM orch.incident x WHERE x.id = s.incident_id AND x.state = 'open';
  IF NOT FOUND AND v_rule IS NOT NULL THEN
    SELECT x.* INTO i FROM orch.incident x WHERE x.state = 'open' AND x.share || ':' || x.value = ANY (orch.cascade_shares(s, v_rule))
      ORDER BY x.id LIMIT 1;
    IF NOT FOUND AND p_would_propose THEN
      SELECT * INTO g FROM orch.cascade_group(s, v_rule);
      IF FOUND THEN
        INSERT INTO orch.incident (share, value, state, rule, opened_at)
          VALUES (split_part(g.shared, ':', 1), substr(g.shared, strpos(g.shared, ':') + 1), 'open', v_rule, v_now)
          RETURNING * INTO i;
        INSERT INTO orch.incident_member (incident_id, pipeline_id, signal_id, proposal_id, joined_at)
          SELECT i.id, o.pipeline_id, o.id, o.proposal_id, v_now FROM orch.signal o WHERE o.id = ANY (g.signals) ORDER BY o.id;
        v_new := true;
      END IF;
    END IF;
  END IF;
  IF i.id IS NULL THEN RETURN NULL; END IF;
  INSERT INTO orch.incident_member (incident_id, pipeline_id, signal_id, proposal_id, joined_at)
    VALUES (i.id, s.pipeline_id, s.id, s.proposal_id, v_now)
    ON CONFLICT (incident_id, signal_id) DO UPDATE SET proposal_id = excluded.proposal_id
      WHERE orch.incident_member.proposal_id IS NULL AND excluded.proposal_id IS NOT NULL;
  IF p_would_propose THEN UPDATE orch.signal SET incident_id = i.id WHERE id = s.id AND incident_id IS DISTINCT FROM i.id; END IF;
  IF v_new THEN PERFORM orch.emit('incident.opened', NULL, NULL, orch.doc_incident(i)); END IF;
  RETURN i.id;
END $$;

-- '4 pipelines of pricing-team fired within 1 h'
CREATE OR REPLACE FUNCTION orch.incident_words(p_id bigint) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (
      SELECT format('%s pipelines %s fired within %s', (SELECT count(DISTINCT m.pipeline_id) FROM orch.incident_member m WHERE m.incident_id = i.id),
        CASE i.share WHEN 'owner' THEN 'of ' || i.value WHEN 'data' THEN 'that read ' || i.value ELSE 'that watch ' || i.value END,
        orch.words_ms((i.rule ->> 'within_ms')::bigint))
      FROM orch.incident i WHERE i.id = p_id
  );
END $$;

-- A duration for people, in its largest whole unit: '90 min', '1 h', '2 d'.
CREATE OR REPLACE FUNCTION orch.words_ms(p_ms bigint) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN CASE WHEN p_ms >= 86400000 AND p_ms % 86400000 = 0 THEN p_ms / 86400000 || ' d'
              WHEN p_ms >= 3600000 AND p_ms % 3600000 = 0 THEN p_ms / 3600000 || ' h'
              WHEN p_ms >= 60000 AND p_ms % 60000 = 0 THEN p_ms / 60000 || ' min'
              WHEN p_ms % 1000 = 0 THEN p_ms / 1000 || ' s' ELSE p_ms || ' ms' END;
END $$;

-- ---------------------------------------------------------------- how one ends

-- Closes an open incident and tells everybody. The cascade lock is held.
CREATE OR REPLACE FUNCTION orch.incident_close(p_id bigint, p_state text, p_reason text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  i     orch.incident;
  v_doc jsonb;
BEGIN
  UPDATE orch.incident SET state = p_state, closed_at = orch.clock(), closed_by = orch.actor(), close_reason = p_reason
    WHERE id = p_id RETURNING * INTO STRICT i;
  v_doc := orch.doc_incident(i);
  PERFORM orch.emit('incident.closed', NULL, NULL, v_doc || jsonb_build_object('by', i.closed_by, 'reason', i.close_reason));
  RETURN v_doc;
END $$;

-- A signal that has resolved leaves its incident; when nothing of an incident fires any more, it is over by itself.
CREATE OR REPLACE FUNCTION orch.incident_settle() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE r record;
BEGIN
  FOR r IN SELECT i.id FROM orch.incident_member m JOIN orch.incident i ON i.id = m.incident_id
           WHERE m.signal_id = NEW.id AND i.state = 'open' ORDER BY i.id LOOP
    PERFORM orch.cascade_lock();
    -- A new statement: it sees what was decided while this one waited for the lock.
    IF EXISTS (SELECT FROM orch.incident WHERE id = r.id AND state = 'open') AND NOT EXISTS (
        SELECT FROM orch.incident_member m JOIN orch.signal s ON s.id = m.signal_id
        WHERE m.incident_id = r.id AND s.status = 'firing') THEN
      PERFORM orch.incident_close(r.id, 'resolved', 'nothing of it fires any more');
    END IF;
  END LOOP;
  RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER incident_settle AFTER UPDATE OF status ON orch.signal FOR EACH ROW
  WHEN (OLD.status = 'firing' AND NEW.status = 'resolved') EXECUTE FUNCTION orch.incident_settle();

-- What release and dismiss share: locks in order, and the refusal when somebody was faster.
CREATE OR REPLACE FUNCTION orch.incident_take(p_id bigint, p_reason text, p_actor text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE i orch.incident;
BEGIN
  PERFORM orch.act(p_actor);
  IF coalesce(trim(p_reason), '') = '' THEN
    PERFORM orch.fail('OR003', 'an answer to an incident needs a reason', 'the owners of its pipelines will read it');
  END IF;
  PERFORM orch.check_length(trim(p_reason), 'the reason', 2000);
  PERFORM FROM orch.pipeline WHERE id IN (SELECT pipeline_id FROM orch.incident_member WHERE incident_id = p_id)
    ORDER BY id FOR NO KEY UPDATE;
  PERFORM orch.cascade_lock();
  SELECT * INTO i FROM orch.incident WHERE id = p_id;
  IF NOT FOUND THEN PERFORM orch.fail('OR001', format('there is no incident %s', p_id), 'orch incidents lists them'); END IF;
  IF i.state <> 'open' THEN
    PERFORM orch.fail('OR002', format('incident %s was %s by %s at %s: %s', i.id, i.state, i.closed_by, orch.rfc3339(i.closed_at), i.close_reason));
  END IF;
END $$;

-- Lets what waits go its way: each signal is looked at again at once, and its pipeline's own brakes (a hold, a fault, the
-- cooldown, the budget) still hold. -> the incident
CREATE OR REPLACE FUNCTION orch.incident_release(p_id bigint, p_reason text, p_actor text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE v_doc jsonb;
BEGIN
  PERFORM orch.incident_take(p_id, p_reason, p_actor);
  v_doc := orch.incident_close(p_id, 'released', trim(p_reason));
  -- A member that has joined since the pipelines were locked may be in somebody's hands; they find the incident closed.
  UPDATE orch.signal SET reconsider_at = orch.clock() WHERE id IN (SELECT id FROM orch.signal
    WHERE incident_id = p_id AND status = 'firing' AND disposition = 'held' FOR NO KEY UPDATE SKIP LOCKED);
  RETURN v_doc;
END $$;

-- Ends the wait without a retraining: what waits is recorded, and proposes nothing until it fires anew. -> the incident
CREATE OR REPLACE FUNCTION orch.incident_dismiss(p_id bigint, p_reason text, p_actor text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE v_doc jsonb;
BEGIN
  PERFORM orch.incident_take(p_id, p_reason, p_actor);
  v_doc := orch.incident_close(p_id, 'dismissed', trim(p_reason));
  UPDATE orch.signal SET disposition = 'recorded', reconsider_at = NULL, held_reason = orch.incident_dismissal(id)
    WHERE id IN (SELECT s.id FROM orch.signal s JOIN orch.incident_member m ON m.signal_id = s.id
      WHERE m.incident_id = p_id AND s.status = 'firing' AND s.disposition = 'held' FOR NO KEY UPDATE OF s SKIP LOCKED);
  RETURN v_doc;
END $$;

-- ---------------------------------------------------------------- reading

-- {"incident", "share", "value", "state", "summary", "rule", "opened_at", "closed_at", "closed_by", "close_reason",
--  "pipelines": [names], "waiting": signals that wait, "asks": [owners], "members": [≤ 200]}
CREATE OR REPLACE FUNCTION orch.doc_incident(i orch.incident) RETURNS jsonb LANGUAGE sql STABLE AS $$
  WITH m AS (
    SELECT x.joined_at, x.proposal_id AS member_proposal, p.name, p.owner, s.id, s.kind, s.title, s.status, s.disposition, s.held_reason,
           s.first_at, q.state AS proposal_state,
           s.status = 'firing' AND s.disposition = 'held' AND s.incident_id = i.id AND i.state = 'open' AS waits
    FROM orch.incident_member x JOIN orch.signal s ON s.id = x.signal_id JOIN orch.pipeline p ON p.id = x.pipeline_id
      LEFT JOIN orch.proposal q ON q.id = x.proposal_id WHERE x.incident_id = i.id
  )
  SELECT jsonb_build_object('incident', i.id, 'share', i.share, 'value', i.value, 'state', i.state, 'summary', orch.incident_words(i.id),
    'rule', i.rule, 'opened_at', orch.rfc3339(i.opened_at), 'closed_at', orch.rfc3339(i.closed_at), 'closed_by', i.closed_by,
    'close_reason', i.close_reason, 'pipelines', (SELECT coalesce(jsonb_agg(DISTINCT m.name), '[]') FROM m),
    'waiting', (SELECT count(*) FROM m WHERE waits), 'firing', (SELECT count(*) FROM m WHERE status = 'firing'),
    'asks', (SELECT coalesce(jsonb_agg(DISTINCT m.owner), '[]') FROM m),
    'members', (SELECT coalesce(jsonb_agg(jsonb_build_object('pipeline', f.name, 'signal', f.id, 'kind', f.kind, 'title', f.title,
        'status', f.status, 'since', orch.rfc3339(f.first_at), 'joined_at', orch.rfc3339(f.joined_at), 'disposition', f.disposition,
        'waits', f.waits, 'held_reason', f.held_reason, 'proposal', f.member_proposal, 'proposal_state', f.proposal_state)
      ORDER BY f.waits DESC, f.name, f.id), '[]') FROM (SELECT * FROM m ORDER BY waits DESC, name, id LIMIT 200) f))
$$;

CREATE OR REPLACE FUNCTION orch.api_incident(p_id bigint) RETURNS jsonb LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE i orch.incident;
BEGIN
  SELECT * INTO i FROM orch.incident WHERE id = p_id;
  IF NOT FOUND THEN PERFORM orch.fail('OR001', format('there is no incident %s', p_id), 'orch incidents lists them'); END IF;
  RETURN orch.doc_incident(i);
END $$;

-- p_filter: {state?, pipeline?, limit?, after?}; newest first, without their members.
CREATE OR REPLACE FUNCTION orch.api_incidents(p_filter jsonb DEFAULT '{}') RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = orch, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
  v_limit    int := orch.page_limit(p_filter);
  v_after    bigint := orch.page_after(p_filter);
  v_pipeline bigint := orch.page_pipeline(p_filter);
  v_state    text := orch.page_word(p_filter, 'state', ARRAY['open', 'released', 'dismissed', 'resolved']);
BEGIN
  RETURN (
    WITH page AS (
      SELECT i FROM orch.incident i
      WHERE (v_state IS NULL OR i.state = v_state) AND i.id < v_after AND (v_pipeline IS NULL OR EXISTS (
        SELECT FROM orch.incident_member m WHERE m.incident_id = i.id AND m.pipeline_id = v_pipeline))
      ORDER BY i.id DESC LIMIT v_limit)
    SELECT jsonb_build_object('incidents', coalesce(jsonb_agg(orch.doc_incident(i) - 'members' ORDER BY (i).id DESC), '[]'),
      'next', CASE WHEN count(*) = v_limit THEN min((i).id) END) FROM page);
END $$;
