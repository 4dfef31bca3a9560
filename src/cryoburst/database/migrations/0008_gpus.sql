-- How many GPUs a run's command uses, so that later ones are foretold by what it used.
ALTER TABLE runs ADD COLUMN gpus INTEGER NOT NULL DEFAULT 0;
