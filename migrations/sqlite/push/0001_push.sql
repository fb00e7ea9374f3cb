-- Where an account's devices want to be called (modules/push): a node of an app server each. The options are the form that
-- goes with every publication, as it was received. The resource is that of the client that has registered last. The last
-- call and what came of it are for the account to look at, and written late.
CREATE TABLE push_registrations (
    id INTEGER NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    service TEXT NOT NULL,
    node TEXT NOT NULL,
    resource TEXT NOT NULL,
    options BLOB,
    since INTEGER NOT NULL,
    last_call INTEGER,
    last_result TEXT,
    UNIQUE (owner, service, node)
) STRICT;
