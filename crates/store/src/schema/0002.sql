-- A policy with a variant lock has a choice and agreements for each variant; the variant is '' for plain tags, and for
-- every policy without a lock.
CREATE TABLE latest_by_variant (
    policy   TEXT NOT NULL,
    variant  TEXT NOT NULL,
    image    TEXT NOT NULL,
    previous TEXT,
    since    INTEGER NOT NULL,
    PRIMARY KEY (policy, variant)
) STRICT, WITHOUT ROWID;
INSERT INTO latest_by_variant SELECT policy, '', image, previous, since FROM latest;
DROP TABLE latest;
ALTER TABLE latest_by_variant RENAME TO latest;

CREATE TABLE agreed_by_variant (
    automation TEXT NOT NULL,
    file       TEXT NOT NULL,
    policy     TEXT NOT NULL,
    variant    TEXT NOT NULL,
    tag        TEXT NOT NULL,
    before     TEXT,
    rule       TEXT NOT NULL,
    at         INTEGER NOT NULL,
    told       TEXT,               -- the person's value that people were told of
    PRIMARY KEY (automation, file, policy, variant)
) STRICT, WITHOUT ROWID;
INSERT INTO agreed_by_variant SELECT automation, file, policy, '', tag, before, rule, at, told FROM agreed;
DROP TABLE agreed;
ALTER TABLE agreed_by_variant RENAME TO agreed;
