-- What an audit entry is about beside its object: objects, events, commits and images, as subject.rs writes them.
CREATE TABLE audit_about (
    entry INTEGER NOT NULL REFERENCES audit (id) ON DELETE CASCADE,
    about TEXT NOT NULL,
    PRIMARY KEY (entry, about)
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_about_by_subject ON audit_about (about, entry);
CREATE INDEX audit_by_event ON audit (event, id) WHERE event IS NOT NULL;

-- A notice that a person dropped stays for a while as one that was sent does, so that a repeated record does not send it.
CREATE TABLE outbox_with_dropped (
    seq         INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    notifier    TEXT NOT NULL,
    notice      TEXT NOT NULL,
    state       TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sending', 'sent', 'dead', 'dropped')),
    not_before  INTEGER NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    interrupted INTEGER NOT NULL DEFAULT 0,  -- sends of which nobody knows whether they arrived
    error       TEXT,
    done_at     INTEGER,
    sender      INTEGER NOT NULL DEFAULT 0   -- the member of a shared queue that sends it; 0 in an embedded store
) STRICT;
INSERT INTO outbox_with_dropped
    SELECT seq, id, notifier, notice, state, not_before, attempts, interrupted, error, done_at, sender FROM outbox;
DROP TABLE outbox;
ALTER TABLE outbox_with_dropped RENAME TO outbox;
CREATE INDEX outbox_by_due ON outbox (not_before, seq) WHERE state = 'waiting';
CREATE INDEX outbox_by_state ON outbox (state);
CREATE INDEX outbox_by_done ON outbox (state, done_at) WHERE done_at IS NOT NULL;
