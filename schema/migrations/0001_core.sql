-- The tables of governance: what a person would have to answer for stands here, and here only.
-- The queue's tables are in 0002. Functions and triggers live in schema/functions and are re-applied when they change;
-- what is in this file is fixed once it has been applied anywhere.
--
-- Conventions: times are timestamptz; durations are `_ms` bigint; digests are 'sha256:<64 hex>' text; states are text
-- with a CHECK, and their legal moves stand in orch.arrow, which a trigger enforces for everybody, the owner included.

CREATE SCHEMA IF NOT EXISTS orch;

-- Roles are shared by all databases of a cluster, so they may be there already.
DO $$
DECLARE r text;
BEGIN
  FOREACH r IN ARRAY ARRAY['orch_server', 'orch_worker', 'orch_operator', 'orch_reader'] LOOP
    BEGIN
      IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN EXECUTE format('CREATE ROLE %I NOLOGIN', r); END IF;
    EXCEPTION
      WHEN duplicate_object OR unique_violation THEN NULL;
      WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'role % does not exist and this login may not create it', r
          USING HINT = 'ask a database administrator to run: CREATE ROLE ' || r || ' NOLOGIN';
    END;
  END LOOP;
END $$;

CREATE DOMAIN orch.digest AS text CHECK (VALUE ~ '^sha256:[0-9a-f]{64}$');

-- ---------------------------------------------------------------- configuration

CREATE TABLE orch.pipeline (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name          text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
  owner         text NOT NULL CHECK (owner <> ''),
  oncall        text NOT NULL CHECK (oncall <> ''),
  revision_id   bigint,             -- the current revision
  champion_id   bigint,             -- the version that is live; moves only as orch.guard_champion allows
  champion_deployment_id bigint,    -- the deployment that made it so; grows, and is the drivers' fencing number
  next_version  int NOT NULL DEFAULT 1,
  created_at    timestamptz NOT NULL
);

CREATE TABLE orch.revision (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  pipeline_id   bigint NOT NULL REFERENCES orch.pipeline,
  digest        orch.digest NOT NULL, -- over the YAML's bytes and the bundle's digest
  spec          jsonb NOT NULL,       -- the YAML, normalised
  yaml          text NOT NULL CHECK (octet_length(yaml) <= 1048576),
  bundle_digest orch.digest NOT NULL,
  git_commit    text CHECK (length(git_commit) <= 64),
  git_dirty     boolean,
  applied_by    text NOT NULL,
  applied_at    timestamptz NOT NULL,
  UNIQUE (pipeline_id, digest),
  UNIQUE (id, pipeline_id)
);
ALTER TABLE orch.pipeline ADD FOREIGN KEY (revision_id, id) REFERENCES orch.revision (id, pipeline_id);

CREATE TABLE orch.reviewer (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name       text NOT NULL UNIQUE CHECK (name ~ '^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$'),
  email      text,
  slack      text UNIQUE CHECK (slack ~ '^[A-Z0-9]+/[A-Z0-9]+$'), -- TEAM/USER: ids, never names
  groups     text[] NOT NULL DEFAULT '{}',
  active     boolean NOT NULL DEFAULT true,
  updated_at timestamptz NOT NULL
);

-- Every orch.yaml that was applied; the newest one is in force.
CREATE TABLE orch.server_config (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  config     jsonb NOT NULL,
  applied_by text NOT NULL,
  applied_at timestamptz NOT NULL
);

CREATE TABLE orch.token (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name        text NOT NULL CHECK (name ~ '^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$'),
  hash        orch.digest NOT NULL UNIQUE,
  scopes      text[] NOT NULL CHECK (scopes <> '{}' AND
                scopes <@ ARRAY['signal','observe','read','propose','decide','operate','admin','work']),
  reviewer_id bigint REFERENCES orch.reviewer,
  created_by  text NOT NULL,
  created_at  timestamptz NOT NULL,
  revoked_at  timestamptz,
  CHECK (NOT 'decide' = ANY (scopes) OR reviewer_id IS NOT NULL) -- a decision always belongs to a person
);
CREATE UNIQUE INDEX token_name_live ON orch.token (name) WHERE revoked_at IS NULL;

-- ---------------------------------------------------------------- signals, proposals, versions

CREATE TABLE orch.proposal (
  id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  pipeline_id    bigint NOT NULL REFERENCES orch.pipeline,
  revision_id    bigint NOT NULL,
  state          text NOT NULL CHECK (state IN ('proposed', 'training', 'evaluating', 'awaiting_approval', 'rolling_out',
                   'promoted', 'rolled_back', 'failed', 'blocked', 'rejected', 'aborted', 'expired', 'superseded',
                   'cancelled')),
  reason         text NOT NULL CHECK (length(reason) BETWEEN 1 AND 2000),
  opened_by      text NOT NULL,
  version_number int NOT NULL,        -- the candidate's number, given when the proposal opens
  version_id     bigint,              -- the candidate, once trained
  champion_id    bigint,              -- what the candidate was compared with
  seed           bigint NOT NULL,
  as_of          timestamptz NOT NULL, -- data after this moment is not used
  checks         jsonb,               -- results of the checks, with numbers
  ended_at       timestamptz,
  end_reason     text,
  created_at     timestamptz NOT NULL,
  state_at       timestamptz NOT NULL,
  FOREIGN KEY (revision_id, pipeline_id) REFERENCES orch.revision (id, pipeline_id),
  UNIQUE (id, pipeline_id)
);
-- Work is done for one proposal of a pipeline at a time; a finished candidate may wait for people meanwhile.
CREATE UNIQUE INDEX proposal_one_in_work ON orch.proposal (pipeline_id)
  WHERE state IN ('proposed', 'training', 'evaluating');
CREATE UNIQUE INDEX proposal_one_awaiting ON orch.proposal (pipeline_id) WHERE state = 'awaiting_approval';
CREATE INDEX proposal_by_pipeline ON orch.proposal (pipeline_id, id DESC);

-- People who asked for this retraining: their approvals do not count.
CREATE TABLE orch.proposal_proposer (
  proposal_id bigint NOT NULL REFERENCES orch.proposal,
  reviewer_id bigint NOT NULL REFERENCES orch.reviewer,
  reason      text,
  at          timestamptz NOT NULL,
  PRIMARY KEY (proposal_id, reviewer_id)
);

-- The plan of a proposal's run: one row a job to be, in the order that `needs` allows.
CREATE TABLE orch.proposal_step (
  proposal_id bigint NOT NULL REFERENCES orch.proposal,
  step        text NOT NULL,
  subject     text NOT NULL DEFAULT '' CHECK (subject IN ('', 'candidate', 'champion')),
  role        text NOT NULL CHECK (role IN ('step', 'train', 'evaluate')),
  needs       text[] NOT NULL DEFAULT '{}',
  state       text NOT NULL DEFAULT 'waiting'
                CHECK (state IN ('waiting', 'queued', 'succeeded', 'failed', 'cancelled', 'timed_out')),
  job_id      bigint,
  result      jsonb,
  PRIMARY KEY (proposal_id, step, subject)
);

CREATE TABLE orch.snapshot (
  proposal_id bigint NOT NULL REFERENCES orch.proposal,
  name        text NOT NULL,
  digest      orch.digest NOT NULL,
  taken_at    timestamptz NOT NULL,
  PRIMARY KEY (proposal_id, name)
);

CREATE TABLE orch.signal (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  pipeline_id bigint NOT NULL REFERENCES orch.pipeline,
  source      text NOT NULL CHECK (length(source) BETWEEN 1 AND 200),
  kind        text NOT NULL CHECK (kind IN ('drift', 'data_fault', 'alert', 'manual', 'external')),
  fingerprint text NOT NULL CHECK (length(fingerprint) BETWEEN 1 AND 200),
  episode     text NOT NULL DEFAULT '' CHECK (length(episode) <= 200),
  status      text NOT NULL CHECK (status IN ('firing', 'resolved')),
  title       text NOT NULL CHECK (length(title) BETWEEN 1 AND 1000),
  detail      jsonb NOT NULL DEFAULT '{}',
  count       bigint NOT NULL DEFAULT 1, -- how often it was heard
  first_at    timestamptz NOT NULL,
  last_at     timestamptz NOT NULL,
  as_of       timestamptz NOT NULL,      -- the newest data that the signal speaks of
  resolved_at timestamptz,
  disposition text NOT NULL CHECK (disposition IN ('proposed', 'folded', 'held', 'recorded', 'resolved')),
  held_reason text,
  reconsider_at timestamptz,             -- a held signal is looked at again then, if it still fires
  proposal_id bigint,
  FOREIGN KEY (proposal_id, pipeline_id) REFERENCES orch.proposal (id, pipeline_id)
);
CREATE UNIQUE INDEX signal_one_firing ON orch.signal (pipeline_id, source, fingerprint) WHERE status = 'firing';
CREATE INDEX signal_episode ON orch.signal (pipeline_id, source, fingerprint, episode);
CREATE INDEX signal_reconsider ON orch.signal (reconsider_at) WHERE reconsider_at IS NOT NULL;
CREATE INDEX signal_by_proposal ON orch.signal (proposal_id) WHERE proposal_id IS NOT NULL;

CREATE TABLE orch.version (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  pipeline_id bigint NOT NULL REFERENCES orch.pipeline,
  number      int NOT NULL CHECK (number > 0),
  proposal_id bigint NOT NULL,
  revision_id bigint NOT NULL,
  artifact    orch.digest NOT NULL,
  metrics     jsonb NOT NULL DEFAULT '{}', -- as the training step reported them
  profile     bytea CHECK (octet_length(profile) <= 8388608), -- sketches of the training data
  train_job_id bigint,
  created_at  timestamptz NOT NULL,
  quarantined_at timestamptz,
  quarantined_by text,
  quarantine_reason text,
  UNIQUE (pipeline_id, number),
  UNIQUE (id, pipeline_id),
  FOREIGN KEY (proposal_id, pipeline_id) REFERENCES orch.proposal (id, pipeline_id),
  FOREIGN KEY (revision_id, pipeline_id) REFERENCES orch.revision (id, pipeline_id)
);
ALTER TABLE orch.proposal ADD FOREIGN KEY (version_id, pipeline_id) REFERENCES orch.version (id, pipeline_id);
ALTER TABLE orch.proposal ADD FOREIGN KEY (champion_id, pipeline_id) REFERENCES orch.version (id, pipeline_id);
ALTER TABLE orch.pipeline ADD FOREIGN KEY (champion_id, id) REFERENCES orch.version (id, pipeline_id);

CREATE TABLE orch.evaluation (
  proposal_id bigint NOT NULL REFERENCES orch.proposal,
  subject     text NOT NULL CHECK (subject IN ('candidate', 'champion')),
  version_id  bigint NOT NULL REFERENCES orch.version,
  metrics     jsonb NOT NULL,
  job_id      bigint,
  at          timestamptz NOT NULL,
  PRIMARY KEY (proposal_id, subject)
);

-- What the store holds for versions. A row with removed_at says: the bytes may be gone.
CREATE TABLE orch.artifact (
  digest      orch.digest PRIMARY KEY,
  recorded_at timestamptz NOT NULL,
  removed_at  timestamptz
);

-- ---------------------------------------------------------------- gates

CREATE TABLE orch.gate (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  pipeline_id  bigint NOT NULL REFERENCES orch.pipeline,
  proposal_id  bigint NOT NULL,
  version_id   bigint NOT NULL,
  kind         text NOT NULL CHECK (kind IN ('promote')),
  state        text NOT NULL CHECK (state IN ('open', 'approved', 'rejected', 'expired', 'superseded', 'withdrawn')),
  policy       jsonb NOT NULL,
  evidence     text NOT NULL CHECK (octet_length(evidence) <= 4194304), -- JSON, frozen byte for byte
  digest       orch.digest NOT NULL
                 CHECK (digest = 'sha256:' || encode(sha256(convert_to(evidence, 'UTF8')), 'hex')),
  nonce        text NOT NULL CHECK (length(nonce) >= 22),
  opened_at    timestamptz NOT NULL,
  expires_at   timestamptz NOT NULL CHECK (expires_at > opened_at),
  closed_at    timestamptz,
  closed_by    text,
  close_reason text,
  CHECK ((state = 'open') = (closed_at IS NULL)),
  FOREIGN KEY (proposal_id, pipeline_id) REFERENCES orch.proposal (id, pipeline_id),
  FOREIGN KEY (version_id, pipeline_id) REFERENCES orch.version (id, pipeline_id)
);
CREATE UNIQUE INDEX gate_one_open ON orch.gate (pipeline_id) WHERE state = 'open'; -- I4
CREATE INDEX gate_due ON orch.gate (expires_at) WHERE state = 'open';
CREATE INDEX gate_by_proposal ON orch.gate (proposal_id);

CREATE TABLE orch.decision (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  gate_id     bigint NOT NULL REFERENCES orch.gate,
  reviewer_id bigint NOT NULL REFERENCES orch.reviewer,
  verdict     text NOT NULL CHECK (verdict IN ('approve', 'reject')),
  comment     text NOT NULL DEFAULT '' CHECK (length(comment) <= 4000),
  digest      orch.digest NOT NULL,
  via         text NOT NULL CHECK (via IN ('slack', 'webhook', 'api', 'cli')),
  source      text,
  at          timestamptz NOT NULL,
  CHECK (verdict <> 'reject' OR comment <> ''),
  UNIQUE (gate_id, reviewer_id, verdict)
);

-- Answers that did not count, and why: late, own proposal, stranger, wrong digest.
CREATE TABLE orch.refusal (
  id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  gate_id bigint REFERENCES orch.gate,
  who     text NOT NULL,
  verdict text,
  comment text,
  code    text NOT NULL,
  message text NOT NULL,
  via     text,
  at      timestamptz NOT NULL
);
CREATE INDEX refusal_by_gate ON orch.refusal (gate_id);

-- ---------------------------------------------------------------- rollout

CREATE SEQUENCE orch.deployment_lease AS bigint;

CREATE TABLE orch.deployment (
  id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  pipeline_id     bigint NOT NULL REFERENCES orch.pipeline,
  version_id      bigint NOT NULL,
  from_version_id bigint,
  proposal_id     bigint,
  gate_id         bigint REFERENCES orch.gate,
  kind            text NOT NULL CHECK (kind IN ('promote', 'rollback')),
  state           text NOT NULL CHECK (state IN ('pending', 'stepping', 'live', 'aborted', 'rolled_back')),
  driver          jsonb NOT NULL,
  reason          text NOT NULL DEFAULT '',
  actor           text NOT NULL,
  attempts        int NOT NULL DEFAULT 0,
  due_at          timestamptz NOT NULL,
  lease           bigint,
  lease_owner     text,
  lease_until     timestamptz,
  created_at      timestamptz NOT NULL,
  ended_at        timestamptz,
  detail          jsonb NOT NULL DEFAULT '{}',
  CHECK ((kind = 'promote') = (gate_id IS NOT NULL)), -- I1
  FOREIGN KEY (version_id, pipeline_id) REFERENCES orch.version (id, pipeline_id),
  FOREIGN KEY (proposal_id, pipeline_id) REFERENCES orch.proposal (id, pipeline_id)
);
CREATE UNIQUE INDEX deployment_one_in_flight ON orch.deployment (pipeline_id)
  WHERE state IN ('pending', 'stepping'); -- I4
CREATE UNIQUE INDEX deployment_one_a_gate ON orch.deployment (gate_id) WHERE gate_id IS NOT NULL;
CREATE INDEX deployment_due ON orch.deployment (due_at) WHERE state IN ('pending', 'stepping');
CREATE INDEX deployment_by_pipeline ON orch.deployment (pipeline_id, id DESC);
ALTER TABLE orch.pipeline ADD FOREIGN KEY (champion_deployment_id) REFERENCES orch.deployment;

-- What was live, from when to when: written by the trigger on pipeline.champion_id alone.
CREATE TABLE orch.live_period (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  pipeline_id   bigint NOT NULL REFERENCES orch.pipeline,
  version_id    bigint NOT NULL REFERENCES orch.version,
  deployment_id bigint NOT NULL UNIQUE REFERENCES orch.deployment, -- a deployment makes a version live once
  since         timestamptz NOT NULL,
  until         timestamptz,
  good          boolean NOT NULL DEFAULT true -- false once it was rolled back from
);
CREATE UNIQUE INDEX live_period_current ON orch.live_period (pipeline_id) WHERE until IS NULL;
CREATE INDEX live_period_version ON orch.live_period (pipeline_id, version_id);

CREATE TABLE orch.hold (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  pipeline_id bigint NOT NULL REFERENCES orch.pipeline,
  reason      text NOT NULL CHECK (length(reason) BETWEEN 1 AND 2000),
  actor       text NOT NULL,
  at          timestamptz NOT NULL,
  released_at timestamptz,
  released_by text,
  release_reason text
);
CREATE UNIQUE INDEX hold_one ON orch.hold (pipeline_id) WHERE released_at IS NULL;

-- ---------------------------------------------------------------- live data and monitors

-- Rows of a pipeline are numbered without gaps: the append locks the stream's row, so numbers are in commit order and a
-- reader that has seen row n has seen every row before it.
CREATE TABLE orch.observation_stream (
  pipeline_id bigint PRIMARY KEY REFERENCES orch.pipeline,
  next_row    bigint NOT NULL DEFAULT 0,
  last_at     timestamptz
);
CREATE TABLE orch.observation_batch (
  pipeline_id bigint NOT NULL,
  first_row   bigint NOT NULL,
  n_rows      int NOT NULL CHECK (n_rows > 0),
  received_at timestamptz NOT NULL,
  body        bytea NOT NULL CHECK (octet_length(body) <= 16777216), -- NDJSON, one line a row
  PRIMARY KEY (pipeline_id, first_row)
);

CREATE SEQUENCE orch.monitor_lease AS bigint;

CREATE TABLE orch.monitor (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  pipeline_id bigint NOT NULL REFERENCES orch.pipeline,
  name        text NOT NULL,
  spec        jsonb NOT NULL,
  active      boolean NOT NULL DEFAULT true,
  version_id  bigint REFERENCES orch.version, -- the reference: whose profile the windows are compared with
  next_row    bigint NOT NULL DEFAULT 0,      -- the next window starts here
  window_rows bigint NOT NULL CHECK (window_rows > 0),
  due         boolean NOT NULL DEFAULT false, -- a whole window of rows is there: kept so that claims look at nothing else
  lease       bigint,
  lease_owner text,
  lease_until timestamptz,
  UNIQUE (pipeline_id, name)
);

CREATE INDEX monitor_due ON orch.monitor (id) WHERE due;

CREATE TABLE orch.monitor_window (
  monitor_id  bigint NOT NULL REFERENCES orch.monitor,
  from_row    bigint NOT NULL,
  to_row      bigint NOT NULL CHECK (to_row > from_row), -- exclusive
  version_id  bigint NOT NULL REFERENCES orch.version,
  verdict     text NOT NULL CHECK (verdict IN ('ok', 'drift', 'fault', 'insufficient')),
  result      jsonb NOT NULL,
  closed_at   timestamptz NOT NULL,
  PRIMARY KEY (monitor_id, from_row)
);

-- ---------------------------------------------------------------- telling the world

CREATE TABLE orch.event (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  type        text NOT NULL,
  pipeline_id bigint REFERENCES orch.pipeline,
  gate_id     bigint REFERENCES orch.gate,
  data        jsonb NOT NULL,
  at          timestamptz NOT NULL
);

CREATE SEQUENCE orch.outbox_lease AS bigint;

CREATE TABLE orch.outbox (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  event_id     bigint NOT NULL REFERENCES orch.event,
  message_id   text NOT NULL UNIQUE,  -- stays the same across retries
  channel      text NOT NULL CHECK (channel IN ('slack', 'webhook')),
  endpoint     jsonb NOT NULL,        -- {"channel"} or {"name","url","secret_env"}
  ordering_key text NOT NULL,         -- rows of one key are delivered in id order
  state        text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
  attempts     int NOT NULL DEFAULT 0,
  due_at       timestamptz NOT NULL,
  lease        bigint,
  lease_owner  text,
  lease_until  timestamptz,
  created_at   timestamptz NOT NULL,
  ended_at     timestamptz,
  last_error   text,
  result       jsonb
);
CREATE INDEX outbox_pending ON orch.outbox (ordering_key, id) WHERE state = 'pending';
CREATE INDEX outbox_dead ON orch.outbox (id) WHERE state = 'dead';

CREATE TABLE orch.chat_message (
  channel text NOT NULL,
  ts      text NOT NULL,
  gate_id bigint NOT NULL REFERENCES orch.gate,
  at      timestamptz NOT NULL,
  PRIMARY KEY (channel, ts)
);
CREATE INDEX chat_message_gate ON orch.chat_message (gate_id);

-- Signed requests that were seen, and answers to repeated idempotency keys.
CREATE TABLE orch.replay (
  scope      text NOT NULL,
  key        text NOT NULL CHECK (length(key) BETWEEN 1 AND 512),
  answer     jsonb,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (scope, key)
);
CREATE INDEX replay_expiry ON orch.replay (expires_at);

-- ---------------------------------------------------------------- audit

-- One chain a pipeline (scope = its id) and one for what belongs to none (scope 0).
CREATE TABLE orch.audit_head (
  scope     bigint PRIMARY KEY,
  seq       bigint NOT NULL DEFAULT 0,
  prev_hash bytea NOT NULL DEFAULT '\x',
  hash      bytea NOT NULL DEFAULT '\x'
) WITH (fillfactor = 50);
CREATE TABLE orch.audit (
  scope     bigint NOT NULL,
  seq       bigint NOT NULL,
  at        timestamptz NOT NULL,
  actor     text NOT NULL,
  action    text NOT NULL,   -- insert | update | delete
  object    text NOT NULL,   -- the table's name
  object_id text NOT NULL,
  detail    jsonb NOT NULL,
  prev_hash bytea NOT NULL,
  hash      bytea NOT NULL,
  PRIMARY KEY (scope, seq)
);

-- The legal moves: exactly those that a function of schema/functions makes. A state that no row starts from is final.
CREATE TABLE orch.arrow (
  object text NOT NULL,
  source text NOT NULL, -- '' is birth
  target text NOT NULL,
  PRIMARY KEY (object, source, target)
);
INSERT INTO orch.arrow (object, source, target) VALUES
  ('proposal', '', 'proposed'),
  ('proposal', 'proposed', 'training'), ('proposal', 'training', 'evaluating'),
  ('proposal', 'evaluating', 'awaiting_approval'), ('proposal', 'awaiting_approval', 'rolling_out'),
  ('proposal', 'rolling_out', 'promoted'), ('proposal', 'promoted', 'rolled_back'),
  ('proposal', 'training', 'failed'), ('proposal', 'evaluating', 'failed'), ('proposal', 'evaluating', 'blocked'),
  ('proposal', 'awaiting_approval', 'rejected'), ('proposal', 'awaiting_approval', 'expired'),
  ('proposal', 'rolling_out', 'aborted'),
  ('proposal', 'proposed', 'superseded'), ('proposal', 'training', 'superseded'),
  ('proposal', 'evaluating', 'superseded'), ('proposal', 'awaiting_approval', 'superseded'),
  ('proposal', 'proposed', 'cancelled'), ('proposal', 'training', 'cancelled'),
  ('proposal', 'evaluating', 'cancelled'), ('proposal', 'awaiting_approval', 'cancelled'),
  ('gate', '', 'open'), ('gate', 'open', 'approved'), ('gate', 'open', 'rejected'), ('gate', 'open', 'expired'),
  ('gate', 'open', 'superseded'), ('gate', 'open', 'withdrawn'),
  ('deployment', '', 'pending'), ('deployment', '', 'stepping'), ('deployment', 'pending', 'stepping'),
  ('deployment', 'stepping', 'live'), ('deployment', 'pending', 'aborted'), ('deployment', 'stepping', 'aborted'),
  ('deployment', 'live', 'rolled_back');
