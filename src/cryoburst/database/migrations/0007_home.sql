-- What came home of all attempts and versions: what leaves a cloud is paid, whatever becomes of it.
ALTER TABLE runs ADD COLUMN bytes_home BIGINT NOT NULL DEFAULT 0;
