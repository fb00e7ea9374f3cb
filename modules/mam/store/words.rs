//! How PostgreSQL looks for words.
//!
//! No plan fits all words: a walk through the messages finds frequent ones at once and rare ones never, the index of words
//! the other way round, and the planner knows neither how frequent these words are nor how large this archive is. So both
//! stand here one behind the other: the nearest 4,000 messages of the archive are looked through, and only when these do
//! not fill the page, and there are more, the index is asked for what lies beyond them. `id + 0` keeps the planner from
//! walking through everybody's messages instead. Words that are frequent among the nearest messages are not counted to
//! their end: only that walk would find it.

/// The oldest page of words.
pub(super) const OLDEST: &str = "\
    WITH asked AS MATERIALIZED (SELECT CASE WHEN numnode(plain) > 0 THEN CAST($13 AS TSQUERY) && plain END AS words \
    FROM (SELECT plainto_tsquery(CAST($11 AS REGCONFIG), $12) AS plain) AS cut), \
    near AS MATERIALIZED (SELECT walked.id AS number FROM (SELECT id FROM mam_messages WHERE archive = $1 AND id > \
    $2 AND id < $3 ORDER BY id LIMIT 4000) AS walked JOIN mam_texts ON mam_texts.id = walked.id WHERE words @@ \
    (SELECT words FROM asked) ORDER BY walked.id LIMIT $4), \
    edge AS MATERIALIZED (SELECT id FROM mam_messages WHERE archive = $1 AND id > $2 AND id < $3 ORDER BY id LIMIT 1 \
    OFFSET 3999), \
    far AS MATERIALIZED (SELECT id AS number FROM mam_texts WHERE CASE WHEN (SELECT count(*) FROM near) < $4 THEN \
    (SELECT count(*) FROM edge) > 0 ELSE FALSE END AND words @@ (SELECT words FROM asked) AND id + 0 > $2 AND id + 0 \
    < $3 AND id + 0 > (SELECT id FROM edge) ORDER BY id + 0 LIMIT $4) \
    SELECT id, length(stanza), CASE WHEN length(stanza) <= 65536 THEN stanza END, (SELECT count(*) FROM mam_messages \
    WHERE archive = $1 AND id IN ($5, $6, $7, $8)) FROM (SELECT number FROM near UNION ALL SELECT number FROM far) \
    AS found JOIN mam_messages ON archive = $1 AND id = number WHERE ($9 = '' OR peer = $9) AND ($10 = '' OR \
    resource = $10) ORDER BY id LIMIT $4";

/// The newest page of words.
pub(super) const NEWEST: &str = "\
    WITH asked AS MATERIALIZED (SELECT CASE WHEN numnode(plain) > 0 THEN CAST($13 AS TSQUERY) && plain END AS words \
    FROM (SELECT plainto_tsquery(CAST($11 AS REGCONFIG), $12) AS plain) AS cut), \
    near AS MATERIALIZED (SELECT walked.id AS number FROM (SELECT id FROM mam_messages WHERE archive = $1 AND id > \
    $2 AND id < $3 ORDER BY id DESC LIMIT 4000) AS walked JOIN mam_texts ON mam_texts.id = walked.id WHERE words @@ \
    (SELECT words FROM asked) ORDER BY walked.id DESC LIMIT $4), \
    edge AS MATERIALIZED (SELECT id FROM mam_messages WHERE archive = $1 AND id > $2 AND id < $3 ORDER BY id DESC \
    LIMIT 1 OFFSET 3999), \
    far AS MATERIALIZED (SELECT id AS number FROM mam_texts WHERE CASE WHEN (SELECT count(*) FROM near) < $4 THEN \
    (SELECT count(*) FROM edge) > 0 ELSE FALSE END AND words @@ (SELECT words FROM asked) AND id + 0 > $2 AND id + 0 \
    < $3 AND id + 0 < (SELECT id FROM edge) ORDER BY id + 0 DESC LIMIT $4) \
    SELECT id, length(stanza), CASE WHEN length(stanza) <= 65536 THEN stanza END, (SELECT count(*) FROM mam_messages \
    WHERE archive = $1 AND id IN ($5, $6, $7, $8)) FROM (SELECT number FROM near UNION ALL SELECT number FROM far) \
    AS found JOIN mam_messages ON archive = $1 AND id = number WHERE ($9 = '' OR peer = $9) AND ($10 = '' OR \
    resource = $10) ORDER BY id DESC LIMIT $4";

/// The oldest page of words with somebody.
pub(super) const OLDEST_WITH: &str = "\
    WITH asked AS MATERIALIZED (SELECT CASE WHEN numnode(plain) > 0 THEN CAST($13 AS TSQUERY) && plain END AS words \
    FROM (SELECT plainto_tsquery(CAST($11 AS REGCONFIG), $12) AS plain) AS cut), \
    near AS MATERIALIZED (SELECT walked.id AS number FROM (SELECT id FROM mam_messages WHERE archive = $1 AND id > \
    $2 AND id < $3 AND peer = $9 AND ($10 = '' OR resource = $10) ORDER BY id LIMIT 4000) AS walked JOIN mam_texts \
    ON mam_texts.id = walked.id WHERE words @@ (SELECT words FROM asked) ORDER BY walked.id LIMIT $4), \
    edge AS MATERIALIZED (SELECT id FROM mam_messages WHERE archive = $1 AND id > $2 AND id < $3 AND peer = $9 AND \
    ($10 = '' OR resource = $10) ORDER BY id LIMIT 1 OFFSET 3999), \
    far AS MATERIALIZED (SELECT id AS number FROM mam_texts WHERE CASE WHEN (SELECT count(*) FROM near) < $4 THEN \
    (SELECT count(*) FROM edge) > 0 ELSE FALSE END AND words @@ (SELECT words FROM asked) AND id + 0 > $2 AND id + 0 \
    < $3 AND id + 0 > (SELECT id FROM edge)) \
    SELECT id, length(stanza), CASE WHEN length(stanza) <= 65536 THEN stanza END, (SELECT count(*) FROM mam_messages \
    WHERE archive = $1 AND id IN ($5, $6, $7, $8)) FROM (SELECT number FROM near UNION ALL SELECT number FROM far) \
    AS found JOIN mam_messages ON archive = $1 AND id = number WHERE ($9 = '' OR peer = $9) AND ($10 = '' OR \
    resource = $10) ORDER BY id LIMIT $4";

/// The newest page of words with somebody.
pub(super) const NEWEST_WITH: &str = "\
    WITH asked AS MATERIALIZED (SELECT CASE WHEN numnode(plain) > 0 THEN CAST($13 AS TSQUERY) && plain END AS words \
    FROM (SELECT plainto_tsquery(CAST($11 AS REGCONFIG), $12) AS plain) AS cut), \
    near AS MATERIALIZED (SELECT walked.id AS number FROM (SELECT id FROM mam_messages WHERE archive = $1 AND id > \
    $2 AND id < $3 AND peer = $9 AND ($10 = '' OR resource = $10) ORDER BY id DESC LIMIT 4000) AS walked JOIN \
    mam_texts ON mam_texts.id = walked.id WHERE words @@ (SELECT words FROM asked) ORDER BY walked.id DESC LIMIT \
    $4), \
    edge AS MATERIALIZED (SELECT id FROM mam_messages WHERE archive = $1 AND id > $2 AND id < $3 AND peer = $9 AND \
    ($10 = '' OR resource = $10) ORDER BY id DESC LIMIT 1 OFFSET 3999), \
    far AS MATERIALIZED (SELECT id AS number FROM mam_texts WHERE CASE WHEN (SELECT count(*) FROM near) < $4 THEN \
    (SELECT count(*) FROM edge) > 0 ELSE FALSE END AND words @@ (SELECT words FROM asked) AND id + 0 > $2 AND id + 0 \
    < $3 AND id + 0 < (SELECT id FROM edge)) \
    SELECT id, length(stanza), CASE WHEN length(stanza) <= 65536 THEN stanza END, (SELECT count(*) FROM mam_messages \
    WHERE archive = $1 AND id IN ($5, $6, $7, $8)) FROM (SELECT number FROM near UNION ALL SELECT number FROM far) \
    AS found JOIN mam_messages ON archive = $1 AND id = number WHERE ($9 = '' OR peer = $9) AND ($10 = '' OR \
    resource = $10) ORDER BY id DESC LIMIT $4";

/// How many messages have the words.
pub(super) const COUNT: &str = "\
    WITH asked AS MATERIALIZED (SELECT CASE WHEN numnode(plain) > 0 THEN CAST($9 AS TSQUERY) && plain END AS words \
    FROM (SELECT plainto_tsquery(CAST($7 AS REGCONFIG), $8) AS plain) AS cut), \
    near AS MATERIALIZED (SELECT walked.id AS number FROM (SELECT id FROM mam_messages WHERE archive = $1 AND id > \
    $2 AND id < $3 ORDER BY id DESC LIMIT 4000) AS walked JOIN mam_texts ON mam_texts.id = walked.id WHERE words @@ \
    (SELECT words FROM asked)), \
    edge AS MATERIALIZED (SELECT id FROM mam_messages WHERE archive = $1 AND id > $2 AND id < $3 ORDER BY id DESC \
    LIMIT 1 OFFSET 3999), \
    far AS MATERIALIZED (SELECT id AS number FROM mam_texts WHERE CASE WHEN (SELECT count(*) FROM near) < 200 THEN \
    (SELECT count(*) FROM edge) > 0 ELSE FALSE END AND words @@ (SELECT words FROM asked) AND id + 0 > $2 AND id + 0 \
    < $3 AND id + 0 < (SELECT id FROM edge)) \
    SELECT CASE WHEN (SELECT count(*) FROM near) >= 200 AND (SELECT count(*) FROM edge) > 0 THEN $4 ELSE (SELECT \
    count(*) FROM near) + (SELECT count(*) FROM (SELECT 1 AS one FROM far JOIN mam_messages ON archive = $1 AND id = \
    number WHERE ($5 = '' OR peer = $5) AND ($6 = '' OR resource = $6) LIMIT $4) AS counted) END";

/// How many with somebody.
pub(super) const COUNT_WITH: &str = "\
    WITH asked AS MATERIALIZED (SELECT CASE WHEN numnode(plain) > 0 THEN CAST($9 AS TSQUERY) && plain END AS words \
    FROM (SELECT plainto_tsquery(CAST($7 AS REGCONFIG), $8) AS plain) AS cut), \
    near AS MATERIALIZED (SELECT walked.id AS number FROM (SELECT id FROM mam_messages WHERE archive = $1 AND id > \
    $2 AND id < $3 AND peer = $5 AND ($6 = '' OR resource = $6) ORDER BY id DESC LIMIT 4000) AS walked JOIN \
    mam_texts ON mam_texts.id = walked.id WHERE words @@ (SELECT words FROM asked)), \
    edge AS MATERIALIZED (SELECT id FROM mam_messages WHERE archive = $1 AND id > $2 AND id < $3 AND peer = $5 AND \
    ($6 = '' OR resource = $6) ORDER BY id DESC LIMIT 1 OFFSET 3999), \
    far AS MATERIALIZED (SELECT id AS number FROM mam_texts WHERE CASE WHEN (SELECT count(*) FROM near) < 200 THEN \
    (SELECT count(*) FROM edge) > 0 ELSE FALSE END AND words @@ (SELECT words FROM asked) AND id + 0 > $2 AND id + 0 \
    < $3 AND id + 0 < (SELECT id FROM edge)) \
    SELECT CASE WHEN (SELECT count(*) FROM near) >= 200 AND (SELECT count(*) FROM edge) > 0 THEN $4 ELSE (SELECT \
    count(*) FROM near) + (SELECT count(*) FROM (SELECT 1 AS one FROM far JOIN mam_messages ON archive = $1 AND id = \
    number WHERE ($5 = '' OR peer = $5) AND ($6 = '' OR resource = $6) LIMIT $4) AS counted) END";
