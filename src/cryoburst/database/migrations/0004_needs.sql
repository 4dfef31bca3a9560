-- What a run's machine must have, as predicted when it was submitted, and what its command really took.
ALTER TABLE runs ADD COLUMN processes INTEGER NOT NULL DEFAULT 1;
ALTER TABLE runs ADD COLUMN threads INTEGER NOT NULL DEFAULT 1;
ALTER TABLE runs ADD COLUMN fitted_to INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN memory_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN gpu_memory_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN disk_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN peak_memory_bytes BIGINT NOT NULL DEFAULT 0;
