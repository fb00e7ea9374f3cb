//! The tables the tests write to.

use waxwing_storage::{Migration, Migrations};

pub const ITEMS: Migrations = Migrations {
    module: "items",
    sqlite: &[Migration {
        number: 1,
        name: "0001_items",
        sql: "
            CREATE TABLE items (
                id BIGINT NOT NULL PRIMARY KEY,
                label TEXT,
                body BLOB,
                flag BIGINT NOT NULL DEFAULT 0
            );
            -- a second statement, with a comment and a semicolon; in it
            CREATE UNIQUE INDEX items_by_label ON items (label);
        ",
    }],
    postgres: &[Migration {
        number: 1,
        name: "0001_items",
        sql: "
            CREATE TABLE items (
                id BIGINT NOT NULL PRIMARY KEY,
                label TEXT,
                body BYTEA,
                flag INTEGER NOT NULL DEFAULT 0
            );
            -- a second statement, with a comment and a semicolon; in it
            CREATE UNIQUE INDEX items_by_label ON items (label);
        ",
    }],
};

pub const INSERT: &str = "INSERT INTO items (id, label, body, flag) VALUES ($1, $2, $3, $4)";
pub const COUNT: &str = "SELECT count(*) FROM items";
