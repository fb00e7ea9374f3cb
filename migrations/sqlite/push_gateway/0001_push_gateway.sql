-- Devices that are woken through the services of their makers (modules/push_gateway). `gateway` is the domain where they
-- registered, `target` what the service wants to know, as JSON.
CREATE TABLE push_devices (
    gateway TEXT NOT NULL,
    node TEXT NOT NULL,
    secret TEXT NOT NULL,
    owner TEXT NOT NULL,
    service TEXT NOT NULL,
    device TEXT NOT NULL,
    target TEXT NOT NULL,
    refreshed INTEGER NOT NULL,
    PRIMARY KEY (gateway, node)
) STRICT;

CREATE UNIQUE INDEX push_devices_of_owner ON push_devices (owner, gateway, service, device);

-- Addresses where applications leave something for a client (UnifiedPush).
CREATE TABLE push_endpoints (
    gateway TEXT NOT NULL,
    token TEXT NOT NULL,
    owner TEXT NOT NULL,
    client TEXT NOT NULL,
    application TEXT NOT NULL,
    instance TEXT NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (gateway, token)
) STRICT;

CREATE UNIQUE INDEX push_endpoints_of_client ON push_endpoints (owner, gateway, client, application, instance);

-- What waits for a client that is away.
CREATE TABLE push_waiting (
    id INTEGER PRIMARY KEY,
    gateway TEXT NOT NULL,
    token TEXT NOT NULL,
    topic TEXT NOT NULL,
    content BLOB NOT NULL,
    expires INTEGER NOT NULL
) STRICT;

CREATE INDEX push_waiting_for_endpoint ON push_waiting (gateway, token, id);
