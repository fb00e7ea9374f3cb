//! Bytes both ways: much of it, in both directions at once, to the end and past it.

use super::*;

const MEBIBYTE: usize = 1024 * 1024;

fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|index| (index as u8).wrapping_mul(31).wrapping_add((index >> 8) as u8) ^ seed).collect()
}

/// Writes as a session's writer does: in pieces, waiting when too much is pending.
async fn write_all(transport: &Transport, bytes: &[u8]) {
    for piece in bytes.chunks(10_000) {
        transport.write(piece);
        if transport.pending() > 64 * 1024 {
            transport.flush().await.unwrap();
        }
    }
    transport.flush().await.unwrap();
}

#[tokio::test]
async fn a_mebibyte_each_way_at_once() {
    let house = House::new();
    for version in VERSIONS {
        let (near, far) = usual(&house, version).await;
        let far = Arc::new(far);
        let (up, down) = (pattern(MEBIBYTE, 1), pattern(MEBIBYTE, 2));
        let (mut near_reader, mut near_writer) = tokio::io::split(near);
        let (sent_up, sent_down) = (up.clone(), down.clone());
        let near_writes = tokio::spawn(async move {
            near_writer.write_all(&sent_up).await.unwrap();
            near_writer.flush().await.unwrap();
            near_writer
        });
        let near_reads = tokio::spawn(async move {
            let mut bytes = vec![0; MEBIBYTE];
            near_reader.read_exact(&mut bytes).await.unwrap();
            bytes
        });
        let writer = far.clone();
        let far_writes = tokio::spawn(async move { write_all(&writer, &sent_down).await });
        let far_reads = tokio::spawn(async move { read_exactly(&far, MEBIBYTE).await });
        let (_writer, got_down, got_up, ()) =
            within(async { tokio::try_join!(near_writes, near_reads, far_reads, far_writes).unwrap() }).await;
        assert!(got_up == up && got_down == down, "{version:?}");
    }
}

#[tokio::test]
async fn what_the_socket_does_not_take_waits_and_the_memory_is_given_back() {
    let house = House::new();
    for version in VERSIONS {
        let (mut near, far) = usual(&house, version).await;
        let bytes = pattern(8 * MEBIBYTE, 3);
        far.write(&bytes);
        assert!(far.pending() > MEBIBYTE, "no socket takes all of that");
        let mut got = vec![0; bytes.len()];
        let (flushed, read) = within(async { tokio::join!(far.flush(), near.read_exact(&mut got)) }).await;
        flushed.unwrap();
        read.unwrap();
        assert!(got == bytes);
        assert_eq!(far.pending(), 0);
        converse(&mut near, &far).await;
    }
}

#[tokio::test]
async fn reads_can_be_dropped_without_loss() {
    let house = House::new();
    let (mut near, far) = usual(&house, &TLS13).await;
    let mut bytes = BytesMut::new();
    for _ in 0..3 {
        let waited = tokio::time::timeout(Duration::from_millis(5), far.read(&mut bytes)).await;
        assert!(waited.is_err() && bytes.is_empty());
        assert_eq!(bytes.capacity(), 0, "waiting holds no memory");
    }
    converse(&mut near, &far).await;
}

#[tokio::test]
async fn the_clients_close_notify_ends_reading_but_not_writing() {
    let house = House::new();
    for version in VERSIONS {
        let (mut near, far) = usual(&house, version).await;
        near.write_all(b"</stream:stream>").await.unwrap();
        near.shutdown().await.unwrap();
        let mut bytes = BytesMut::new();
        while within(far.read(&mut bytes)).await.unwrap() > 0 {}
        assert_eq!(&bytes[..], b"</stream:stream>");
        assert_eq!(within(far.read(&mut bytes)).await.unwrap(), 0, "it stays at its end");
        far.write(b"</stream:stream>");
        within(far.close()).await;
        let mut answer = Vec::new();
        within(near.read_to_end(&mut answer)).await.unwrap();
        assert_eq!(answer, b"</stream:stream>");
    }
}

#[tokio::test]
async fn our_close_says_so_and_ends_with_fin() {
    let house = House::new();
    for version in VERSIONS {
        let (mut near, far) = usual(&house, version).await;
        far.write(b"</stream:stream>");
        within(far.close()).await;
        far.write(b"too late");
        within(far.close()).await;
        assert_eq!(far.pending(), 0);
        let mut bytes = Vec::new();
        // Without close_notify this would be an error: somebody could have cut the stream.
        within(near.read_to_end(&mut bytes)).await.unwrap();
        assert_eq!(bytes, b"</stream:stream>");
        near.write_all(b"</stream:stream>").await.unwrap();
        near.shutdown().await.unwrap();
        let mut bytes = BytesMut::new();
        while within(far.read(&mut bytes)).await.unwrap() > 0 {}
        assert_eq!(&bytes[..], b"</stream:stream>", "reading goes on after our close");
    }
}

#[tokio::test]
async fn a_fin_without_close_notify_is_an_end_too() {
    let house = House::new();
    let (near, far) = usual(&house, &TLS13).await;
    let (mut socket, _without_goodbye) = near.into_inner();
    socket.shutdown().await.unwrap();
    assert_eq!(within(far.read(&mut BytesMut::new())).await.unwrap(), 0);
}

#[tokio::test]
async fn writing_to_who_is_gone_fails_at_the_flush() {
    let house = House::new();
    let (near, far) = usual(&house, &TLS13).await;
    drop(near);
    let failed = within(async {
        loop {
            far.write(&[b'x'; 10_000]);
            if let Err(error) = far.flush().await {
                return error;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(matches!(failed.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset), "{failed}");
    far.write(b"more");
    assert_eq!(far.pending(), 0, "nothing gathers for nobody");
    within(far.close()).await;
}

#[tokio::test]
async fn small_parts_share_records() {
    let house = House::new();
    let configuration = house.configuration(TlsOptions::default());
    let (mut near, far) = RawClient::secured(&configuration, house.client(&TLS13)).await;
    // The ticket is not what is counted.
    far.write(b"!");
    while near.text.is_empty() {
        near.receive().await.unwrap();
    }
    near.received.clear();
    near.text.clear();
    let part = pattern(50, 4);
    far.write_parts(std::iter::repeat_n(&part[..], 1000));
    while near.text.len() < 50_000 {
        near.receive().await.unwrap();
    }
    assert!(near.text == part.repeat(1000));
    let (mut records, mut rest) = (0, &near.received[..]);
    while let [23, 3, 3, high, low, tail @ ..] = rest {
        records += 1;
        rest = &tail[usize::from(u16::from_be_bytes([*high, *low]))..];
    }
    assert!(rest.is_empty());
    assert_eq!(records, 4, "50,000 bytes fit into 4 records");
    far.write_parts(std::iter::empty());
    assert_eq!(far.pending(), 0);
}

#[tokio::test]
async fn plain_connections_carry_bytes_as_they_are() {
    let (mut near, far) = connected().await;
    let far = Transport::plain(far).unwrap();
    assert!(far.info().is_none() && !far.is_tls());
    near.write_all(b"<stream:stream>").await.unwrap();
    assert_eq!(&read_exactly(&far, 15).await[..], b"<stream:stream>");
    far.write(b"<a/>");
    far.write_parts([&b"<b/>"[..], b"", b"<c/>"]);
    within(far.flush()).await.unwrap();
    within(far.close()).await;
    let mut bytes = Vec::new();
    within(near.read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(bytes, b"<a/><b/><c/>");
    drop(near);
    assert_eq!(within(far.read(&mut BytesMut::new())).await.unwrap(), 0);
}

#[tokio::test]
async fn starttls_goes_from_plain_to_tls_on_one_socket() {
    let house = House::new();
    let configuration = house.configuration(TlsOptions::default());
    for version in VERSIONS {
        let (mut near, far) = connected().await;
        let far = Transport::plain(far).unwrap();
        near.write_all(b"<starttls/>").await.unwrap();
        read_exactly(&far, 11).await;
        far.write(b"<proceed/>");
        let server = far.start_tls(&configuration, Some("capulet.lit"));
        let client = async {
            let mut proceed = [0; 10];
            near.read_exact(&mut proceed).await.unwrap();
            assert_eq!(&proceed, b"<proceed/>");
            let connector = TlsConnector::from(Arc::new(house.client(version)));
            let mut near = connector.connect(name("capulet.lit"), near).await.unwrap();
            // Speaks without waiting: this may arrive together with the end of the handshake.
            near.write_all(b"<stream:stream>").await.unwrap();
            near
        };
        let (near, far) = within(async { tokio::join!(client, server) }).await;
        let (mut near, far) = (near, far.unwrap());
        assert_eq!(&within(read_exactly(&far, 15)).await[..], b"<stream:stream>");
        converse(&mut near, &far).await;
    }
}
