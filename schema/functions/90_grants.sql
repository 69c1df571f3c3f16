-- Who may call what, all of it: nothing stands in another file, and what is not listed here is taken away again, so that
-- a function that leaves a list is really gone. Nobody gets a table or a sequence. A login becomes one of these by
-- GRANT orch_operator TO somebody.
--   orch_server    what `orch serve` calls          orch_worker   claim, progress, heartbeat, finish: nothing else
--   orch_operator  the people of the shell          orch_reader   reading only
DO $$
DECLARE
  f regprocedure;
  r record;
  c_roles CONSTANT text := 'orch_server, orch_worker, orch_operator, orch_reader';
BEGIN
  EXECUTE 'REVOKE ALL ON SCHEMA orch FROM PUBLIC, ' || c_roles;
  EXECUTE 'REVOKE ALL ON ALL TABLES IN SCHEMA orch FROM PUBLIC, ' || c_roles;
  EXECUTE 'REVOKE ALL ON ALL SEQUENCES IN SCHEMA orch FROM PUBLIC, ' || c_roles;
  EXECUTE 'REVOKE ALL ON ALL FUNCTIONS IN SCHEMA orch FROM PUBLIC, ' || c_roles;
  EXECUTE 'GRANT USAGE ON SCHEMA orch TO ' || c_roles;
  FOR r IN SELECT * FROM (VALUES
    ('orch_reader, orch_operator, orch_server', ARRAY['api_status', 'api_trends', 'api_pipelines', 'api_pipeline', 'api_proposals',
      'api_proposal', 'api_versions', 'api_version', 'api_history', 'api_lineage', 'api_signals', 'api_gate', 'api_audit',
      'api_outbox', 'api_monitors', 'api_reviewers', 'api_tokens', 'api_metrics', 'audit_verify', 'pipeline_live', 'queue_status',
      'backtest_plan', 'migrations_applied', 'api_incidents', 'api_incident']),
    ('orch_operator, orch_server', ARRAY['pipeline_apply', 'server_apply', 'token_create', 'token_revoke', 'token_check',
      'signal_receive', 'proposal_create', 'proposal_cancel', 'gate_decide', 'rollback_begin', 'deployment_finish',
      'deployment_renew', 'hold_set', 'hold_release', 'outbox_revive', 'observations_append', 'incident_release',
      'incident_dismiss', 'observations_append_many', 'labels_append', 'labels_append_many', 'observe_plan']),
    ('orch_server', ARRAY['callback_sources', 'replay_seen', 'signal_receive_once', 'signals_reconsider', 'clock_fire', 'gates_expire', 'deployment_claim',
      'outbox_claim', 'outbox_done', 'outbox_retry', 'chat_message_record', 'windows_claim', 'profiles_read', 'observations_read',
      'windows_close', 'probe_claim', 'probe_report', 'housekeeping', 'session_create', 'session_check', 'session_end', 'jobs_recover', 'jobs_promote_due', 'workers_forget']),
    ('orch_worker', ARRAY['worker_register', 'worker_heartbeat', 'worker_resume', 'worker_stop', 'job_claim',
      'job_exchange', 'job_swap', 'job_finish', 'job_progress', 'job_release'])
    ) AS t(roles, names) LOOP
    -- A name without a function is a mistake here, not something to pass over.
    IF EXISTS (SELECT FROM unnest(r.names) n WHERE NOT EXISTS (
        SELECT FROM pg_proc p WHERE p.pronamespace = 'orch'::regnamespace AND p.proname = n)) THEN
      RAISE EXCEPTION 'a function that % may call does not exist', r.roles;
    END IF;
    FOR f IN SELECT p.oid::regprocedure FROM pg_proc p
             WHERE p.pronamespace = 'orch'::regnamespace AND p.proname = ANY (r.names) LOOP
      EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', f, r.roles);
    END LOOP;
  END LOOP;
END $$;
