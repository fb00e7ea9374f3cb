//! What is not TLS, or not the TLS we speak: an alert, then the end (RFC 9325; C30, C32).

use super::*;

const ECDSA_AES_128_GCM: u16 = 0xc02b;

/// A ClientHello made by hand, in a record of its own.
pub(super) fn hello(version: u16, suites: &[u16], compression: &[u8], extensions: &[u8]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend_from_slice(&[7; 32]);
    body.push(0);
    body.extend_from_slice(&(suites.len() as u16 * 2).to_be_bytes());
    suites.iter().for_each(|suite| body.extend_from_slice(&suite.to_be_bytes()));
    body.push(compression.len() as u8);
    body.extend_from_slice(compression);
    body.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    body.extend_from_slice(extensions);
    let mut message = vec![1, 0];
    message.extend_from_slice(&(body.len() as u16).to_be_bytes());
    message.extend_from_slice(&body);
    let mut record = vec![22, 3, 1];
    record.extend_from_slice(&(message.len() as u16).to_be_bytes());
    record.extend_from_slice(&message);
    record
}

/// Groups X25519 and P-256, ECDSA and RSA signatures; with or without the extended master secret.
pub(super) fn extensions(extended_master_secret: bool) -> Vec<u8> {
    let mut extensions = vec![0, 10, 0, 6, 0, 4, 0, 29, 0, 23];
    extensions.extend([0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 4, 1]);
    extensions.extend([0, 11, 0, 2, 1, 0]);
    if extended_master_secret {
        extensions.extend([0, 23, 0, 0]);
    }
    extensions
}

/// Sends bytes instead of a proper hello. Gives everything that came back and how our side ended.
async fn answer_to(bytes: &[u8]) -> (Vec<u8>, Result<Transport, TlsError>) {
    let house = House::new();
    let configuration = house.configuration(TlsOptions::default());
    let (mut near, far) = connected().await;
    let far = Transport::plain(far).unwrap();
    near.write_all(bytes).await.unwrap();
    let result = within(far.start_tls(&configuration, None)).await;
    let mut answer = Vec::new();
    if result.is_err() {
        within(near.read_to_end(&mut answer)).await.unwrap();
    }
    (answer, result)
}

async fn assert_alert(bytes: &[u8], description: u8, what: &str) {
    let (answer, result) = answer_to(bytes).await;
    assert!(result.is_err(), "{what}");
    assert!(
        matches!(answer[..], [21, 3, _, 0, 2, 2, told] if told == description),
        "{what}: a fatal alert {description} and nothing else, not {answer:?}"
    );
}

#[tokio::test]
async fn c32_old_versions_get_an_alert() {
    const PROTOCOL_VERSION: u8 = 70;
    for (version, what) in [(0x0300, "SSL 3.0"), (0x0301, "TLS 1.0"), (0x0302, "TLS 1.1")] {
        let suites = [0xc009, 0xc013, 0x002f, 0x0035];
        assert_alert(&hello(version, &suites, &[0], &extensions(true)), PROTOCOL_VERSION, what).await;
    }
    const DECODE_ERROR: u8 = 50;
    let ssl2 = [&[0x80, 0x1c, 1, 0, 2, 0, 3, 0, 0, 0, 16, 1, 0, 0x80][..], &[7; 16]].concat();
    assert_alert(&ssl2, DECODE_ERROR, "SSL 2.0").await;
}

#[tokio::test]
async fn c32_weak_suites_get_an_alert() {
    const HANDSHAKE_FAILURE: u8 = 40;
    let weak: [(&str, u16); 9] = [
        ("NULL", 0x0002),
        ("ECDHE NULL", 0xc006),
        ("RC4", 0x0005),
        ("ECDHE RC4", 0xc007),
        ("3DES", 0x000a),
        ("EXPORT", 0x0003),
        ("anonymous", 0xc018),
        ("CBC", 0xc009),
        ("RSA key exchange", 0x009c),
    ];
    for (what, suite) in weak {
        assert_alert(&hello(0x0303, &[suite], &[0], &extensions(true)), HANDSHAKE_FAILURE, what).await;
    }
}

#[tokio::test]
async fn c32_compression_is_never_agreed_on() {
    const ILLEGAL_PARAMETER: u8 = 47;
    let only_deflate = hello(0x0303, &[ECDSA_AES_128_GCM], &[1], &extensions(true));
    assert_alert(&only_deflate, ILLEGAL_PARAMETER, "compression only").await;
}

/// Without it the exporter of TLS 1.2 binds to nothing (RFC 9266 §3, RFC 7627).
#[tokio::test]
async fn tls_1_2_without_extended_master_secret_gets_an_alert() {
    const HANDSHAKE_FAILURE: u8 = 40;
    let without = hello(0x0303, &[ECDSA_AES_128_GCM], &[0], &extensions(false));
    assert_alert(&without, HANDSHAKE_FAILURE, "no extended master secret").await;
}

/// The hellos of these tests are refused for the reason they name and no other: this one is answered.
#[tokio::test]
async fn a_proper_hello_by_hand_is_answered() {
    let house = House::new();
    let configuration = house.configuration(TlsOptions::default());
    let (mut near, far) = connected().await;
    near.write_all(&hello(0x0303, &[ECDSA_AES_128_GCM], &[0, 1], &extensions(true))).await.unwrap();
    let far = Transport::plain(far).unwrap();
    let client = async {
        let mut front = [0; 6];
        near.read_exact(&mut front).await.unwrap();
        drop(near);
        front
    };
    let (front, result) = within(async { tokio::join!(client, far.start_tls(&configuration, None)) }).await;
    assert!(matches!(front, [22, 3, 3, _, _, 2]), "a ServerHello, not {front:?}");
    assert!(matches!(result, Err(TlsError::Closed | TlsError::Io(_))));
}

#[tokio::test]
async fn c30_garbage_is_answered_with_an_alert_and_no_xml() {
    const DECODE_ERROR: u8 = 50;
    assert_alert(b"<?xml version='1.0'?><stream:stream>", DECODE_ERROR, "XML").await;
    assert_alert(b"GET / HTTP/1.1\r\nHost: capulet.lit\r\n\r\n", DECODE_ERROR, "HTTP").await;
    assert_alert(&[0; 100], DECODE_ERROR, "zeros").await;
    let not_a_hello = [22, 3, 1, 0, 4, 14, 0, 0, 0];
    let (answer, result) = answer_to(&not_a_hello).await;
    assert!(result.is_err());
    assert!(matches!(answer[..], [21, 3, _, 0, 2, 2, _]), "{answer:?}");
}

/// A stanza in clear right behind `<starttls/>` is the first thing TLS sees: the connection ends, it is never read.
#[tokio::test]
async fn s9_clear_text_behind_starttls_ends_the_connection() {
    let house = House::new();
    let configuration = house.configuration(TlsOptions::default());
    let (mut near, far) = connected().await;
    let far = Transport::plain(far).unwrap();
    near.write_all(b"<starttls/>").await.unwrap();
    read_exactly(&far, 11).await;
    let mut injected = b"<iq type='set'><query xmlns='jabber:iq:roster'/></iq>".to_vec();
    injected.extend(hello(0x0303, &[ECDSA_AES_128_GCM], &[0], &extensions(true)));
    near.write_all(&injected).await.unwrap();
    far.write(b"<proceed/>");
    assert!(matches!(within(far.start_tls(&configuration, None)).await, Err(TlsError::Protocol(_))));
    let mut answer = Vec::new();
    within(near.read_to_end(&mut answer)).await.unwrap();
    assert!(matches!(answer[..], [b'<', .., b'>', 21, 3, _, 0, 2, 2, 50]), "{answer:?}");
}

#[tokio::test]
async fn a_hello_without_end_is_cut_off() {
    // A handshake message that claims 60,000 bytes, in records of 4,000.
    let mut bytes = Vec::new();
    let mut content = vec![1, 0, 0xea, 0x60];
    content.resize(60_004, 0);
    for piece in content.chunks(4000) {
        bytes.extend([22, 3, 1]);
        bytes.extend((piece.len() as u16).to_be_bytes());
        bytes.extend(piece);
    }
    let (answer, result) = answer_to(&bytes[..20_000]).await;
    assert!(matches!(result, Err(TlsError::HelloTooLong(_))));
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 50]);
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_is_no_hang() {
    let house = House::new();
    let configuration = house.configuration(TlsOptions::default());
    let whole = hello(0x0303, &[ECDSA_AES_128_GCM], &[0], &extensions(true));
    for length in [0, 1, 20, whole.len()] {
        let (mut near, far) = connected().await;
        near.write_all(&whole[..length]).await.unwrap();
        near.shutdown().await.unwrap();
        let far = Transport::plain(far).unwrap();
        let result = within(far.start_tls(&configuration, None)).await;
        assert!(matches!(result, Err(TlsError::Closed)), "after {length} bytes");
    }
}

#[tokio::test]
async fn a_forged_record_ends_the_stream_with_an_alert() {
    let house = House::new();
    for version in VERSIONS {
        let configuration = house.configuration(TlsOptions::default());
        let (mut near, far) = RawClient::secured(&configuration, house.client(version)).await;
        io::Write::write_all(&mut near.tls.writer(), b"<message/>").unwrap();
        let mut records = near.records();
        records.extend([23, 3, 3, 0, 40]);
        records.extend([9; 40]);
        near.socket.write_all(&records).await.unwrap();
        let mut bytes = BytesMut::new();
        let error = within(async {
            loop {
                if let Err(error) = far.read(&mut bytes).await {
                    return error;
                }
            }
        })
        .await;
        assert_eq!(&bytes[..], b"<message/>", "what came before it counts");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let alert = loop {
            if let Err(error) = near.receive().await {
                break error;
            }
        };
        assert_eq!(alert, rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac));
        far.write(b"nobody believes us now");
        assert_eq!(far.pending(), 0);
        assert_eq!(within(far.read(&mut bytes)).await.unwrap(), 0);
        within(far.close()).await;
    }
}

#[tokio::test]
async fn a_client_that_distrusts_us_is_reported() {
    let (house, other) = (House::new(), House::new());
    let configuration = house.configuration(TlsOptions::default());
    for version in VERSIONS {
        let (near, far) = shaken(&configuration, &Arc::new(other.client(version)), "capulet.lit").await;
        assert!(near.is_err());
        match far {
            Err(TlsError::Protocol(rustls::Error::AlertReceived(_))) => {}
            Err(error) => panic!("{error:?}"),
            Ok(_) => panic!("it must not succeed"),
        }
    }
}
