//! What storage promises, tried on both engines. Needs `WAXWING_TEST_POSTGRES` (see `waxwing_storage::testing`).

mod faults;
mod group_commit;
mod migrations;
mod proxy;
mod schema;
mod start;
mod statements;
