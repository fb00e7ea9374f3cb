//! What the server's database holds, asked directly: no server is between the oracle and the rows.

use waxwing_storage::{Database, Settings, values};

use crate::message::Id;
use crate::oracle::Row;

const ROWS: &str = "SELECT a.owner, m.id, m.stanza FROM mam_messages m JOIN mam_archives a ON a.number = m.archive \
                    WHERE a.removed_at IS NULL AND m.id > $1 ORDER BY m.id LIMIT 5000";

/// Everything in the archives of persons.
///
/// # Errors
/// When the database cannot be read.
pub async fn rows(url: &str) -> anyhow::Result<Vec<Row>> {
    let database = Database::open(&Settings { connections: Some(1), ..Settings::for_url(url) }).await?;
    let mut rows = Vec::new();
    let mut after = -1;
    loop {
        let page = database.fetch_all(ROWS, values![after]).await?;
        let Some(last) = page.last() else { break };
        after = last.integer(1)?;
        for row in &page {
            let owner = row.text(0)?;
            let owner = owner.strip_prefix("person").and_then(|rest| rest.split('@').next()?.parse().ok());
            if let (Some(owner), Some(message)) = (owner, message(&row.bytes(2)?)) {
                rows.push(Row { owner, place: row.integer(1)?, message });
            }
        }
    }
    database.close().await;
    Ok(rows)
}

/// Which message a stored stanza is, by its body.
fn message(stanza: &[u8]) -> Option<Id> {
    let text = std::str::from_utf8(stanza).ok()?;
    let (_, rest) = text.split_once("<body>")?;
    Id::read(rest.split_once("</body>")?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_by_its_body() {
        let stanza = b"<message id='x'><body>m-1-2-3</body><origin-id xmlns='urn:xmpp:sid:0' id='m-1-2-3'/></message>";
        assert_eq!(message(stanza), Id::read("m-1-2-3"));
        assert_eq!(message(b"<message/>"), None);
    }
}
