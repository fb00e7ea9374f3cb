-- What clients keep for themselves (modules/private, XEP-0049): one element of each name and namespace.
CREATE TABLE private_elements (
    owner TEXT COLLATE "C" NOT NULL,
    namespace TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    element BYTEA NOT NULL,
    PRIMARY KEY (owner, namespace, name)
);
