-- What a run had to do, so that later ones are foretold from it; what a machine's disk costs, so that its bill is whole.
ALTER TABLE runs ADD COLUMN units DOUBLE PRECISION NOT NULL DEFAULT 0;
ALTER TABLE machines ADD COLUMN disk_usd_gb_month DOUBLE PRECISION;
