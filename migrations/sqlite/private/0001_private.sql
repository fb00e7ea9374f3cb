-- What clients keep for themselves (modules/private, XEP-0049): one element of each name and namespace.
CREATE TABLE private_elements (
    owner TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    element BLOB NOT NULL,
    PRIMARY KEY (owner, namespace, name)
) STRICT;
