-- Devices that are woken through the services of their makers (modules/push_gateway). `gateway` is the domain where they
-- registered, `target` what the service wants to know, as JSON.
CREATE TABLE push_devices (
    gateway TEXT COLLATE "C" NOT NULL,
    node TEXT COLLATE "C" NOT NULL,
    secret TEXT NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    service TEXT COLLATE "C" NOT NULL,
    device TEXT COLLATE "C" NOT NULL,
    target TEXT NOT NULL,
    refreshed BIGINT NOT NULL,
    PRIMARY KEY (gateway, node)
);

CREATE UNIQUE INDEX push_devices_of_owner ON push_devices (owner, gateway, service, device);

-- Addresses where applications leave something for a client (UnifiedPush).
CREATE TABLE push_endpoints (
    gateway TEXT COLLATE "C" NOT NULL,
    token TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    client TEXT COLLATE "C" NOT NULL,
    application TEXT COLLATE "C" NOT NULL,
    instance TEXT COLLATE "C" NOT NULL,
    expires BIGINT NOT NULL,
    PRIMARY KEY (gateway, token)
);

CREATE UNIQUE INDEX push_endpoints_of_client ON push_endpoints (owner, gateway, client, application, instance);

-- What waits for a client that is away.
CREATE TABLE push_waiting (
    id BIGINT PRIMARY KEY,
    gateway TEXT COLLATE "C" NOT NULL,
    token TEXT COLLATE "C" NOT NULL,
    topic TEXT COLLATE "C" NOT NULL,
    content BYTEA NOT NULL,
    expires BIGINT NOT NULL
);

CREATE INDEX push_waiting_for_endpoint ON push_waiting (gateway, token, id);
