-- Signals about a version that is tried beside the champion: it differs, and people are told.

ALTER TABLE orch.signal
  DROP CONSTRAINT signal_kind_check,
  ADD CONSTRAINT signal_kind_check CHECK (kind IN ('drift', 'prediction_drift', 'performance', 'estimate', 'latency', 'volume', 'schedule',
    'data_fault', 'canary', 'alert', 'manual', 'external'));
