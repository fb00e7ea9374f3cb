//! What archives cost: rows a second by size of the batch, and pages of an archive as large as you like, on both engines.
//!
//! ```text
//! scripts/with-postgres cargo bench -p waxwing-mam --bench archive -- [--engine sqlite|postgres] [--rows 5000000]
//!     [--archives 1] [--owners 50000] [--pages 2000] [--no-search]
//! ```
//! `--owners` is over how many archives the writing is spread, `--archives` over how many the rows that pages are read
//! from. The tables it prints stand in docs/performance.md. Processor time is that of this process and of those of the
//! database's processes that serve it, as /proc tells (Linux).
#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use waxwing_core::address::{BareJid, Jid};
use waxwing_core::answers::{Request, Scope};
use waxwing_core::archive::Archive;
use waxwing_core::clock::IdMaker;
use waxwing_core::stanza::{Stanza, element};
use waxwing_core::storage::testing::{Guard, fresh_with};
use waxwing_core::storage::{Database, Engine, values};
use waxwing_mam::{Archives, Item, MIGRATIONS, NewMessage, Settings, Store};

/// What is asked for on the command line.
struct Options {
    engines: Vec<Engine>,
    rows: u64,
    archives: u64,
    owners: u64,
    pages: usize,
    search: bool,
}

impl Options {
    fn read() -> Option<Options> {
        let mut options = Options {
            engines: Engine::ALL.to_vec(),
            rows: 100_000,
            archives: 1,
            owners: 50_000,
            pages: 500,
            search: true,
        };
        let mut arguments = std::env::args().skip(1).peekable();
        // Who runs all targets as tests does not want this.
        if !std::env::args().any(|argument| argument == "--bench") {
            return None;
        }
        while let Some(argument) = arguments.next() {
            let mut number = || arguments.next().and_then(|text| text.replace('_', "").parse().ok());
            match argument.as_str() {
                "--bench" => {}
                "--no-search" => options.search = false,
                "--rows" => options.rows = number()?,
                "--archives" => options.archives = number()?.max(1),
                "--owners" => options.owners = number()?.max(1),
                "--pages" => options.pages = number()? as usize,
                "--engine" => {
                    options.engines = match arguments.next()?.as_str() {
                        "sqlite" => vec![Engine::Sqlite],
                        "postgres" => vec![Engine::Postgres],
                        _ => return None,
                    }
                }
                _ => return None,
            }
        }
        Some(options)
    }
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Processor time of this process and of the database's processes for it.
struct Meter {
    database: String,
}

impl Meter {
    fn of(guard: &Guard) -> Meter {
        let url = &guard.settings.url;
        let name = url.rsplit('/').next().unwrap_or_default();
        Meter { database: name.split('?').next().unwrap_or_default().to_owned() }
    }

    fn read(&self) -> (Duration, Duration) {
        let mut theirs = Duration::ZERO;
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command);
            if command.starts_with("postgres") && command.contains(&self.database) {
                theirs += time_of(&entry.path());
            }
        }
        (time_of(std::path::Path::new("/proc/self")), theirs)
    }
}

/// The time all threads of a process have run.
fn time_of(process: &std::path::Path) -> Duration {
    let threads = std::fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

fn stanza(dice: &mut Dice, peer: &str) -> Stanza {
    const WORDS: [&str; 16] = [
        "meet", "me", "at", "the", "station", "tomorrow", "if", "you", "can", "bring", "some", "coffee", "and", "that",
        "book", "please",
    ];
    let body: Vec<&str> = (0..12).map(|_| WORDS[dice.roll(16) as usize]).collect();
    let id = format!("{:016x}-{:08x}", dice.roll(1 << 31), dice.roll(1 << 31));
    let xml = format!(
        "<message xmlns='jabber:client' from='{peer}/phone.8af2' to='owner@example.org' id='{id}' type='chat'>\
         <body>{} {}</body><active xmlns='http://jabber.org/protocol/chatstates'/>\
         <request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/>\
         <origin-id xmlns='urn:xmpp:sid:0' id='{id}'/></message>",
        body.join(" "),
        dice.roll(1000)
    );
    Stanza::read(element(xml).expect("well-formed")).expect("a stanza").expect("in order")
}

fn owner(number: u64) -> BareJid {
    BareJid::new(&format!("user{number}@example.org")).expect("an address")
}

fn peer(dice: &mut Dice) -> String {
    format!("contact{}@example.net", dice.roll(30))
}

fn per(time: Duration, count: u64) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e6 / count.max(1) as f64)
}

/// One way of writing: batches of a size, straight into the tables.
async fn write_batches(database: &Database, ids: &IdMaker, meter: &Meter, owners: u64, batch: usize, rows: u64) {
    let store = Store(database.clone());
    let mut dice = Dice(batch as u64);
    let sample: Vec<(String, Vec<u8>)> = (0..512)
        .map(|_| {
            let peer = peer(&mut dice);
            let bytes = stanza(&mut dice, &peer).to_bytes();
            (peer, bytes)
        })
        .collect();
    let (ours, theirs) = meter.read();
    let started = Instant::now();
    let mut written = 0;
    while written < rows {
        let messages: Vec<NewMessage<'_>> = (0..batch)
            .map(|_| {
                let (peer, stanza) = &sample[dice.roll(512) as usize];
                let archive = 1_000_000 + dice.roll(owners) as i64;
                NewMessage {
                    archive,
                    id: ids.next(),
                    reference: dice.roll(1 << 30) as i64,
                    peer,
                    resource: "phone.8af2",
                    stanza,
                }
            })
            .collect();
        store.insert(&messages).await.expect("written");
        written += batch as u64;
    }
    let took = started.elapsed();
    let (ours_after, theirs_after) = meter.read();
    println!(
        "| {} | {batch} rows in a transaction | {:.0} | {} | {} |",
        database.engine(),
        written as f64 / took.as_secs_f64(),
        per(ours_after - ours, written),
        per(theirs_after.saturating_sub(theirs), written),
    );
}

/// Another: many callers, each waiting for its commit, as messages do.
async fn write_together(archives: &Arc<Archives>, meter: &Meter, owners: u64, callers: u64, rows: u64, engine: Engine) {
    let each = (rows / callers).max(1);
    let (ours, theirs) = meter.read();
    let started = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let archives = archives.clone();
            tokio::spawn(async move {
                let mut dice = Dice(caller);
                let mut slowest = Duration::ZERO;
                let mut all = Duration::ZERO;
                for _ in 0..each {
                    let peer = peer(&mut dice);
                    let stanza = stanza(&mut dice, &peer);
                    let peer = Jid::new(&peer).expect("an address");
                    let owner = owner(dice.roll(owners));
                    let began = Instant::now();
                    let item = Item { peer: &peer, is_outgoing: false, stanza: &stanza, in_turn: true };
                    archives.put(&owner, item).await.expect("stored");
                    slowest = slowest.max(began.elapsed());
                    all += began.elapsed();
                }
                (slowest, all)
            })
        })
        .collect();
    let mut all = Duration::ZERO;
    for task in tasks {
        all += task.await.expect("no panic").1;
    }
    let took = started.elapsed();
    let written = each * callers;
    let (ours_after, theirs_after) = meter.read();
    println!(
        "| {engine} | {callers} at a time, together | {:.0} | {} | {} | {:.1} ms |",
        written as f64 / took.as_secs_f64(),
        per(ours_after - ours, written),
        per(theirs_after.saturating_sub(theirs), written),
        all.as_secs_f64() * 1e3 / written as f64,
    );
}

/// Reads pages and tells how long they take.
async fn read_pages(archives: &Archives, meter: &Meter, engine: Engine, what: &str, queries: &[(BareJid, String)]) {
    let mut times = Vec::with_capacity(queries.len());
    let mut messages = 0;
    let (ours, theirs) = meter.read();
    for (owner, payload) in queries {
        let iq = format!("<iq type='set' id='1' from='{owner}/r' to='{owner}'>{payload}</iq>");
        let stanza = Stanza::read(element(iq).expect("well-formed")).expect("a stanza").expect("in order");
        let request = Request { stanza: &stanza, scope: Scope::Account, session: None, stranger: None };
        let started = Instant::now();
        let found = archives.query(owner, request).await.expect("a page");
        times.push(started.elapsed());
        messages += found.results.len();
    }
    let (ours_after, theirs_after) = meter.read();
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    let count = queries.len() as u64;
    println!(
        "| {engine} | {what} | {:.1} | {:.2} ms | {:.2} ms | {} | {} |",
        messages as f64 / count as f64,
        at(0.5),
        at(0.99),
        per(ours_after - ours, count),
        per(theirs_after.saturating_sub(theirs), count),
    );
}

fn query(fields: &str, set: &str) -> String {
    format!(
        "<query xmlns='urn:xmpp:mam:2' queryid='q'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
         <value>urn:xmpp:mam:2</value></field>{fields}</x><set xmlns='http://jabber.org/protocol/rsm'><max>50</max>{set}</set></query>"
    )
}

async fn bench(engine: Engine, options: &Options) {
    let (database, guard) = fresh_with(engine, &[MIGRATIONS]).await;
    let meter = Meter::of(&guard);
    let ids = Arc::new(IdMaker::new(0));
    println!("\n| engine | writing | rows/s | µs here per row | µs in the database per row |\n|---|---|---|---|---|");
    for batch in [1, 10, 50, 100, 200, 500, 1000] {
        let rows = (batch as u64 * 100).clamp(500, 20_000);
        write_batches(&database, &ids, &meter, options.owners, batch, rows).await;
    }
    database.execute("DELETE FROM mam_messages", values![]).await.expect("emptied");
    let next = ids.clone();
    let settings = Settings { search: options.search, ..Settings::default() };
    let archives =
        Arc::new(Archives::new(Store(database.clone()), "example.org", settings, Arc::new(move || next.next())));
    println!(
        "\n| engine | writing | rows/s | µs here per row | µs in the database per row | waited |\n|---|---|---|---|---|---|"
    );
    let owners = options.owners.min(200);
    for number in 0..owners {
        archives.number_of(&owner(number)).await.expect("made");
    }
    for callers in [1, 10, 100, 1000] {
        let rows = (callers * 40).clamp(300, 20_000);
        write_together(&archives, &meter, owners, callers, rows, engine).await;
    }
    let (ours, theirs) = meter.read();
    let started = Instant::now();
    archives.finish_search().await.expect("indexed");
    let (ours_after, theirs_after) = meter.read();
    println!(
        "\nWords written after that in {:.1} s: {:.2} s of processor here, {:.2} s in the database.",
        started.elapsed().as_secs_f64(),
        (ours_after - ours).as_secs_f64(),
        theirs_after.saturating_sub(theirs).as_secs_f64()
    );

    let mut dice = Dice(7);
    let mut known = Vec::new();
    for number in 0..options.archives {
        known.push(archives.number_of(&owner(number)).await.expect("made"));
    }
    let started = Instant::now();
    let mut middle = vec![0; known.len()];
    let mut written = 0;
    while written < options.rows {
        let sample: Vec<(String, Vec<u8>)> = (0..1000)
            .map(|_| {
                let peer = peer(&mut dice);
                let bytes = stanza(&mut dice, &peer).to_bytes();
                (peer, bytes)
            })
            .collect();
        let messages: Vec<NewMessage<'_>> = sample
            .iter()
            .map(|(peer, stanza)| {
                let which = dice.roll(options.archives) as usize;
                let id = ids.next();
                if middle[which] == 0 || written < options.rows / 2 {
                    middle[which] = id;
                }
                let reference = dice.roll(1 << 30) as i64;
                NewMessage { archive: known[which], id, reference, peer, resource: "phone.8af2", stanza }
            })
            .collect();
        Store(database.clone()).insert(&messages).await.expect("written");
        written += messages.len() as u64;
    }
    println!(
        "\n{written} messages in {} archives, written in {:.0} s.",
        options.archives,
        started.elapsed().as_secs_f64()
    );
    if engine == Engine::Postgres {
        database.execute("ANALYZE mam_messages", values![]).await.expect("analysed");
    }
    println!("\n| engine | page of 50 | messages | p50 | p99 | µs here per page | µs in the database per page |");
    println!("|---|---|---|---|---|---|---|");
    let mut pages = |fields: &str, set: &dyn Fn(usize) -> String| -> Vec<(BareJid, String)> {
        let mut one = || {
            let which = dice.roll(options.archives) as usize;
            (owner(which as u64), query(fields, &set(which)))
        };
        (0..options.pages).map(|_| one()).collect()
    };
    let last = pages("", &|_| "<before/>".to_owned());
    let first = pages("", &|_| String::new());
    let deep = pages("", &|which| format!("<before>{}</before>", middle[which]));
    let onward = pages("", &|which| format!("<after>{}</after>", middle[which]));
    let with = pages("<field var='with'><value>contact7@example.net</value></field>", &|_| "<before/>".to_owned());
    let stranger = pages("<field var='with'><value>nobody@example.net</value></field>", &|_| "<before/>".to_owned());
    let count = pages("", &|_| "<max>0</max>".to_owned())
        .into_iter()
        .map(|(owner, payload)| (owner, payload.replace("<max>50</max>", "")));
    for (what, queries) in [
        ("the last one (warming up)", &last),
        ("the last one", &last),
        ("the first one", &first),
        ("before the middle", &deep),
        ("after the middle", &onward),
        ("the last one with a contact", &with),
        ("the last one with a stranger", &stranger),
        ("the number alone", &count.collect()),
    ] {
        read_pages(&archives, &meter, engine, what, queries).await;
    }
    if options.search {
        let started = Instant::now();
        archives.finish_search().await.expect("indexed");
        println!("\nThe words of these messages were caught up in {:.0} s.\n", started.elapsed().as_secs_f64());
        let words = |text: &str| format!("<field var='{{urn:xmpp:fulltext:0}}fulltext'><value>{text}</value></field>");
        let frequent = pages(&words("coffee station"), &|_| "<before/>".to_owned());
        let rare = pages(&words("coffee station 777"), &|_| "<before/>".to_owned());
        read_pages(&archives, &meter, engine, "frequent words", &frequent[..options.pages.min(50)]).await;
        read_pages(&archives, &meter, engine, "rare words", &rare[..options.pages.min(50)]).await;
    }
}

fn main() {
    let Some(options) = Options::read() else {
        eprintln!("run with: cargo bench -p waxwing-mam --bench archive -- --rows 100000");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for engine in &options.engines {
            bench(*engine, &options).await;
        }
    });
}
