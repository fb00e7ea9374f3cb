-- When something was said in a room, and when an account was there last (XEP-0437): milliseconds since 1970, 0 for never.
-- Written now and then while a room is awake, and when it falls asleep.
ALTER TABLE muc_rooms ADD COLUMN active BIGINT NOT NULL DEFAULT 0;
ALTER TABLE muc_affiliations ADD COLUMN seen BIGINT NOT NULL DEFAULT 0;
