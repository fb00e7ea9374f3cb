//! Several devices of one account over real sockets: copies (XEP-0280), and clients whose users do not look (XEP-0352).

#[path = "../common/mod.rs"]
mod common;

mod asleep;
mod copies;
mod forgeries;
