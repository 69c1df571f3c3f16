-- Monitors that ask another system: claimed when they are due, answered by whoever asked, exactly once.

-- When a probe must be looked at next, from now on; spread a little, so that a thousand of them do not ask together.
CREATE OR REPLACE FUNCTION orch.probe_next(p_every_ms bigint) RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN
  RETURN orch.clock() + orch.ms_interval((p_every_ms * (0.95 + 0.1 * random()))::bigint);
END $$;

-- A probe is due as soon as it is there, or asks something else; its old lease and memory are of the old question.
CREATE OR REPLACE FUNCTION orch.probe_begins() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' OR NEW.spec IS DISTINCT FROM OLD.spec OR NEW.active IS DISTINCT FROM OLD.active THEN
    NEW.due_at := CASE WHEN NEW.active THEN orch.clock() END;
    NEW.lease := NULL; NEW.lease_until := NULL; NEW.state := '{}';
    NEW.every_ms := coalesce(NEW.every_ms, (NEW.spec ->> 'every_ms')::bigint, 60000);
  END IF;
  RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER probe_begins BEFORE INSERT OR UPDATE OF spec, active ON orch.monitor
  FOR EACH ROW WHEN (NEW.kind IN ('prometheus', 'sql')) EXECUTE FUNCTION orch.probe_begins();

-- Hands out due probes with a lease. `settings`: what orch.yaml says about the other systems: {"prometheus", "warehouses"}.
CREATE OR REPLACE FUNCTION orch.probe_claim(p_owner text, p_lease_ms bigint, p_limit int)
RETURNS TABLE (monitor_id bigint, lease bigint, pipeline text, spec jsonb, state jsonb, settings jsonb, asked_at text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
#variable_conflict use_column
DECLARE
  v_now    timestamptz := orch.clock();
  v_config jsonb := orch.server_config_current();
BEGIN
  RETURN QUERY
  WITH due AS (
    SELECT m.id FROM orch.monitor m WHERE m.runner = 'probe' AND m.active AND m.due_at <= v_now
      AND (m.lease_until IS NULL OR m.lease_until <= v_now)
    ORDER BY m.due_at, m.id LIMIT p_limit FOR UPDATE SKIP LOCKED
  ), taken AS (
    UPDATE orch.monitor m SET lease = nextval('orch.monitor_lease'), lease_owner = p_owner,
      lease_until = v_now + orch.ms_interval(p_lease_ms) FROM due WHERE m.id = due.id RETURNING m.*
  )
  SELECT t.id, t.lease, p.name, t.spec, t.state,
    jsonb_build_object('prometheus', v_config -> 'prometheus', 'warehouses', coalesce(v_config -> 'warehouses', '[]')),
    orch.rfc3339(v_now)
  FROM taken t JOIN orch.pipeline p ON p.id = t.pipeline_id ORDER BY t.id;
END $$;

-- Records one look: the result as a window of its own, the memory, the signals, and when to look again, in one
-- transaction. OR004 when the lease passed on, or the monitor changed meanwhile (its lease was taken away then).
CREATE OR REPLACE FUNCTION orch.probe_report(p_monitor_id bigint, p_lease bigint, p_result jsonb, p_state jsonb, p_signals jsonb)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  p     orch.pipeline;
  m     orch.monitor;
  v_out jsonb := '[]';
  s     jsonb;
BEGIN
  SELECT * INTO m FROM orch.monitor WHERE id = p_monitor_id;
  IF NOT FOUND THEN PERFORM orch.fail('OR001', format('there is no monitor %s', p_monitor_id)); END IF;
  PERFORM orch.act('monitor:' || m.name);
  p := orch.pipeline_lock_id(m.pipeline_id);
  SELECT * INTO STRICT m FROM orch.monitor WHERE id = p_monitor_id FOR UPDATE;
  IF m.lease IS DISTINCT FROM p_lease OR NOT m.active THEN
    PERFORM orch.fail('OR004', format('the look of monitor %s is not ours any more', m.name));
  END IF;
  INSERT INTO orch.monitor_window (monitor_id, number, from_at, to_at, rows, version_id, verdict, result, closed_at)
    VALUES (m.id, m.number + 1, orch.take_time(p_result ->> 'from_at', 'from_at'), orch.take_time(p_result ->> 'to_at', 'to_at'),
            coalesce((p_result ->> 'rows')::bigint, 0), m.version_id, p_result ->> 'verdict', p_result - 'series', orch.clock());
  UPDATE orch.monitor SET number = m.number + 1, state = p_state, latest = p_result || jsonb_build_object('number', m.number + 1),
    due_at = orch.probe_next(m.every_ms), lease = NULL, lease_owner = NULL, lease_until = NULL WHERE id = m.id;
  FOR s IN SELECT jsonb_array_elements(coalesce(p_signals, '[]')) LOOP
    v_out := v_out || jsonb_build_array(orch.signal_take(p, s));
  END LOOP;
  RETURN jsonb_build_object('recorded', true, 'dispositions', v_out);
END $$;
