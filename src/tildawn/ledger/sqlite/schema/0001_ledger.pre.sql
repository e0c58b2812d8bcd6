-- The first schema of a house. Every statement runs inside the one transaction of its migration.

CREATE TABLE fact (
    seq  INTEGER PRIMARY KEY,
    leaf BLOB NOT NULL CHECK (length(leaf) = 32),
    body BLOB NOT NULL CHECK (length(body) <= 65535)
) STRICT;

CREATE TRIGGER fact_never_changes BEFORE UPDATE ON fact
BEGIN SELECT RAISE(ABORT, 'a fact never changes'); END;

CREATE TRIGGER fact_never_goes BEFORE DELETE ON fact
BEGIN SELECT RAISE(ABORT, 'a fact never goes'); END;

-- Where the facts of one run are. The run is its 16 bytes.
CREATE TABLE run_fact (
    run BLOB NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (run, seq)
) WITHOUT ROWID, STRICT;

-- id = seq * 8 + slot. Exactly one of text and blob is there, or neither once it was erased.
CREATE TABLE payload (
    id     INTEGER PRIMARY KEY,
    salt   BLOB,
    text   BLOB,
    blob   TEXT,
    erased INTEGER
) STRICT;

-- Which facts keep which blob alive.
CREATE TABLE blob_use (
    blob TEXT NOT NULL,
    seq  INTEGER NOT NULL,
    PRIMARY KEY (blob, seq)
) WITHOUT ROWID, STRICT;

-- The end of the ledger; the epoch fences a stale holder of the pen.
CREATE TABLE head (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    size     INTEGER NOT NULL,
    chain    BLOB NOT NULL CHECK (length(chain) = 32),
    frontier BLOB NOT NULL CHECK (length(frontier) % 32 = 0),
    epoch    INTEGER NOT NULL
) STRICT;

-- States of the hashes after every 1,024 facts: where a check may begin, and where a break lies.
CREATE TABLE mark (
    size     INTEGER PRIMARY KEY,
    chain    BLOB NOT NULL CHECK (length(chain) = 32),
    frontier BLOB NOT NULL CHECK (length(frontier) % 32 = 0)
) STRICT;

-- Up to where the ledger is known to be on the disk as it was hashed; opening checks what follows.
CREATE TABLE verified (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    size     INTEGER NOT NULL,
    chain    BLOB NOT NULL CHECK (length(chain) = 32),
    frontier BLOB NOT NULL CHECK (length(frontier) % 32 = 0)
) STRICT;

-- The kinds and versions of facts that the ledger holds.
CREATE TABLE kind (
    name  TEXT NOT NULL,
    v     INTEGER NOT NULL,
    first INTEGER NOT NULL,
    PRIMARY KEY (name, v)
) WITHOUT ROWID, STRICT;

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID, STRICT;

INSERT INTO meta VALUES ('format', '1');
INSERT INTO head VALUES (1, 0, zeroblob(32), x'', 0);
INSERT INTO verified VALUES (1, 0, zeroblob(32), x'');
