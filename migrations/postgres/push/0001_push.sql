-- Where an account's devices want to be called (modules/push): a node of an app server each. The options are the form that
-- goes with every publication, as it was received. The resource is that of the client that has registered last. The last
-- call and what came of it are for the account to look at, and written late.
CREATE TABLE push_registrations (
    id BIGINT NOT NULL PRIMARY KEY,
    owner TEXT COLLATE "C" NOT NULL,
    service TEXT COLLATE "C" NOT NULL,
    node TEXT COLLATE "C" NOT NULL,
    resource TEXT COLLATE "C" NOT NULL,
    options BYTEA,
    since BIGINT NOT NULL,
    last_call BIGINT,
    last_result TEXT,
    UNIQUE (owner, service, node)
);
