-- Portable SQL: the same text runs on SQLite and PostgreSQL. Times are seconds since the epoch.

CREATE TABLE runs (
    number BIGINT PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    project TEXT NOT NULL,
    job TEXT NOT NULL,
    target TEXT NOT NULL,
    kind TEXT NOT NULL,
    package TEXT NOT NULL,
    script TEXT NOT NULL,
    store TEXT NOT NULL,
    provider TEXT NOT NULL,
    machine TEXT NOT NULL,
    max_price DOUBLE PRECISION,
    parts INTEGER NOT NULL,
    submitted DOUBLE PRECISION NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    retry_at DOUBLE PRECISION NOT NULL,
    stop_wanted TEXT NOT NULL,
    stop_since DOUBLE PRECISION NOT NULL,
    lost_since DOUBLE PRECISION NOT NULL,
    staged DOUBLE PRECISION,
    started DOUBLE PRECISION,
    command_started DOUBLE PRECISION,
    command_seconds DOUBLE PRECISION,
    ended DOUBLE PRECISION,
    observed DOUBLE PRECISION,
    bytes_in BIGINT NOT NULL,
    bytes_to_send BIGINT NOT NULL,
    bytes_sent BIGINT NOT NULL,
    bytes_out BIGINT NOT NULL,
    files_in INTEGER NOT NULL,
    files_out INTEGER NOT NULL,
    done INTEGER NOT NULL,
    total INTEGER NOT NULL,
    unit TEXT NOT NULL,
    batches_home INTEGER NOT NULL,
    -- a claim: who works on this row, until when (see Ledger.claim)
    holder TEXT NOT NULL DEFAULT '',
    held_until DOUBLE PRECISION NOT NULL DEFAULT 0
);
CREATE INDEX runs_by_state ON runs (state);
CREATE INDEX runs_by_job ON runs (project, job);

CREATE TABLE machines (
    token TEXT PRIMARY KEY,
    run TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    provider TEXT NOT NULL,
    offer TEXT NOT NULL,
    usd_per_hour DOUBLE PRECISION,
    state TEXT NOT NULL,
    requested DOUBLE PRECISION NOT NULL,
    power_off_at DOUBLE PRECISION NOT NULL,
    provider_id TEXT NOT NULL,
    up DOUBLE PRECISION,
    gone DOUBLE PRECISION,
    note TEXT NOT NULL
);
CREATE INDEX machines_by_run ON machines (run);
CREATE INDEX machines_by_state ON machines (state);

CREATE TABLE events (
    run TEXT NOT NULL,
    time DOUBLE PRECISION NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX events_by_run ON events (run);

-- Caches. An entry may vanish at any time; it costs a read of the file, never a wrong result.
CREATE TABLE files (
    project TEXT NOT NULL,
    path TEXT NOT NULL,
    size BIGINT NOT NULL,
    mtime_ns BIGINT NOT NULL,
    inode BIGINT NOT NULL,
    checksum TEXT NOT NULL,
    PRIMARY KEY (project, path)
);
CREATE TABLE objects (
    store TEXT NOT NULL,
    project TEXT NOT NULL,
    checksum TEXT NOT NULL,
    key TEXT NOT NULL,
    PRIMARY KEY (store, project, checksum)
);
