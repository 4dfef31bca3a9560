-- What a run's data were foretold to cost: set aside before its budgets pay for machines.
ALTER TABLE runs ADD COLUMN forecast_data_usd DOUBLE PRECISION NOT NULL DEFAULT 0;
