-- What of a run's inputs came after its command had begun: how fast machines read, and jobs run, is learnt without it.
ALTER TABLE runs ADD COLUMN late_bytes BIGINT NOT NULL DEFAULT 0;
