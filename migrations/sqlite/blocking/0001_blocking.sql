-- Whom an account does not want to hear (modules/blocking). Both are addresses as JIDs are prepared.
CREATE TABLE blocked (
    owner TEXT NOT NULL,
    jid TEXT NOT NULL,
    PRIMARY KEY (owner, jid)
) STRICT, WITHOUT ROWID;
