-- What a copy of a shared state has beside the embedded store's tables.

-- Claims and leases end with their owner's membership, not with a process's connection.
CREATE TABLE IF NOT EXISTS claims (
    work       INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL,
    owner      INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS leases (
    name  TEXT PRIMARY KEY,
    term  INTEGER NOT NULL,
    owner INTEGER NOT NULL
) STRICT;

-- The processes: each is named by the place of its joining in the log. `number` is its last message.
CREATE TABLE IF NOT EXISTS members (
    member INTEGER PRIMARY KEY,
    number INTEGER NOT NULL
) STRICT;

-- The beginning of a message that is longer than the server takes; `place` is where it stands in the log.
CREATE TABLE IF NOT EXISTS parts (
    place  INTEGER PRIMARY KEY,
    member INTEGER NOT NULL,
    body   BLOB NOT NULL
) STRICT;

-- How far this copy has come in which log, and (this alone is no part of the state) whose copy it is.
CREATE TABLE IF NOT EXISTS position (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    log      TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    message  TEXT NOT NULL,
    member   INTEGER NOT NULL
) STRICT;
INSERT OR IGNORE INTO position VALUES (1, '', 0, '', 0);
