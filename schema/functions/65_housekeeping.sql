-- Duty: forgets what has served its time. -> counts
CREATE OR REPLACE FUNCTION orch.housekeeping() RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = orch, pg_temp AS $$
DECLARE
  v_now     timestamptz := orch.clock(); -- read once: a condition with a volatile function cannot use an index
  v_replay  bigint;
  v_outbox  bigint;
BEGIN
  WITH gone AS (DELETE FROM orch.replay WHERE (scope, key) IN (
      SELECT scope, key FROM orch.replay WHERE expires_at <= v_now LIMIT 5000) RETURNING 1)
    SELECT count(*) INTO v_replay FROM gone;
  WITH gone AS (DELETE FROM orch.outbox WHERE id IN (
      SELECT id FROM orch.outbox WHERE state = 'delivered' AND ended_at < v_now - interval '30 days' LIMIT 5000) RETURNING 1)
    SELECT count(*) INTO v_outbox FROM gone;
  RETURN jsonb_build_object('replay', v_replay, 'outbox', v_outbox, 'workers', orch.workers_forget(1000),
      'sessions', orch.sessions_forget(5000))
    || orch.observations_forget();
END $$;
