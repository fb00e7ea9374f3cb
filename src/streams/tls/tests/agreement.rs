//! What both sides come to in a handshake: versions, names, certificates, bindings, tickets.

use aws_lc_rs::digest;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::*;

#[tokio::test]
async fn both_versions_agree_and_both_bindings_are_the_same_on_both_sides() {
    let house = House::new();
    for version in VERSIONS {
        let (mut near, far) = usual(&house, version).await;
        let info = far.info().unwrap();
        assert_eq!(info.version, version.version);
        assert_eq!(info.server_name.as_deref(), Some("capulet.lit"));
        assert_eq!(info.alpn, None);
        assert!(!info.resumed);
        let client = near.get_ref().1;
        assert_eq!(Some(info.cipher_suite), client.negotiated_cipher_suite().map(|suite| suite.suite()));
        let exported = client.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[])).unwrap();
        assert_eq!(info.exporter, Some(exported), "{version:?}");
        let shown = &client.peer_certificates().unwrap()[0];
        let hash = digest::digest(&digest::SHA256, shown);
        assert_eq!(info.server_end_point.as_deref(), Some(hash.as_ref()));
        assert!(far.is_tls() && far.peer_certificates().is_empty());
        assert_eq!(far.peer_addr(), near.get_ref().0.local_addr().unwrap());
        converse(&mut near, &far).await;
    }
}

/// Every suite makes its own exporter: SHA-256 and SHA-384, both versions.
#[tokio::test]
async fn the_exporter_is_right_for_every_suite() {
    let house = House::new();
    let configuration = house.configuration(TlsOptions::default());
    for suite in rustls::crypto::aws_lc_rs::DEFAULT_CIPHER_SUITES {
        let rsa = format!("{:?}", suite.suite()).contains("_RSA_");
        if rsa {
            continue;
        }
        let mut one = (*provider()).clone();
        one.cipher_suites = vec![*suite];
        let version = if suite.tls13().is_some() { &TLS13 } else { &TLS12 };
        let client = ClientConfig::builder_with_provider(Arc::new(one))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(house.roots())
            .with_no_client_auth();
        let (near, far) = secured(&configuration, &Arc::new(client), "capulet.lit").await;
        let info = far.info().unwrap();
        assert_eq!(info.cipher_suite, suite.suite());
        let exported =
            near.get_ref().1.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[])).unwrap();
        assert_eq!(info.exporter, Some(exported), "{suite:?}");
    }
}

#[tokio::test]
async fn keys_are_agreed_on_with_the_hybrid_group() {
    let house = House::new();
    let (near, _far) = usual(&house, &TLS13).await;
    let group = near.get_ref().1.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn c33_the_certificate_follows_sni() {
    let house = House::new();
    let configuration = house.configuration(TlsOptions::default());
    for (host, file) in [("capulet.lit", "capulet.lit.crt"), ("rooms.montague.lit", "montague.lit.crt")] {
        let (near, far) = secured(&configuration, &Arc::new(house.client(&TLS13)), host).await;
        assert_eq!(far.info().unwrap().server_name.as_deref(), Some(host));
        let expected = std::fs::read(house.path().join(file)).unwrap();
        let expected = rustls_pki_types::pem::PemObject::from_pem_slice(&expected).unwrap();
        let shown: &CertificateDer<'_> = &near.get_ref().1.peer_certificates().unwrap()[0];
        assert_eq!(shown, &expected);
    }
}

#[tokio::test]
async fn c33_application_protocols_are_agreed_on_or_refused() {
    let house = House::new();
    let direct = house.configuration(TlsOptions { alpn: vec![b"xmpp-client".to_vec()], ..TlsOptions::default() });
    let starttls = house.configuration(TlsOptions::default());
    let offering = |protocols: &[&str]| {
        let mut client = house.client(&TLS13);
        client.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(client)
    };
    let (_near, far) = secured(&direct, &offering(&["http/1.1", "xmpp-client"]), "capulet.lit").await;
    assert_eq!(far.info().unwrap().alpn.as_deref(), Some(&b"xmpp-client"[..]));
    let (_near, far) = secured(&direct, &offering(&[]), "capulet.lit").await;
    assert_eq!(far.info().unwrap().alpn, None);
    let (near, far) = shaken(&direct, &offering(&["xmpp-server"]), "capulet.lit").await;
    assert!(near.unwrap_err().to_string().contains("NoApplicationProtocol"));
    assert!(matches!(far, Err(TlsError::Protocol(_))));
    let (_near, far) = secured(&starttls, &offering(&["xmpp-client"]), "capulet.lit").await;
    assert_eq!(far.info().unwrap().alpn, None, "STARTTLS passes offers over");
}

#[tokio::test]
async fn tls_1_2_can_be_refused() {
    let house = House::new();
    let configuration = house.configuration(TlsOptions { tls13_only: true, ..TlsOptions::default() });
    let (near, far) = shaken(&configuration, &Arc::new(house.client(&TLS12)), "capulet.lit").await;
    assert!(near.unwrap_err().to_string().contains("ProtocolVersion"));
    assert!(matches!(far, Err(TlsError::Protocol(_))));
    secured(&configuration, &Arc::new(house.client(&TLS13)), "capulet.lit").await;
}

#[tokio::test]
async fn without_sni_the_streams_to_decides() {
    let house = House::new();
    let configuration = house.configuration(TlsOptions::default());
    let mut client = house.client(&TLS13);
    client.dangerous().set_certificate_verifier(AnyCertificate::new());
    let connector = TlsConnector::from(Arc::new(client));
    for (to, file) in
        [(Some("montague.lit"), "montague.lit.crt"), (Some("verona.lit"), "capulet.lit.crt"), (None, "capulet.lit.crt")]
    {
        let (near, far) = connected().await;
        let transport = Transport::plain(far).unwrap();
        let (near, far) = within(async {
            // An address is never sent as SNI.
            tokio::join!(connector.connect(name("127.0.0.1"), near), transport.start_tls(&configuration, to))
        })
        .await;
        assert_eq!(far.unwrap().info().unwrap().server_name, None);
        let expected = std::fs::read(house.path().join(file)).unwrap();
        let expected = rustls_pki_types::pem::PemObject::from_pem_slice(&expected).unwrap();
        let near = near.unwrap();
        let shown: &CertificateDer<'_> = &near.get_ref().1.peer_certificates().unwrap()[0];
        assert_eq!(shown, &expected, "{to:?}");
    }
}

#[tokio::test]
async fn sessions_are_resumed_with_the_same_bindings_until_the_certificate_changes() {
    for version in VERSIONS {
        let house = House::new();
        let configuration = house.configuration(TlsOptions::default());
        let client = Arc::new(house.client(version));
        let (mut near, far) = secured(&configuration, &client, "capulet.lit").await;
        converse(&mut near, &far).await;
        let first = far.info().unwrap();
        if version.version == rustls::ProtocolVersion::TLSv1_3 {
            assert_eq!(near.get_ref().1.tls13_tickets_received(), 1);
        }
        let (mut near, far) = secured(&configuration, &client, "capulet.lit").await;
        converse(&mut near, &far).await;
        let second = far.info().unwrap();
        assert!(second.resumed, "{version:?}");
        assert_eq!(second.server_end_point, first.server_end_point);
        assert_ne!(second.exporter, first.exporter);
        let exported =
            near.get_ref().1.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[])).unwrap();
        assert_eq!(second.exporter, Some(exported));
        // The other host's certificate stays; this one's changes.
        for file in ["capulet.lit.crt", "capulet.lit.key"] {
            std::fs::remove_file(house.path().join(file)).unwrap();
        }
        let renewed = Certificates::open(house.path(), &["capulet.lit".to_owned()], true).unwrap();
        assert_eq!(house.certificates.reload(), []);
        let (near, far) = shaken(&configuration, &client, "capulet.lit").await;
        assert!(near.is_err(), "the old client does not know the new certificate");
        assert!(far.is_err());
        let mut anew = house.client(version);
        anew.resumption = client.resumption.clone();
        let (near, far) = secured(&configuration, &Arc::new(anew), "capulet.lit").await;
        assert!(!far.info().unwrap().resumed);
        let index = renewed.current().find("capulet.lit").unwrap();
        assert_eq!(
            near.get_ref().1.peer_certificates().unwrap()[0],
            renewed.current().certificates()[index].key().cert[0]
        );
    }
}

#[tokio::test]
async fn streams_that_stand_survive_a_reload() {
    let house = House::new();
    let configuration = house.configuration(TlsOptions::default());
    let (mut near, far) = secured(&configuration, &Arc::new(house.client(&TLS13)), "capulet.lit").await;
    let before = far.info();
    for file in ["capulet.lit.crt", "capulet.lit.key"] {
        std::fs::remove_file(house.path().join(file)).unwrap();
    }
    Certificates::open(house.path(), &["capulet.lit".to_owned()], true).unwrap();
    house.certificates.reload();
    secured(&configuration, &Arc::new(house.client(&TLS13)), "capulet.lit").await;
    converse(&mut near, &far).await;
    assert_eq!(far.info(), before, "it is bound to the certificate it was shown");
}

/// A peer's certificates are taken and shown, however long the chain (streams between servers).
#[tokio::test]
async fn a_long_chain_of_the_client_is_read() {
    let house = House::new();
    let set = house.certificates.current();
    let own = set.certificates()[set.find("montague.lit").unwrap()].key().cert[0].clone();
    let mut roots = RootCertStore::empty();
    roots.add(own.clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .unwrap();
    let configuration =
        house.configuration(TlsOptions { client_certificates: Some(verifier), ..TlsOptions::default() });
    let key = std::fs::read(house.path().join("montague.lit.key")).unwrap();
    let key: PrivateKeyDer<'static> = rustls_pki_types::pem::PemObject::from_pem_slice(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(set.certificates()[set.find("capulet.lit").unwrap()].key().cert[0].clone()).unwrap();
    for version in VERSIONS {
        // Some 30 kilobytes: more than one record, more than one read.
        let chain = vec![own.clone(); 60];
        let client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .unwrap();
        let (near, far) = shaken(&configuration, &Arc::new(client), "capulet.lit").await;
        let (mut near, far) = match (near, far) {
            (Ok(near), Ok(far)) => (near, far),
            (near, far) => panic!("{:?} {:?}", near.err(), far.err()),
        };
        assert_eq!(far.peer_certificates(), chain);
        converse(&mut near, &far).await;
    }
}

#[tokio::test]
async fn our_own_client_side_speaks_to_our_server_side() {
    let house = House::new();
    let configuration = house.configuration(TlsOptions::default());
    for version in VERSIONS {
        let (near, far) = connected().await;
        let (near, far) = (Transport::plain(near).unwrap(), Transport::plain(far).unwrap());
        let client = Arc::new(house.client(version));
        let (near, far) = within(async {
            tokio::join!(near.start_tls_as_client(client, name("capulet.lit")), far.start_tls(&configuration, None))
        })
        .await;
        let (near, far) = (near.unwrap(), far.unwrap());
        near.write(b"<stream:stream>");
        assert_eq!(&read_exactly(&far, 15).await[..], b"<stream:stream>");
        far.write(b"<stream:features/>");
        assert_eq!(&read_exactly(&near, 18).await[..], b"<stream:features/>");
        assert_eq!(near.info().unwrap().version, version.version);
        assert_eq!(near.peer_certificates().len(), 1);
    }
}

#[tokio::test]
async fn no_certificate_is_an_alert() {
    let folder = TempDir::new().unwrap();
    let house = House::new();
    let none = Arc::new(Certificates::open(folder.path(), &[], false).unwrap());
    let configuration = TlsConfiguration::new(none, TlsOptions::default()).unwrap();
    let mut client = house.client(&TLS13);
    client.resumption = Resumption::disabled();
    let (near, far) = shaken(&configuration, &Arc::new(client), "capulet.lit").await;
    assert!(near.unwrap_err().to_string().contains("UnrecognisedName"));
    assert!(matches!(far, Err(TlsError::NoCertificate)));
}
