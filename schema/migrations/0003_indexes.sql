-- Indexes for what grows: lists, documents and housekeeping must not read whole tables when there are thousands of
-- pipelines and millions of rows.

-- The open proposals of a pipeline: every signal, every screen.
CREATE INDEX proposal_open ON orch.proposal (pipeline_id, id)
  WHERE state IN ('proposed', 'training', 'evaluating', 'awaiting_approval', 'rolling_out');
-- What hangs on a version.
CREATE INDEX evaluation_by_version ON orch.evaluation (version_id);
CREATE INDEX gate_by_version ON orch.gate (version_id);
CREATE INDEX deployment_by_version ON orch.deployment (version_id);
CREATE INDEX deployment_by_from_version ON orch.deployment (from_version_id) WHERE from_version_id IS NOT NULL;
CREATE INDEX live_period_by_version ON orch.live_period (version_id);
CREATE INDEX version_by_artifact ON orch.version (artifact);
-- Lists of one pipeline, newest first.
CREATE INDEX signal_by_pipeline ON orch.signal (pipeline_id, id DESC);
CREATE INDEX audit_by_time ON orch.audit (at DESC, seq DESC);
-- What a gate has told, and whether chat has heard its outcome.
CREATE INDEX event_by_gate ON orch.event (gate_id) WHERE gate_id IS NOT NULL;
CREATE INDEX outbox_by_event ON orch.outbox (event_id);
-- A claim finds what is due without walking over what waits for a receiver that is down.
CREATE INDEX outbox_due ON orch.outbox (due_at) WHERE state = 'pending';
CREATE INDEX outbox_delivered ON orch.outbox (ended_at) WHERE state = 'delivered';
CREATE INDEX observation_batch_age ON orch.observation_batch (received_at);
