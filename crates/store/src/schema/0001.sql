-- Times are microseconds since 1970-01-01 UTC. Objects are `Kind/namespace/name`, keys `namespace/name`.

-- Inbox: the deliveries that were accepted, so that a sender's repetition is dropped.
CREATE TABLE deliveries (
    receiver TEXT NOT NULL,
    delivery TEXT NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (receiver, delivery)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_by_age ON deliveries (at);

-- Work: one row for each key that waits or runs. Claims are not here: they die with the process (see queue.rs).
CREATE TABLE work (
    id         INTEGER PRIMARY KEY,
    target     TEXT NOT NULL UNIQUE,
    generation INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    first_at   INTEGER NOT NULL,
    pending    INTEGER NOT NULL,  -- at least the number of waiting hints; counted anew when it passes the cap
    reason     TEXT               -- of the last retry
) STRICT;
CREATE INDEX work_by_due ON work (not_before);

CREATE TABLE hints (
    work       INTEGER NOT NULL REFERENCES work (id),
    hint       TEXT NOT NULL,
    generation INTEGER NOT NULL,
    event      TEXT NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (work, hint, generation)
) STRICT, WITHOUT ROWID;

-- Ledger
CREATE TABLE tags (
    repository TEXT NOT NULL,
    tag        TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    gone_at    INTEGER,           -- null while the tag is present
    PRIMARY KEY (repository, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_by_gone ON tags (gone_at) WHERE gone_at IS NOT NULL;

CREATE TABLE latest (
    policy   TEXT PRIMARY KEY,
    image    TEXT NOT NULL,
    previous TEXT,
    since    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE commits (
    seq        INTEGER PRIMARY KEY,
    decision   TEXT NOT NULL UNIQUE,
    automation TEXT NOT NULL,
    id         TEXT NOT NULL,
    branch     TEXT NOT NULL,
    repository TEXT NOT NULL,
    at         INTEGER NOT NULL,
    summary    TEXT NOT NULL
) STRICT;
CREATE INDEX commits_by_automation ON commits (automation, seq);
CREATE INDEX commits_by_age ON commits (at);

-- What Git and a policy last agreed upon in a file: a value that differs was set by a person.
CREATE TABLE agreed (
    automation TEXT NOT NULL,
    file       TEXT NOT NULL,
    policy     TEXT NOT NULL,
    tag        TEXT NOT NULL,
    before     TEXT,
    rule       TEXT NOT NULL,
    at         INTEGER NOT NULL,
    told       TEXT,               -- the person's value that people were told of
    PRIMARY KEY (automation, file, policy)
) STRICT, WITHOUT ROWID;

-- Pushes that were begun and not yet recorded: settled by looking at the branch.
CREATE TABLE intents (
    id   TEXT PRIMARY KEY,
    lane TEXT NOT NULL,
    at   INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX intents_by_lane ON intents (lane, at);

CREATE TABLE states (
    object TEXT PRIMARY KEY,
    health TEXT NOT NULL,
    reason TEXT NOT NULL,
    since  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Outbox: sent rows stay for a while, so that a repeated record does not send its notice again.
CREATE TABLE outbox (
    seq         INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    notifier    TEXT NOT NULL,
    notice      TEXT NOT NULL,
    state       TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sending', 'sent', 'dead')),
    not_before  INTEGER NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    interrupted INTEGER NOT NULL DEFAULT 0,  -- sends of which nobody knows whether they arrived
    error       TEXT,
    done_at     INTEGER
) STRICT;
CREATE INDEX outbox_by_due ON outbox (not_before, seq) WHERE state = 'waiting';
CREATE INDEX outbox_by_state ON outbox (state);
CREATE INDEX outbox_by_done ON outbox (state, done_at) WHERE done_at IS NOT NULL;

-- Audit
CREATE TABLE audit (
    id     INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    kind   TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL,
    event  TEXT
) STRICT;
CREATE INDEX audit_by_object ON audit (object, id);
CREATE INDEX audit_by_age ON audit (at);
