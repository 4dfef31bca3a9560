-- Contents lie at an offset of a blob; a project may have another folder in the store than its path says (a clone).
-- The objects are a cache: what is in the store is found again there.
DROP TABLE objects;
CREATE TABLE objects (
    store TEXT NOT NULL,
    folder TEXT NOT NULL,
    checksum TEXT NOT NULL,
    key TEXT NOT NULL,
    place BIGINT NOT NULL,
    PRIMARY KEY (store, folder, checksum)
);
CREATE TABLE projects (
    path TEXT PRIMARY KEY,
    store TEXT NOT NULL,
    folder TEXT NOT NULL
);
ALTER TABLE runs ADD COLUMN folder TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN leave TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN bytes_left BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN files_left INTEGER NOT NULL DEFAULT 0;
