-- Signed checkpoints, and bodies that left for the archive.

CREATE TABLE checkpoint (
    size INTEGER PRIMARY KEY,
    note TEXT NOT NULL
) STRICT;

-- Bodies of facts before this position may have left: an archive that was verified has them.
CREATE TABLE archive (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    body_to INTEGER NOT NULL
) STRICT;

INSERT INTO archive VALUES (1, 0);

-- A fact never changes, but its body may leave for the archive; position and leaf stay.
DROP TRIGGER fact_never_changes;

CREATE TRIGGER fact_never_changes BEFORE UPDATE ON fact
WHEN NOT (
    NEW.seq = OLD.seq AND NEW.leaf = OLD.leaf AND length(NEW.body) = 0
    AND OLD.seq < (SELECT body_to FROM archive)
)
BEGIN SELECT RAISE(ABORT, 'a fact never changes'); END;
