-- The nodes of accounts (modules/pubsub, XEP-0060 and XEP-0163).

-- One row for each node. `configuration` is what its owner has chosen, as JSON. `newest` counts up with every item, `items`
-- and `bytes` are how much the node holds. `expire` is the number of seconds after which items go, NULL for never.
CREATE TABLE pubsub_nodes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    configuration TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    newest INTEGER NOT NULL,
    items INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    expire INTEGER
) STRICT;

CREATE UNIQUE INDEX pubsub_nodes_of_owner ON pubsub_nodes (owner, name);
CREATE INDEX pubsub_nodes_that_expire ON pubsub_nodes (number) WHERE expire IS NOT NULL;

-- One row for each item. `position` is greater for what was published later.
CREATE TABLE pubsub_items (
    node INTEGER NOT NULL,
    id TEXT NOT NULL,
    position INTEGER NOT NULL,
    published_at INTEGER NOT NULL,
    publisher TEXT NOT NULL,
    size INTEGER NOT NULL,
    payload BLOB,
    PRIMARY KEY (node, id)
) STRICT;

CREATE UNIQUE INDEX pubsub_items_in_order ON pubsub_items (node, position, size);

-- Who stands how to a node, beside its owner: 'publisher', 'member' or 'outcast'.
CREATE TABLE pubsub_affiliations (
    node INTEGER NOT NULL,
    jid TEXT NOT NULL,
    affiliation TEXT NOT NULL,
    PRIMARY KEY (node, jid)
) STRICT, WITHOUT ROWID;

-- Who has subscribed to a node: 'subscribed' or 'pending'.
CREATE TABLE pubsub_subscriptions (
    node INTEGER NOT NULL,
    jid TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (node, jid)
) STRICT, WITHOUT ROWID;
