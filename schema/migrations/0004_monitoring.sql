-- What monitoring needs beyond one kind of monitor: labels that join predictions, windows by time, monitors that look at
-- the clock or at another system, incidents, and sessions of the pages.

-- ---------------------------------------------------------------- streams

-- A pipeline has two streams: the rows that the model saw, and its predictions joined with the labels that came for
-- them. Both are numbered and read alike, so every window is a range of one of them.
ALTER TABLE orch.observation_stream
  ADD COLUMN stream text NOT NULL DEFAULT 'rows' CHECK (stream IN ('rows', 'labels')),
  ADD COLUMN newest_at timestamptz,         -- the newest time that a row carries, never later than its arrival
  DROP CONSTRAINT observation_stream_pkey,
  ADD PRIMARY KEY (pipeline_id, stream);
ALTER TABLE orch.observation_batch
  ADD COLUMN stream text NOT NULL DEFAULT 'rows' CHECK (stream IN ('rows', 'labels')),
  ADD COLUMN min_at timestamptz,            -- of its rows: what they carry, else when they came
  ADD COLUMN max_at timestamptz,
  DROP CONSTRAINT observation_batch_pkey,
  ADD PRIMARY KEY (pipeline_id, stream, first_row);
DROP FUNCTION IF EXISTS orch.observations_append(text, int, bytea, text); -- it has more parameters now
-- Rows repeat their keys, so they compress well; lz4 costs a fraction of the default's time, where the server has it.
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)) THEN
    ALTER TABLE orch.observation_batch ALTER COLUMN body SET COMPRESSION lz4;
    ALTER TABLE orch.version ALTER COLUMN profile SET COMPRESSION lz4;
  END IF;
END $$;
-- Windows by time read the batches that reach into them.
CREATE INDEX observation_batch_time ON orch.observation_batch (pipeline_id, stream, max_at);

-- Predictions that a label may still come for; kept only for pipelines with a monitor that needs labels.
CREATE TABLE orch.prediction (
  pipeline_id bigint NOT NULL,
  id          text COLLATE "C" NOT NULL CHECK (length(id) BETWEEN 1 AND 200), -- by bytes: half the time of a locale
  row         bigint NOT NULL,              -- in the stream `rows`
  at          timestamptz NOT NULL,
  version     int,                          -- who predicted; NULL: the champion of then
  prediction  text CHECK (length(prediction) <= 200),
  score       float8,
  labelled    boolean NOT NULL DEFAULT false,
  received_at timestamptz NOT NULL,
  PRIMARY KEY (pipeline_id, id)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05);
-- In the order of rows: the oldest are forgotten first, and a window's share of missing labels is a range.
CREATE INDEX prediction_row ON orch.prediction (pipeline_id, row);

-- Labels that came before their prediction, or for one that never comes.
CREATE TABLE orch.label_waiting (
  pipeline_id bigint NOT NULL,
  id          text COLLATE "C" NOT NULL CHECK (length(id) BETWEEN 1 AND 200), -- by bytes: half the time of a locale
  label       text NOT NULL CHECK (length(label) <= 200),
  at          timestamptz NOT NULL,         -- when the truth was known
  received_at timestamptz NOT NULL,
  PRIMARY KEY (pipeline_id, id)
);
CREATE INDEX label_waiting_age ON orch.label_waiting (received_at);

-- ---------------------------------------------------------------- monitors

DROP INDEX orch.monitor_due;
DROP TRIGGER IF EXISTS monitor_is_due ON orch.monitor;
DROP FUNCTION IF EXISTS orch.monitor_is_due();
-- What took one window at a time.
DROP FUNCTION IF EXISTS orch.monitor_claim(text, bigint, int);
DROP FUNCTION IF EXISTS orch.observations_read(bigint, bigint, bigint);
DROP FUNCTION IF EXISTS orch.window_close(bigint, bigint, bigint, bigint, jsonb, jsonb);
ALTER TABLE orch.monitor
  DROP COLUMN due,
  ADD COLUMN kind        text NOT NULL DEFAULT 'drift' CHECK (kind IN ('drift', 'prediction_drift', 'quality',
    'performance', 'estimated_performance', 'latency', 'volume', 'prometheus', 'sql', 'schedule')),
  ADD COLUMN stream      text NOT NULL DEFAULT 'rows' CHECK (stream IN ('rows', 'labels')),
  -- Who looks when it is due: windows over a stream, questions to another system, or the clock alone.
  ADD COLUMN runner      text NOT NULL GENERATED ALWAYS AS (CASE WHEN kind IN ('prometheus', 'sql') THEN 'probe'
    WHEN kind IN ('volume', 'schedule') THEN 'clock' ELSE 'window' END) STORED,
  ALTER COLUMN window_rows DROP NOT NULL,
  ADD COLUMN window_ms   bigint CHECK (window_ms BETWEEN 1000 AND 31622400000),
  ADD COLUMN lateness_ms bigint NOT NULL DEFAULT 0 CHECK (lateness_ms >= 0),
  ADD COLUMN window_from timestamptz,       -- by time: the next window starts here; NULL until a row has come
  ADD COLUMN start_row   bigint NOT NULL DEFAULT 0, -- windows take no row before this one: where the reference or the rule began
  ADD COLUMN every_ms    bigint CHECK (every_ms >= 1000), -- probes
  ADD COLUMN warm_row    bigint,            -- windows that begin before this row or time are not judged
  ADD COLUMN warm_at     timestamptz,
  ADD COLUMN due_at      timestamptz,       -- when somebody must look; NULL: when something comes
  ADD COLUMN number      bigint NOT NULL DEFAULT 0, -- windows closed so far
  ADD COLUMN state       jsonb NOT NULL DEFAULT '{}', -- what the next window must know of the ones before
  ADD COLUMN latest      jsonb;             -- the newest result, whole
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)) THEN
    ALTER TABLE orch.monitor ALTER COLUMN latest SET COMPRESSION lz4;
    ALTER TABLE orch.monitor ALTER COLUMN spec SET COMPRESSION lz4;
  END IF;
END $$;
ALTER TABLE orch.monitor SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX monitor_due ON orch.monitor (runner, due_at) WHERE active AND due_at IS NOT NULL;

ALTER TABLE orch.monitor_window
  ADD COLUMN number  bigint,
  ADD COLUMN from_at timestamptz,           -- windows by time, and probes (both ends: when they asked)
  ADD COLUMN to_at   timestamptz,
  ADD COLUMN rows    bigint,
  ALTER COLUMN version_id DROP NOT NULL,
  DROP CONSTRAINT monitor_window_verdict_check,
  ADD CHECK (verdict IN ('ok', 'drift', 'fault', 'alarm', 'insufficient', 'warming'));
UPDATE orch.monitor_window w SET rows = w.to_row - w.from_row, number = n.number
  FROM (SELECT monitor_id, from_row, row_number() OVER (PARTITION BY monitor_id ORDER BY from_row) AS number
        FROM orch.monitor_window) n WHERE n.monitor_id = w.monitor_id AND n.from_row = w.from_row;
UPDATE orch.monitor SET start_row = next_row;
UPDATE orch.monitor m SET number = coalesce((SELECT max(number) FROM orch.monitor_window w WHERE w.monitor_id = m.id), 0);
ALTER TABLE orch.monitor_window
  DROP CONSTRAINT monitor_window_pkey,
  DROP CONSTRAINT monitor_window_check,
  ALTER COLUMN from_row DROP NOT NULL,
  ALTER COLUMN to_row DROP NOT NULL,
  ALTER COLUMN number SET NOT NULL,
  ALTER COLUMN rows SET NOT NULL,
  ADD CHECK (to_row >= from_row),
  ADD CHECK (to_at >= from_at),
  ADD PRIMARY KEY (monitor_id, number);
CREATE INDEX monitor_window_age ON orch.monitor_window (closed_at);

-- ---------------------------------------------------------------- signals and incidents

ALTER TABLE orch.signal
  DROP CONSTRAINT signal_kind_check,
  ADD CHECK (kind IN ('drift', 'prediction_drift', 'performance', 'estimate', 'latency', 'volume', 'schedule', 'data_fault',
    'alert', 'manual', 'external')),
  ADD COLUMN tell boolean NOT NULL DEFAULT false, -- people are told; it asks for no retraining
  ADD COLUMN shares text[],                       -- what other pipelines may have too, as owner:NAME, data:…, column:NAME
  ADD COLUMN incident_id bigint;                  -- the one that it waits in, or has waited in last
UPDATE orch.signal SET tell = true WHERE kind = 'data_fault';

-- Several pipelines that share something fire together: one question to a person instead of many retrainings.
CREATE TABLE orch.incident (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  share        text NOT NULL CHECK (share IN ('owner', 'data', 'column')),
  value        text NOT NULL CHECK (length(value) BETWEEN 1 AND 200), -- the owner, the data source or the column they share
  state        text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'released', 'dismissed', 'resolved')),
  rule         jsonb NOT NULL,              -- the numbers in force when it opened
  opened_at    timestamptz NOT NULL,
  closed_at    timestamptz,
  closed_by    text,
  close_reason text CHECK (length(close_reason) <= 2000),
  CHECK ((state = 'open') = (closed_at IS NULL))
);
CREATE UNIQUE INDEX incident_one_open ON orch.incident (share, value) WHERE state = 'open';
CREATE TABLE orch.incident_member (
  incident_id bigint NOT NULL REFERENCES orch.incident,
  pipeline_id bigint NOT NULL REFERENCES orch.pipeline,
  signal_id   bigint NOT NULL REFERENCES orch.signal,
  proposal_id bigint,                       -- already under way when the incident opened, or opened by its release
  joined_at   timestamptz NOT NULL,
  PRIMARY KEY (incident_id, signal_id)
);
CREATE INDEX incident_member_pipeline ON orch.incident_member (pipeline_id);
CREATE INDEX incident_member_signal ON orch.incident_member (signal_id);
ALTER TABLE orch.signal ADD FOREIGN KEY (incident_id) REFERENCES orch.incident;
CREATE INDEX signal_by_incident ON orch.signal (incident_id) WHERE incident_id IS NOT NULL;
-- What fires together: looked at by every new signal.
CREATE INDEX signal_recent ON orch.signal (first_at) WHERE status = 'firing';
INSERT INTO orch.arrow (object, source, target) VALUES
  ('incident', '', 'open'), ('incident', 'open', 'released'), ('incident', 'open', 'dismissed'), ('incident', 'open', 'resolved');

-- ---------------------------------------------------------------- pages

-- A person who looks at pages: made from a bearer token, known by the digest of a random cookie.
CREATE TABLE orch.session (
  hash       orch.digest PRIMARY KEY,
  token_id   bigint NOT NULL REFERENCES orch.token,
  csrf       text NOT NULL CHECK (length(csrf) >= 22),
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL
);
CREATE INDEX session_expiry ON orch.session (expires_at);
-- Pipelines that are there already get their second stream.
INSERT INTO orch.observation_stream (pipeline_id, stream) SELECT id, 'labels' FROM orch.pipeline ON CONFLICT DO NOTHING;
