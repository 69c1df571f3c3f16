-- Who may call what. Nobody gets a table. A login becomes one of these by GRANT orch_operator TO somebody.
--   orch_server    what `orch serve` calls      orch_worker    claim, heartbeat, finish (20_queue_zz_grants.sql)
--   orch_operator  the people of the shell      orch_reader    reading only
DO $$
DECLARE
  f regprocedure;
  v_read     CONSTANT text[] := ARRAY['api_status', 'api_pipelines', 'api_pipeline', 'api_proposals', 'api_proposal', 'api_versions',
    'api_version', 'api_history', 'api_lineage', 'api_signals', 'api_gate', 'api_audit', 'api_outbox', 'api_reviewers', 'api_tokens',
    'api_metrics', 'audit_verify', 'pipeline_live'];
  v_operate  CONSTANT text[] := ARRAY['pipeline_apply', 'server_apply', 'token_create', 'token_revoke', 'token_check', 'signal_receive',
    'proposal_create', 'proposal_cancel', 'gate_decide', 'rollback_begin', 'deployment_finish', 'deployment_renew', 'hold_set',
    'hold_release', 'outbox_revive', 'observations_append'];
  v_serve    CONSTANT text[] := ARRAY['callback_sources', 'replay_seen', 'signals_reconsider', 'gates_expire', 'deployment_claim',
    'outbox_claim', 'outbox_done', 'outbox_retry', 'chat_message_record', 'monitor_claim', 'observations_read', 'window_close', 'housekeeping'];
BEGIN
  FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'orch'::regnamespace
             AND p.proname !~ '^(queue_|jobs?_|workers?_)' LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
  END LOOP;
  FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'orch'::regnamespace AND p.proname = ANY (v_read) LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO orch_reader, orch_operator, orch_server', f);
  END LOOP;
  FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'orch'::regnamespace AND p.proname = ANY (v_operate) LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO orch_operator, orch_server', f);
  END LOOP;
  FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'orch'::regnamespace AND p.proname = ANY (v_serve) LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO orch_server', f);
  END LOOP;
  REVOKE EXECUTE ON FUNCTION orch.job_brief(orch.job) FROM PUBLIC;
  GRANT USAGE ON SCHEMA orch TO orch_server, orch_operator, orch_reader;
END $$;
