-- Monitors of the clock: cron times across daylight saving, schedules that fire once, streams that fall silent.
BEGIN;
\ir fixture/governance.psql
SELECT plan(72);

-- A cron text of plain numbers, lists, ranges, steps and stars as conf/cron.h would write it.
CREATE FUNCTION test.field(p text, p_min int, p_max int) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT jsonb_agg(DISTINCT n ORDER BY n) FROM unnest(string_to_array(p, ',')) part,
    LATERAL (SELECT split_part(part, '/', 1) AS span, coalesce(nullif(split_part(part, '/', 2), ''), '1')::int AS step) a,
    LATERAL (SELECT CASE WHEN span = '*' THEN p_min ELSE split_part(span, '-', 1)::int END AS lo,
                    CASE WHEN span = '*' THEN p_max WHEN span LIKE '%-%' THEN split_part(span, '-', 2)::int ELSE span::int END AS hi) b,
    LATERAL generate_series(lo, hi, step) n $$;
CREATE FUNCTION test.cron(p text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT jsonb_build_object('text', p, 'zone', coalesce(nullif(split_part(p, ' ', 6), ''), 'UTC'), 'minute', test.field(split_part(p, ' ', 1), 0, 59),
    'hour', test.field(split_part(p, ' ', 2), 0, 23), 'day', test.field(split_part(p, ' ', 3), 1, 31), 'month', test.field(split_part(p, ' ', 4), 1, 12),
    'weekday', test.field(split_part(p, ' ', 5), 0, 6), 'day_any', split_part(p, ' ', 3) LIKE '*%', 'weekday_any', split_part(p, ' ', 5) LIKE '*%') $$;
-- The next p_n fires after a moment, in UTC.
CREATE FUNCTION test.fires(p text, p_after timestamptz, p_n int DEFAULT 1) RETURNS text LANGUAGE plpgsql AS $$
DECLARE v text := '';
BEGIN
  FOR i IN 1 .. p_n LOOP
    p_after := orch.cron_next(test.cron(p), p_after);
    v := v || coalesce(to_char(p_after AT TIME ZONE 'UTC', ' YYYY-MM-DD HH24:MI'), ' never');
  END LOOP;
  RETURN ltrim(v);
END $$;

SELECT is(test.fires('0 3 * * *', '2026-01-01T02:59:59Z'), '2026-01-01 03:00', 'the next time of the day');
SELECT is(test.fires('0 3 * * *', '2026-01-01T03:00:00Z'), '2026-01-02 03:00', 'a fire is not its own successor');
SELECT is(test.fires('*/15 * * * *', '2026-01-01T00:07:30Z', 3), '2026-01-01 00:15 2026-01-01 00:30 2026-01-01 00:45', 'every quarter of an hour');
SELECT is(test.fires('59 23 31 12 *', '2026-12-31T23:59:00Z'), '2027-12-31 23:59', 'the end of the next year');
SELECT is(test.fires('* * * * *', '2026-12-31T23:59:59.999Z'), '2027-01-01 00:00', 'every minute, over the year');
SELECT is(test.fires('0 3 * * 1', '2026-01-01T00:00:00Z', 2), '2026-01-05 03:00 2026-01-12 03:00', 'Mondays');
SELECT is(test.fires('0 0 * * 0', '2026-01-01T00:00:00Z'), '2026-01-04 00:00', 'Sundays');

-- Days.
SELECT is(test.fires('0 0 31 * *', '2026-01-31T00:00:00Z', 4), '2026-03-31 00:00 2026-05-31 00:00 2026-07-31 00:00 2026-08-31 00:00', 'the 31st, where there is one');
SELECT is(test.fires('0 0 29 2 *', '2026-01-01T00:00:00Z', 2), '2028-02-29 00:00 2032-02-29 00:00', 'leap days');
SELECT is(test.fires('0 0 29 2 *', '2096-02-29T00:00:00Z'), '2104-02-29 00:00', 'eight years apart around 2100');
SELECT is(test.fires('0 0 30 2 *', '2026-01-01T00:00:00Z'), 'never', 'a day that no year has');
SELECT is(test.fires('0 0 31 4,6,9,11 *', '2026-01-01T00:00:00Z'), 'never', 'nor have these');
SELECT is(test.fires('0 0 13 * 5', '2026-02-01T00:00:00Z', 4), '2026-02-06 00:00 2026-02-13 00:00 2026-02-20 00:00 2026-02-27 00:00', 'both day fields: either matches');
SELECT is(test.fires('0 0 13 * 5', '2026-03-09T00:00:00Z', 2), '2026-03-13 00:00 2026-03-20 00:00', 'Fridays');
SELECT is(test.fires('0 0 15 6 1', '2026-06-09T00:00:00Z', 2), '2026-06-15 00:00 2026-06-22 00:00', 'within their month');
SELECT is(test.fires('0 0 */2 * 1', '2026-06-01T12:00:00Z', 2), '2026-06-15 00:00 2026-06-29 00:00', 'a field that starts with a star: both match');
SELECT is(test.fires('0 0 1-7 * */7', '2026-06-01T12:00:00Z', 2), '2026-06-07 00:00 2026-07-05 00:00', 'the first Sunday');
SELECT is(test.fires('0 0 30 2 1', '2026-02-01T00:00:00Z'), '2026-02-02 00:00', 'a day that never comes leaves the weekday');

-- Zones.
SELECT is(test.fires('0 3 * * * Europe/Berlin', '2026-01-10T00:00:00Z'), '2026-01-10 02:00', 'winter in Berlin');
SELECT is(test.fires('0 3 * * * Europe/Berlin', '2026-07-10T00:00:00Z'), '2026-07-10 01:00', 'summer in Berlin');
SELECT is(test.fires('0 22 * * * America/New_York', '2026-01-10T00:00:00Z'), '2026-01-10 03:00', 'the evening before in New York');
SELECT is(test.fires('30 9 * * * Asia/Kolkata', '2026-01-10T00:00:00Z'), '2026-01-10 04:00', 'a half hour');
SELECT is(test.fires('0 0 1 * * Pacific/Kiritimati', '2026-01-15T00:00:00Z'), '2026-01-31 10:00', 'the first of the month is early there');
SELECT throws_ok($$SELECT test.fires('0 0 * * * Mars/Olympus', now())$$, 'OR003', NULL, 'an unknown zone is named');
SELECT throws_ok($$SELECT orch.cron_next('{}', now())$$, 'OR003', NULL, 'half a schedule is refused');

-- Europe/Berlin goes forward on 2026-03-29 at 01:00 UTC (02:00 -> 03:00) and back on 2026-10-25 at 01:00 UTC (03:00 -> 02:00).
SELECT is(test.fires('30 2 * * * Europe/Berlin', '2026-03-28T00:00:00Z', 3), '2026-03-28 01:30 2026-03-29 01:00 2026-03-30 00:30', 'a time in the gap fires after it');
SELECT is(test.fires('0 2 * * * Europe/Berlin', '2026-03-28T12:00:00Z', 2), '2026-03-29 01:00 2026-03-30 00:00', 'its first minute too');
SELECT is(test.fires('0 3 * * * Europe/Berlin', '2026-03-28T12:00:00Z', 2), '2026-03-29 01:00 2026-03-30 01:00', 'the time after the gap is itself');
SELECT is(test.fires('*/15 2 * * * Europe/Berlin', '2026-03-28T12:00:00Z', 2), '2026-03-29 01:00 2026-03-30 00:00', 'four times in the gap are one');
SELECT is(test.fires('0 2,3 * * * Europe/Berlin', '2026-03-28T12:00:00Z', 3), '2026-03-29 01:00 2026-03-30 00:00 2026-03-30 01:00', 'and are one with the time after it');
SELECT is(test.fires('30 2 * * * Europe/Berlin', '2026-10-24T12:00:00Z', 2), '2026-10-25 00:30 2026-10-26 01:30', 'a time that happens twice fires the first time');
SELECT is(test.fires('30 2 * * * Europe/Berlin', '2026-10-25T00:45:00Z'), '2026-10-26 01:30', 'and not again an hour later');
SELECT is(test.fires('0 3 * * * Europe/Berlin', '2026-10-24T12:00:00Z', 2), '2026-10-25 02:00 2026-10-26 02:00', 'the time after it happens once');
SELECT is(test.fires('0 * * * * Europe/Berlin', '2026-03-28T23:30:00Z', 4), '2026-03-29 00:00 2026-03-29 01:00 2026-03-29 02:00 2026-03-29 03:00', 'each real hour of the short day');
SELECT is(test.fires('0 * * * * Europe/Berlin', '2026-10-24T23:30:00Z', 4), '2026-10-25 00:00 2026-10-25 01:00 2026-10-25 02:00 2026-10-25 03:00', 'each real hour of the long day');
SELECT is(test.fires('30 * * * * Europe/Berlin', '2026-10-24T23:59:00Z', 3), '2026-10-25 00:30 2026-10-25 01:30 2026-10-25 02:30', 'both times half past two');
SELECT is(test.fires('0 2 29 3 * Europe/Berlin', '2026-01-01T00:00:00Z', 2), '2026-03-29 01:00 2027-03-29 00:00', 'on that day alone');

-- America/New_York: 2026-03-08 at 07:00 UTC (02:00 -> 03:00), 2026-11-01 at 06:00 UTC (02:00 -> 01:00).
SELECT is(test.fires('15 2 * * * America/New_York', '2026-03-07T12:00:00Z', 2), '2026-03-08 07:00 2026-03-09 06:15', 'the gap in New York');
SELECT is(test.fires('30 1 * * * America/New_York', '2026-10-31T12:00:00Z', 2), '2026-11-01 05:30 2026-11-02 06:30', 'the double hour in New York');
SELECT is(test.fires('0 */6 * * * America/New_York', '2026-10-31T23:00:00Z', 4), '2026-11-01 04:00 2026-11-01 11:00 2026-11-01 17:00 2026-11-01 23:00', 'every sixth hour of the long day');
SELECT is(test.fires('30 0 * * 0 America/New_York', '2026-03-07T12:00:00Z', 2), '2026-03-08 05:30 2026-03-15 04:30', 'before the gap');
-- Odd ones: half an hour (Lord Howe, back on 2026-04-05 02:00 -> 01:30), midnight itself (Cairo, forward on 2026-04-24 at 00:00), a whole
-- day that did not exist (Samoa, 2011-12-30).
SELECT is(test.fires('45 1 * * * Australia/Lord_Howe', '2026-04-04T00:00:00Z', 2), '2026-04-04 14:45 2026-04-05 15:15', 'half an hour happens twice');
SELECT is(test.fires('0 0 * * * Africa/Cairo', '2026-04-22T23:00:00Z', 2), '2026-04-23 22:00 2026-04-24 21:00', 'midnight does not exist: the moment after it');
SELECT is(test.fires('0 12 * * * Pacific/Apia', '2011-12-29T00:00:00Z', 3), '2011-12-29 22:00 2011-12-30 10:00 2011-12-30 22:00', 'a day that was skipped fires at its end');

-- Against minutes that were counted one by one: every minute of four days around each change, as each clock shows it.
CREATE FUNCTION test.brute(p text, p_from timestamptz, p_to timestamptz) RETURNS timestamptz[] LANGUAGE plpgsql AS $$
DECLARE c jsonb := test.cron(p);
BEGIN
  RETURN (
    WITH minute AS (
      SELECT t, t AT TIME ZONE (c ->> 'zone') AS wall FROM generate_series(p_from - interval '2 days', p_to + interval '2 days', interval '1 minute') t
    ), wanted AS (
      SELECT w FROM generate_series((p_from AT TIME ZONE (c ->> 'zone'))::date - 1, (p_to AT TIME ZONE (c ->> 'zone'))::date + 1, interval '1 day') d,
        LATERAL generate_series(d, d + interval '1439 minutes', interval '1 minute') w
      WHERE c -> 'hour' @> to_jsonb(extract(hour FROM w)::int) AND c -> 'minute' @> to_jsonb(extract(minute FROM w)::int)
    ), first AS MATERIALIZED (
      SELECT wall, min(t) AS t FROM minute GROUP BY wall
    ), fire AS (
      SELECT DISTINCT CASE WHEN jsonb_array_length(c -> 'hour') < 24 THEN coalesce(f.t, (SELECT min(t) FROM minute WHERE wall > w)) END AS t
      FROM wanted LEFT JOIN first f ON f.wall = w
      UNION SELECT t FROM minute WHERE jsonb_array_length(c -> 'hour') = 24 AND c -> 'minute' @> to_jsonb(extract(minute FROM wall)::int))
    SELECT array_agg(t ORDER BY t) FROM fire WHERE t > p_from AND t <= p_to);
END $$;
CREATE FUNCTION test.walk(p text, p_from timestamptz, p_to timestamptz) RETURNS timestamptz[] LANGUAGE plpgsql AS $$
DECLARE v timestamptz[] := '{}';
BEGIN
  LOOP
    p_from := orch.cron_next(test.cron(p), p_from);
    IF p_from > p_to THEN RETURN v; END IF;
    v := v || p_from;
  END LOOP;
END $$;
SELECT is((SELECT count(*) FROM unnest(ARRAY['0 2 * * *', '30 1,2,3 * * *', '*/20 0-3 * * *', '17 * * * *', '5,35 * * * *', '59 23 * * *', '0 0 * * *']) c,
    unnest(ARRAY['Europe/Berlin 2026-03-29', 'Europe/Berlin 2026-10-25', 'America/New_York 2026-03-08', 'America/New_York 2026-11-01',
      'Australia/Lord_Howe 2026-10-04', 'Africa/Cairo 2026-04-24', 'America/Havana 2026-11-01', 'UTC 2026-06-01']) z,
    LATERAL (SELECT c || ' ' || split_part(z, ' ', 1) AS cron, split_part(z, ' ', 2)::timestamptz AS day) x
    WHERE test.walk(x.cron, x.day - interval '1 day', x.day + interval '2 days') IS DISTINCT FROM test.brute(x.cron, x.day - interval '1 day', x.day + interval '2 days')),
  0::bigint, 'as counted minute by minute in 56 pairs of time and change');

-- ---------------------------------------------------------------- schedules
SELECT test.world();
CREATE FUNCTION test.monitor(p_name text, p_kind text, p_spec jsonb) RETURNS void LANGUAGE sql AS $$
  INSERT INTO orch.monitor (pipeline_id, name, kind, spec) SELECT id, p_name, p_kind, jsonb_build_object('name', p_name, 'kind', p_kind) || p_spec FROM orch.pipeline;
  UPDATE orch.monitor m SET due_at = orch.clock_due(m) WHERE name = p_name $$;
SELECT test.monitor('nightly', 'schedule', jsonb_build_object('cron', test.cron('0 3 * * * Europe/Berlin')));
SELECT is(due_at, orch.cron_next(test.cron('0 3 * * * Europe/Berlin'), orch.clock()), 'a schedule waits for its next time') FROM orch.monitor WHERE name = 'nightly';
SELECT is(orch.clock_fire(10) - 'next_due_ms', '{"fired": 0, "silent": 0}', 'and does not fire before');
SELECT is((orch.clock_fire(10) ->> 'next_due_ms')::bigint BETWEEN 0 AND 86400000, true, 'but says when');
SELECT test.pass('1 day');
SELECT is(orch.clock_fire(10) ->> 'fired', '1', 'it fires when its time has come');
SELECT is(orch.clock_fire(10) ->> 'fired', '0', 'once');
SELECT is(q.state || ', ' || q.opened_by, 'training, monitor:nightly', 'which proposes a retraining') FROM orch.proposal q;
SELECT matches(reason, '^the schedule "0 3 \* \* \* Europe/Berlin" asks for it', 'in these words') FROM orch.proposal;
SELECT is(status || ' ' || disposition, 'resolved proposed', 'the signal has been answered') FROM orch.signal;
SELECT matches(fingerprint, '^nightly/schedule/20..-..-..T0[12]:00:00.000Z$', 'it is named by its time') FROM orch.signal;
SELECT orch.proposal_cancel(1, 'enough', 'user:test');
SELECT test.pass('7 days');
SELECT is(orch.clock_fire(10) ->> 'fired', '1', 'a week without a server is one signal');
SELECT is(count(*), 2::bigint, 'not seven') FROM orch.signal;
SELECT is(due_at > orch.clock(), true, 'and the next time lies ahead') FROM orch.monitor WHERE name = 'nightly';
SELECT orch.proposal_cancel(2, 'enough', 'user:test');
SELECT orch.hold_set('housing', 'because', 'user:test');
SELECT test.pass('1 day'); SELECT orch.clock_fire(10);
SELECT is(status || ' ' || disposition, 'firing held', 'a hold holds it') FROM orch.signal ORDER BY id DESC LIMIT 1;
SELECT test.pass('1 day'); SELECT orch.clock_fire(10);
SELECT is(string_agg(status || ' ' || disposition, ', ' ORDER BY id), 'resolved proposed, resolved proposed, resolved held, firing held', 'its next time asks anew')
  FROM orch.signal;
SELECT orch.hold_release('housing', '', 'user:test');
SELECT is(orch.signals_reconsider(10) ->> 'proposed', '1', 'after the hold it proposes, once');
SELECT is(status, 'resolved', 'and has been answered') FROM orch.signal ORDER BY id DESC LIMIT 1;
SELECT orch.proposal_cancel(3, 'enough', 'user:test');
UPDATE orch.monitor SET spec = spec || '{"then": "tell"}' WHERE name = 'nightly';
SELECT test.pass('1 day'); SELECT orch.clock_fire(10);
SELECT is((SELECT disposition FROM orch.signal ORDER BY id DESC LIMIT 1) || ' ' || (SELECT type FROM orch.event ORDER BY id DESC LIMIT 1), 'recorded signal.alarm', 'one that tells is a reminder');
UPDATE orch.monitor SET spec = jsonb_set(spec, '{cron,zone}', '"Mars/Olympus"') WHERE name = 'nightly';
SELECT test.pass('1 day');
SELECT lives_ok('SELECT orch.clock_fire(10)', 'a zone that the database has forgotten stops nobody');
SELECT matches(latest ->> 'summary', 'Mars', 'and is shown') FROM orch.monitor WHERE name = 'nightly';
DELETE FROM orch.monitor WHERE name = 'nightly';

CREATE FUNCTION test.weekly(p_zone text) RETURNS jsonb LANGUAGE sql AS $$
  SELECT test.apply(test.spec('housing', jsonb_build_object('monitors', jsonb_build_array(jsonb_build_object('name', 'weekly', 'kind', 'schedule',
    'cron', test.cron('0 3 * * 1 ' || p_zone)))))) $$;
SELECT test.weekly('Europe/Berlin');
SELECT is(due_at, orch.cron_next(test.cron('0 3 * * 1 Europe/Berlin'), orch.clock()), 'an applied schedule waits for its time') FROM orch.monitor WHERE name = 'weekly';
SELECT throws_ok($$SELECT test.weekly('Mars/Olympus')$$, 'OR003', NULL, 'a zone that the database does not know is refused with the file');
SELECT test.apply(test.spec('housing'));
SELECT is(due_at, NULL, 'a schedule that was taken out fires no more') FROM orch.monitor WHERE name = 'weekly';

-- ---------------------------------------------------------------- volume
CREATE FUNCTION test.rows() RETURNS void LANGUAGE sql AS $$ SELECT orch.observations_append('housing', 1, convert_to('{}' || chr(10), 'UTF8'), NULL) $$;
SELECT test.monitor('rows', 'volume', '{"silence_ms": 3600000, "then": "tell"}');
SELECT test.pass('1 day');
SELECT is(orch.clock_fire(10) ->> 'silent', '0', 'while nothing is live, nobody waits for rows');
SELECT test.live();
UPDATE orch.monitor m SET due_at = orch.clock_due(m) WHERE name = 'rows';
SELECT orch.clock_fire(10);
SELECT is(title, 'no rows for more than 1 h, the last at ' || orch.rfc3339((SELECT since FROM orch.live_period)), 'a live model to which no rows come') FROM orch.signal WHERE kind = 'volume' AND status = 'firing';
SELECT test.pass('2 minutes'); SELECT orch.clock_fire(10);
SELECT is(count, 1::bigint, 'is told once') FROM orch.signal WHERE kind = 'volume' AND status = 'firing';
SELECT test.rows(); SELECT test.pass('2 minutes'); SELECT orch.clock_fire(10);
SELECT is(string_agg(type, ' ' ORDER BY id), 'signal.alarm signal.alarm_resolved', 'and that rows are back too') FROM orch.event WHERE data ->> 'kind' = 'volume';
SELECT is(due_at, (SELECT last_at + interval '1 hour' FROM orch.observation_stream WHERE stream = 'rows'), 'then the silence is counted from the last row')
  FROM orch.monitor WHERE name = 'rows';
SELECT * FROM finish();
ROLLBACK;
