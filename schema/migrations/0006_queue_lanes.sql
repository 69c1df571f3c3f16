-- One lane per pipeline, kind of job and priority. Tags are only compared among jobs of one priority and, but for workers
-- of several kinds, of one class. With one lane for all, a job that was taken out of turn (an urgent one, or one for a
-- worker of another kind) from the end of a long lane carried its far tag to the clock, and to whatever else its
-- pipeline had: a newcomer's single job then waited behind the whole backlog.

ALTER TABLE orch.lane ADD class_id int NOT NULL DEFAULT 0, ADD rank smallint NOT NULL DEFAULT 0;
ALTER TABLE orch.lane ALTER class_id DROP DEFAULT, ALTER rank DROP DEFAULT;
ALTER TABLE orch.lane DROP CONSTRAINT lane_pkey, ADD PRIMARY KEY (pipeline_id, class_id, rank);
-- The lanes of what waits go on where it ends. The old ones (class 0, which is none) still say what a job costs.
INSERT INTO orch.lane (pipeline_id, class_id, rank, end_tag, cost_ms)
SELECT j.pipeline_id, j.class_id, j.rank, max(j.tag + j.cost_ms), coalesce(max(l.cost_ms), 1000)
  FROM orch.job j LEFT JOIN orch.lane l ON l.pipeline_id = j.pipeline_id AND l.class_id = 0
 GROUP BY j.pipeline_id, j.class_id, j.rank;
UPDATE orch.lane SET end_tag = 0 WHERE class_id = 0;

DROP FUNCTION IF EXISTS orch.queue_lane_take(bigint, int);
DROP FUNCTION IF EXISTS orch.queue_lane_learn(bigint, bigint, float8);
