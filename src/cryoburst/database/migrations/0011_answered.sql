-- When the provider answered the order of a machine: a listing that was begun before can't show it.
ALTER TABLE machines ADD COLUMN answered DOUBLE PRECISION;
