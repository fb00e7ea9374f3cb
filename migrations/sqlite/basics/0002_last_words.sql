-- What an account's client said when it went (XEP-0012 §3); empty when it said nothing.
ALTER TABLE last_activity ADD COLUMN status TEXT NOT NULL DEFAULT '';
