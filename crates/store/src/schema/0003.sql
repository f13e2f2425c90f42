-- When an image's content was first seen, whatever tags it had: a Guard's `minAge` counts from it.
CREATE TABLE digests (
    repository TEXT NOT NULL,
    digest     TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,   -- exact to a day
    PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX digests_by_last_seen ON digests (last_seen);
