-- Times are microseconds since the Unix epoch, NULL when unset. Documents are BLOBs, NULL when empty.
-- Text is compared byte for byte, which is SQLite's BINARY collation and the default.

CREATE TABLE enrollkit_accounts (
    name             TEXT    NOT NULL PRIMARY KEY,
    server_uuid      TEXT    UNIQUE,
    base_url         TEXT    NOT NULL,
    key_pair_id      TEXT    NOT NULL,
    sealed_token     BLOB,
    token_expires_at INTEGER,
    detail           BLOB,
    health           TEXT    NOT NULL,
    health_reason    TEXT    NOT NULL,
    health_since     INTEGER,
    last_ok_at       INTEGER,
    expiry_warned_days INTEGER NOT NULL,
    created_at       INTEGER,
    updated_at       INTEGER,
    version          INTEGER NOT NULL
);

CREATE TABLE enrollkit_key_pairs (
    account     TEXT NOT NULL,
    id          TEXT NOT NULL,
    certificate BLOB,
    sealed_key  BLOB,
    created_at  INTEGER,
    PRIMARY KEY (account, id)
);

CREATE TABLE enrollkit_service_sessions (
    account        TEXT    NOT NULL PRIMARY KEY,
    sealed_session BLOB,
    token_digest   BLOB    NOT NULL,
    updated_at     INTEGER,
    version        INTEGER NOT NULL
);

CREATE TABLE enrollkit_nanodep (
    account               TEXT    NOT NULL PRIMARY KEY,
    sync_cursor           TEXT    NOT NULL,
    assigner_profile_uuid TEXT    NOT NULL,
    assigner_modified_at  INTEGER,
    staged_key_pair_id    TEXT    NOT NULL,
    updated_at            INTEGER,
    version               INTEGER NOT NULL
);

CREATE TABLE enrollkit_devices (
    account             TEXT NOT NULL,
    serial              TEXT NOT NULL,
    model               TEXT NOT NULL,
    family              TEXT NOT NULL,
    os                  TEXT NOT NULL,
    profile_uuid        TEXT NOT NULL,
    profile_status      TEXT NOT NULL,
    profile_assigned_at INTEGER,
    profile_pushed_at   INTEGER,
    assigned_at         INTEGER,
    migration_deadline  INTEGER,
    op_date             INTEGER,
    left_at             INTEGER,
    left_reason         TEXT NOT NULL,
    digest              BLOB NOT NULL,
    first_seen_at       INTEGER,
    updated_at          INTEGER,
    document            BLOB,
    PRIMARY KEY (account, serial)
);

CREATE INDEX enrollkit_devices_serial ON enrollkit_devices (serial, account);

CREATE TABLE enrollkit_assignments (
    account             TEXT    NOT NULL,
    serial              TEXT    NOT NULL,
    profile             TEXT    NOT NULL,
    deferred            TEXT    NOT NULL,
    state               TEXT    NOT NULL,
    next_attempt_at     INTEGER,
    failures            INTEGER NOT NULL,
    throttles           INTEGER NOT NULL,
    attempt_at          INTEGER,
    attempt_profile     TEXT    NOT NULL,
    attempt_result      TEXT    NOT NULL,
    attempt_error       TEXT    NOT NULL,
    attempt_retry_after INTEGER NOT NULL, -- nanoseconds
    satisfied_at        INTEGER,
    problem             TEXT    NOT NULL,
    problem_since       INTEGER,
    updated_at          INTEGER,
    version             INTEGER NOT NULL,
    PRIMARY KEY (account, serial)
);

CREATE INDEX enrollkit_assignments_due ON enrollkit_assignments (account, next_attempt_at, serial)
    WHERE next_attempt_at IS NOT NULL;

CREATE INDEX enrollkit_assignments_state ON enrollkit_assignments (account, state, serial);

CREATE TABLE enrollkit_profiles (
    account     TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    uuid        TEXT NOT NULL,
    defined_at  INTEGER,
    created_at  INTEGER,
    document    BLOB,
    PRIMARY KEY (account, fingerprint)
);

CREATE TABLE enrollkit_cursors (
    account       TEXT    NOT NULL PRIMARY KEY,
    value         TEXT    NOT NULL,
    phase         TEXT    NOT NULL,
    last_sync_at  INTEGER,
    last_sweep_at INTEGER,
    loops         INTEGER NOT NULL,
    rules         TEXT    NOT NULL,
    rules_order   INTEGER NOT NULL,
    rollout_at    INTEGER,
    updated_at    INTEGER,
    version       INTEGER NOT NULL
);

CREATE TABLE enrollkit_sessions (
    id          TEXT    NOT NULL PRIMARY KEY,
    account     TEXT    NOT NULL,
    serial      TEXT    NOT NULL,
    udid        TEXT    NOT NULL,
    product     TEXT    NOT NULL,
    os_version  TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    user_info   BLOB,
    sealed_flow BLOB,
    created_at  INTEGER,
    updated_at  INTEGER,
    expires_at  INTEGER,
    version     INTEGER NOT NULL
);

CREATE INDEX enrollkit_sessions_expires ON enrollkit_sessions (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE enrollkit_enrollments (
    id                  TEXT    NOT NULL PRIMARY KEY,
    udid                TEXT    NOT NULL,
    serial              TEXT    NOT NULL,
    account             TEXT    NOT NULL,
    session_id          TEXT    NOT NULL,
    user_info           BLOB,
    product             TEXT    NOT NULL,
    os_version          TEXT    NOT NULL,
    state               TEXT    NOT NULL,
    generation          INTEGER NOT NULL,
    certificate_hash    TEXT    NOT NULL,
    next_certificate_hash TEXT  NOT NULL,
    awaiting            TEXT    NOT NULL,
    awaiting_at         INTEGER,
    renewing_at         INTEGER,
    authenticated_at    INTEGER,
    enrolled_at         INTEGER,
    profiles_applied_at INTEGER,
    released_at         INTEGER,
    unenrolled_at       INTEGER,
    last_seen_at        INTEGER,
    updated_at          INTEGER,
    version             INTEGER NOT NULL
);

CREATE INDEX enrollkit_enrollments_serial ON enrollkit_enrollments (serial, id);

CREATE INDEX enrollkit_enrollments_account ON enrollkit_enrollments (account, id);

CREATE TABLE enrollkit_runs (
    id            TEXT    NOT NULL PRIMARY KEY,
    enrollment_id TEXT    NOT NULL,
    generation    INTEGER NOT NULL,
    account       TEXT    NOT NULL,
    serial        TEXT    NOT NULL,
    state         TEXT    NOT NULL,
    live          INTEGER NOT NULL,
    document      BLOB,
    next_wake_at  INTEGER,
    created_at    INTEGER,
    updated_at    INTEGER,
    version       INTEGER NOT NULL,
    claimed_until INTEGER NOT NULL DEFAULT 0
);

CREATE UNIQUE INDEX enrollkit_runs_generation ON enrollkit_runs (enrollment_id, generation);

CREATE UNIQUE INDEX enrollkit_runs_live ON enrollkit_runs (enrollment_id) WHERE live = 1;

CREATE INDEX enrollkit_runs_due ON enrollkit_runs (next_wake_at, id) WHERE live = 1;

CREATE INDEX enrollkit_runs_serial ON enrollkit_runs (serial, id);

-- A finished effect keeps its row, and so its ID, without its document.
CREATE TABLE enrollkit_effects (
    id            TEXT    NOT NULL PRIMARY KEY,
    run_id        TEXT    NOT NULL,
    kind          TEXT    NOT NULL,
    document      BLOB,
    due_at        INTEGER NOT NULL,
    attempts      INTEGER NOT NULL,
    last_error    TEXT    NOT NULL,
    created_at    INTEGER,
    finished      INTEGER NOT NULL DEFAULT 0,
    claimed_until INTEGER NOT NULL DEFAULT 0
);

CREATE INDEX enrollkit_effects_due ON enrollkit_effects (due_at, id) WHERE finished = 0;

CREATE INDEX enrollkit_effects_run ON enrollkit_effects (run_id, due_at, id) WHERE finished = 0;

-- AUTOINCREMENT: a number is never given twice. There is one writer at a time, so numbers become visible in order.
CREATE TABLE enrollkit_activities (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    at            INTEGER,
    kind          TEXT NOT NULL,
    actor         TEXT NOT NULL,
    account       TEXT NOT NULL,
    serial        TEXT NOT NULL,
    enrollment_id TEXT NOT NULL,
    detail        BLOB
);

CREATE INDEX enrollkit_activities_account ON enrollkit_activities (account, seq);

CREATE INDEX enrollkit_activities_serial ON enrollkit_activities (serial, seq);

CREATE INDEX enrollkit_activities_enrollment ON enrollkit_activities (enrollment_id, seq);

-- A released lease keeps its row without an owner, so that its token goes on growing.
CREATE TABLE enrollkit_leases (
    name       TEXT    NOT NULL PRIMARY KEY,
    owner      TEXT    NOT NULL,
    token      INTEGER NOT NULL,
    expires_at INTEGER
);
