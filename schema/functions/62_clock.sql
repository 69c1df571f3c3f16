-- Monitors that look at the clock alone: schedules (cron times in a zone) and volume (no rows for too long).

-- ---------------------------------------------------------------- cron times

-- The moment of a wall-clock time in a zone. A time that happens twice (the clock is set back) is the first of the two; a
-- time that does not exist (the clock is set forward over it) is the moment after the gap.
CREATE OR REPLACE FUNCTION orch.wall_moment(p_wall timestamp, p_zone text) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_guess  timestamptz := p_wall AT TIME ZONE p_zone;
  -- What the zone's clock showed a day before and will show a day after, against UTC. Transitions lie further apart.
  v_before interval := ((v_guess - interval '25 hours') AT TIME ZONE p_zone) - ((v_guess - interval '25 hours') AT TIME ZONE 'UTC');
  v_after  interval := ((v_guess + interval '25 hours') AT TIME ZONE p_zone) - ((v_guess + interval '25 hours') AT TIME ZONE 'UTC');
  v_early  timestamptz := (p_wall - greatest(v_before, v_after)) AT TIME ZONE 'UTC';
  v_late   timestamptz := (p_wall - least(v_before, v_after)) AT TIME ZONE 'UTC';
  v_middle timestamptz;
BEGIN
  IF v_early AT TIME ZONE p_zone = p_wall THEN RETURN v_early; END IF;
  IF v_late AT TIME ZONE p_zone = p_wall THEN RETURN v_late; END IF;
  -- The gap lies between the two, where the offset changes; to the second.
  WHILE v_late - v_early > interval '1 second' LOOP
    v_middle := date_trunc('second', v_early + (v_late - v_early) / 2);
    IF v_middle AT TIME ZONE p_zone - v_middle AT TIME ZONE 'UTC' = v_before THEN v_early := v_middle; ELSE v_late := v_middle; END IF;
  END LOOP;
  RETURN v_late;
END $$;

-- The first fire after p_after, or NULL when there is none within nine years (29 February is rare around 2100).
-- p_cron as conf/cron.h writes it. Both day fields, as in crontab(5): when both are restricted either may match, otherwise
-- both must. Daylight saving: with fixed hours a time that does not exist fires once, at the moment after the gap, and one
-- that happens twice fires once; when every hour matches, each real hour fires, so one in the year not and one twice.
CREATE OR REPLACE FUNCTION orch.cron_next(p_cron jsonb, p_after timestamptz) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_zone    CONSTANT text := coalesce(p_cron ->> 'zone', 'UTC');
  v_minutes int[];
  v_hours   int[];
  v_days    int[];
  v_months  int[];
  v_weekdays int[];
  v_both    CONSTANT boolean := coalesce((p_cron ->> 'day_any')::boolean, false) OR coalesce((p_cron ->> 'weekday_any')::boolean, false);
  v_local   timestamp;
  v_date    date;
  v_first   date;
  v_month   int;
  v_at      timestamptz;
  v_on      boolean;
BEGIN
  SELECT array_agg(x::int ORDER BY x::int) INTO v_minutes FROM jsonb_array_elements_text(p_cron -> 'minute') x;
  SELECT array_agg(x::int ORDER BY x::int) INTO v_hours FROM jsonb_array_elements_text(p_cron -> 'hour') x;
  SELECT array_agg(x::int) INTO v_days FROM jsonb_array_elements_text(p_cron -> 'day') x;
  SELECT array_agg(x::int) INTO v_months FROM jsonb_array_elements_text(p_cron -> 'month') x;
  SELECT array_agg(x::int) INTO v_weekdays FROM jsonb_array_elements_text(p_cron -> 'weekday') x;
  IF v_minutes IS NULL OR v_hours IS NULL OR v_days IS NULL OR v_months IS NULL OR v_weekdays IS NULL THEN
    PERFORM orch.fail('OR003', 'a schedule needs minute, hour, day, month and weekday');
  END IF;
  BEGIN
    v_local := p_after AT TIME ZONE v_zone;
  EXCEPTION WHEN invalid_parameter_value THEN
    PERFORM orch.fail('OR003', format('the database knows no time zone %L', v_zone), 'name it as in Europe/Berlin');
  END;
  -- A time of the day before may fire after a gap that lies between.
  v_first := v_local::date - 1;
  v_date := v_first;
  WHILE v_date < v_first + 3290 LOOP
    v_month := extract(month FROM v_date);
    IF NOT v_month = ANY (v_months) THEN
      v_date := (date_trunc('month', v_date) + interval '1 month')::date;
      CONTINUE;
    END IF;
    v_on := CASE WHEN v_both THEN extract(day FROM v_date)::int = ANY (v_days) AND extract(dow FROM v_date)::int = ANY (v_weekdays)
                 ELSE extract(day FROM v_date)::int = ANY (v_days) OR extract(dow FROM v_date)::int = ANY (v_weekdays) END;
    IF v_on THEN
      v_at := CASE WHEN cardinality(v_hours) = 24 THEN orch.cron_day_real(v_date, v_minutes, v_zone, p_after)
                   ELSE orch.cron_day_fixed(v_date, v_hours, v_minutes, v_zone, p_after) END;
      IF v_at IS NOT NULL THEN RETURN v_at; END IF;
    END IF;
    v_date := v_date + 1;
  END LOOP;
  RETURN NULL;
END $$;

-- The first fire of a day after p_after with fixed hours, or NULL.
CREATE OR REPLACE FUNCTION orch.cron_day_fixed(p_date date, p_hours int[], p_minutes int[], p_zone text, p_after timestamptz)
RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_at timestamptz;
  h    int;
  m    int;
BEGIN
  FOREACH h IN ARRAY p_hours LOOP
    FOREACH m IN ARRAY p_minutes LOOP
      v_at := orch.wall_moment(p_date + make_time(h, m, 0), p_zone);
      IF v_at > p_after THEN RETURN v_at; END IF;
    END LOOP;
  END LOOP;
  RETURN NULL;
END $$;

-- The first fire of a day after p_after when every hour matches: minute after minute as they really pass, or NULL.
CREATE OR REPLACE FUNCTION orch.cron_day_real(p_date date, p_minutes int[], p_zone text, p_after timestamptz)
RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_at    timestamptz := greatest(orch.wall_moment(p_date::timestamp, p_zone), date_trunc('minute', p_after) + interval '1 minute');
  v_local timestamp;
BEGIN
  LOOP
    v_local := v_at AT TIME ZONE p_zone;
    IF v_local::date <> p_date THEN RETURN NULL; END IF;
    IF extract(minute FROM v_local)::int = ANY (p_minutes) THEN RETURN v_at; END IF;
    v_at := v_at + interval '1 minute';
  END LOOP;
END $$;

-- ---------------------------------------------------------------- when somebody must look

-- Since when a stream has been silent: its last row, or, while none has come, since the champion is live; NULL without one.
CREATE OR REPLACE FUNCTION orch.silent_since(m orch.monitor) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (
      SELECT greatest(l.since, o.last_at) FROM orch.pipeline p JOIN orch.live_period l ON l.deployment_id = p.champion_deployment_id
        LEFT JOIN orch.observation_stream o ON o.pipeline_id = p.id AND o.stream = m.stream
      WHERE p.id = m.pipeline_id AND p.champion_id IS NOT NULL
  );
END $$;

-- When a monitor of the clock must be looked at next. A schedule keeps the time that it waits for; volume looks when the
-- silence would be too long, and once in a silence while nothing is live.
CREATE OR REPLACE FUNCTION orch.clock_due(m orch.monitor) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE v_now timestamptz := orch.clock();
BEGIN
  IF NOT m.active THEN RETURN NULL; END IF;
  RETURN CASE m.kind
    WHEN 'schedule' THEN coalesce(m.due_at, orch.cron_next(m.spec -> 'cron', v_now))
    WHEN 'volume' THEN greatest(coalesce(orch.silent_since(m), v_now) + orch.ms_interval((m.spec ->> 'silence_ms')::bigint), v_now)
  END;
END $$;

-- ---------------------------------------------------------------- the duty

-- Duty: fires schedules whose time has come and looks for streams that have fallen silent. Any number of servers may call
-- it; each monitor is looked at once, under its pipeline's lock. -> {"fired", "silent", "next_due_ms"?}
CREATE OR REPLACE FUNCTION orch.clock_fire(p_limit int) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  r        record;
  m        orch.monitor;
  p        orch.pipeline;
  v_now    timestamptz := orch.clock(); -- read once: a condition with a volatile function cannot use an index
  v_fired  int := 0;
  v_silent int := 0;
  v_next   timestamptz;
BEGIN
  FOR r IN SELECT id, pipeline_id FROM orch.monitor WHERE runner = 'clock' AND active AND due_at <= v_now
           ORDER BY due_at, id LIMIT greatest(p_limit, 0) LOOP
    SELECT * INTO p FROM orch.pipeline WHERE id = r.pipeline_id FOR NO KEY UPDATE SKIP LOCKED;
    CONTINUE WHEN NOT FOUND;
    SELECT * INTO m FROM orch.monitor WHERE id = r.id AND runner = 'clock' AND active AND due_at <= v_now FOR UPDATE;
    CONTINUE WHEN NOT FOUND; -- another server was faster
    PERFORM orch.act('monitor:' || m.name);
    -- One monitor that cannot be handled must not keep the others from being so.
    BEGIN
      IF m.kind = 'schedule' THEN
        PERFORM orch.schedule_fire(p, m, v_now);
        v_fired := v_fired + 1;
      ELSIF orch.volume_look(p, m, v_now) THEN
        v_silent := v_silent + 1;
      END IF;
    EXCEPTION WHEN data_exception OR SQLSTATE 'OR003' OR SQLSTATE 'OR007' THEN
      UPDATE orch.monitor SET due_at = v_now + interval '1 hour', latest = jsonb_build_object('monitor', m.name, 'kind', m.kind,
        'verdict', 'insufficient', 'summary', left(SQLERRM, 500)) WHERE id = m.id;
    END;
  END LOOP;
  SELECT min(due_at) INTO v_next FROM orch.monitor WHERE runner = 'clock' AND active AND due_at > v_now;
  RETURN jsonb_strip_nulls(jsonb_build_object('fired', v_fired, 'silent', v_silent,
    'next_due_ms', least(ceil(extract(epoch FROM v_next - orch.clock()) * 1000), 86400000)::bigint));
END $$;

-- A time of a schedule has come: one signal, also for those that were missed while nobody looked. What an earlier one
-- still waits for (a cooldown, a hold) is asked anew by this one.
CREATE OR REPLACE FUNCTION orch.schedule_fire(p orch.pipeline, m orch.monitor, p_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  s       orch.signal;
  v_text  text := coalesce(m.spec #>> '{cron,text}', m.name);
  v_title text := format('the schedule "%s" asks for it (%s)', v_text, orch.rfc3339(m.due_at));
  v_next  timestamptz := orch.cron_next(m.spec -> 'cron', p_now);
BEGIN
  FOR s IN SELECT * FROM orch.signal WHERE pipeline_id = p.id AND source = 'monitor:' || m.name AND kind = 'schedule'
           AND status = 'firing' ORDER BY id FOR UPDATE LOOP
    PERFORM orch.signal_resolve(p, s, 'its next time has come');
  END LOOP;
  PERFORM orch.signal_take(p, jsonb_build_object('source', 'monitor:' || m.name, 'kind', 'schedule', 'status', 'firing',
    'fingerprint', m.name || '/schedule/' || orch.rfc3339(m.due_at), 'title', v_title, 'then', coalesce(m.spec ->> 'then', 'propose'),
    'detail', jsonb_build_object('monitor', m.name, 'schedule', v_text, 'due_at', orch.rfc3339(m.due_at), 'next_at', orch.rfc3339(v_next))));
  UPDATE orch.monitor SET due_at = v_next, latest = jsonb_build_object('monitor', m.name, 'kind', 'schedule', 'verdict', 'alarm',
    'summary', v_title, 'fired_at', orch.rfc3339(p_now), 'next_at', orch.rfc3339(v_next)) WHERE id = m.id;
END $$;

-- Whether the rows have stopped coming. While they have, looks again now and then, to say when they are back. -> fires now
CREATE OR REPLACE FUNCTION orch.volume_look(p orch.pipeline, m orch.monitor, p_now timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  v_ms     bigint := (m.spec ->> 'silence_ms')::bigint;
  v_since  timestamptz := orch.silent_since(m);
  v_silent boolean := coalesce(v_since + orch.ms_interval(v_ms) <= p_now, false);
  v_was    boolean := EXISTS (SELECT FROM orch.signal WHERE pipeline_id = p.id AND source = 'monitor:' || m.name
                              AND fingerprint = m.name || '/volume' AND status = 'firing');
  v_title  text := CASE WHEN v_since IS NULL THEN 'nothing is live, so no rows are expected'
    WHEN v_silent THEN format('no rows for more than %s, the last at %s', orch.words_ms(v_ms), orch.rfc3339(v_since)) ELSE 'rows come' END;
BEGIN
  IF v_silent <> v_was THEN
    PERFORM orch.signal_take(p, jsonb_build_object('source', 'monitor:' || m.name, 'kind', 'volume', 'fingerprint', m.name || '/volume',
      'status', CASE WHEN v_silent THEN 'firing' ELSE 'resolved' END, 'title', v_title, 'detail', jsonb_build_object('monitor', m.name,
        'since_at', orch.rfc3339(v_since), 'value', extract(epoch FROM p_now - v_since)::bigint * 1000, 'threshold', v_ms)));
  END IF;
  UPDATE orch.monitor SET due_at = CASE WHEN v_silent THEN p_now + orch.ms_interval(least(greatest(v_ms / 4, 1000), 60000))
      ELSE orch.clock_due(m) END,
    latest = jsonb_build_object('monitor', m.name, 'kind', 'volume', 'verdict', CASE WHEN v_silent THEN 'alarm' ELSE 'ok' END,
      'summary', v_title, 'value', extract(epoch FROM p_now - v_since)::bigint * 1000, 'threshold', v_ms) WHERE id = m.id;
  RETURN v_silent AND NOT v_was;
END $$;
