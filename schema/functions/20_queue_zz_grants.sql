-- Who may call what of the queue. Nobody by default: functions are executable by PUBLIC unless that is taken away.
DO $$
DECLARE
  f regprocedure;
BEGIN
  FOR f IN SELECT p.oid::regprocedure FROM pg_proc p
            WHERE p.pronamespace = 'orch'::regnamespace AND p.proname ~ '^(queue_|jobs?_|workers?_)' LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
  END LOOP;
  FOR f IN SELECT p.oid::regprocedure FROM pg_proc p
            WHERE p.pronamespace = 'orch'::regnamespace AND p.proname IN
              ('worker_register', 'worker_heartbeat', 'worker_resume', 'worker_stop', 'job_claim', 'job_exchange',
               'job_finish', 'job_progress', 'job_release', 'jobs_recover', 'jobs_promote_due') LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO orch_worker', f);
  END LOOP;
  FOR f IN SELECT p.oid::regprocedure FROM pg_proc p
            WHERE p.pronamespace = 'orch'::regnamespace AND p.proname IN
              ('jobs_recover', 'jobs_promote_due', 'workers_forget', 'queue_status') LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO orch_server', f);
  END LOOP;
  GRANT EXECUTE ON FUNCTION orch.queue_status() TO orch_operator, orch_reader;
  GRANT USAGE ON SCHEMA orch TO orch_worker, orch_server, orch_operator, orch_reader;
END $$;
