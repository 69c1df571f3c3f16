-- The guard over leases, cheap enough for every claim. PostgreSQL reads a trigger's WHEN from its stored text anew for
-- every statement, and the time for that grows with each term: the old one took a tenth of a claim and finish. So the
-- rule became simpler and stricter: whoever touches a job's holder or its lease draws a greater lease.

DROP TRIGGER job_lease_grows ON orch.job;
CREATE TRIGGER job_lease_grows AFTER UPDATE OF lease, worker_id ON orch.job FOR EACH ROW
  WHEN (new.lease <= old.lease)
  EXECUTE FUNCTION orch.queue_refuse('whoever takes a job or gives it back draws a greater lease');
CREATE TRIGGER job_id_fixed AFTER UPDATE OF id ON orch.job FOR EACH ROW
  WHEN (new.id <> old.id)
  EXECUTE FUNCTION orch.queue_refuse('a job keeps its id');
