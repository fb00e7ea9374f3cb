//! The client's side of TLS: what it offers, whom it trusts, and what it can be bound to.

use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use waxwing_streams::tls::AnyCertificate;

/// How a client does TLS. The default is what a good client does: TLS 1.3 or 1.2, the certificate is checked against
/// what the server shows to the world, ALPN `xmpp-client` on direct TLS.
#[derive(Clone, Debug, Default)]
pub struct TlsChoice {
    pub(crate) name: Option<String>,
    pub(crate) without_name: bool,
    pub(crate) alpn: Option<Vec<Vec<u8>>>,
    pub(crate) only: Option<&'static SupportedProtocolVersion>,
    pub(crate) unchecked: bool,
}

impl TlsChoice {
    /// What a good client does.
    pub fn new() -> TlsChoice {
        TlsChoice::default()
    }

    /// Asks for the certificate of this name (SNI), and checks it for this name, in place of the server's first host.
    pub fn name(mut self, name: &str) -> TlsChoice {
        self.name = Some(name.to_owned());
        self
    }

    /// Sends no SNI.
    pub fn without_name(mut self) -> TlsChoice {
        self.without_name = true;
        self
    }

    /// Offers these protocols in ALPN; none at all when the list is empty.
    pub fn alpn(mut self, protocols: &[&str]) -> TlsChoice {
        self.alpn = Some(protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect());
        self
    }

    /// Only TLS 1.2.
    pub fn only_tls12(mut self) -> TlsChoice {
        self.only = Some(&rustls::version::TLS12);
        self
    }

    /// Only TLS 1.3.
    pub fn only_tls13(mut self) -> TlsChoice {
        self.only = Some(&rustls::version::TLS13);
        self
    }

    /// Takes any certificate.
    pub fn unchecked(mut self) -> TlsChoice {
        self.unchecked = true;
        self
    }

    /// The configuration for rustls; `trusted` is a folder of certificates, `direct` TLS names its protocol (ALPN).
    ///
    /// # Errors
    /// When the certificates cannot be read.
    pub fn configuration(&self, trusted: &Path, direct: bool) -> anyhow::Result<ClientConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions = self.only.map_or(rustls::ALL_VERSIONS.to_vec(), |only| vec![only]);
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&versions)?;
        let mut config = if self.unchecked {
            builder.dangerous().with_custom_certificate_verifier(AnyCertificate::new()).with_no_client_auth()
        } else {
            builder.with_root_certificates(roots(trusted)?).with_no_client_auth()
        };
        config.enable_sni = !self.without_name;
        config.resumption = Resumption::disabled();
        config.alpn_protocols = match &self.alpn {
            Some(protocols) => protocols.clone(),
            None if direct => vec![b"xmpp-client".to_vec()],
            None => Vec::new(),
        };
        Ok(config)
    }

    /// Shakes hands.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        host: &str,
        trusted: &Path,
        direct: bool,
    ) -> anyhow::Result<(TlsStream<TcpStream>, TlsFacts)> {
        let config = self.configuration(trusted, direct)?;
        let name = ServerName::try_from(self.name.as_deref().unwrap_or(host).to_owned())?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let facts = TlsFacts::of(&stream)?;
        Ok((stream, facts))
    }
}

/// What a client knows of its TLS connection.
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// `TLSv1_3` or `TLSv1_2`.
    pub version: String,
    /// The protocol that ALPN has settled on.
    pub alpn: Option<String>,
    /// The server's certificate, in DER.
    pub certificate: Vec<u8>,
    /// The data of `tls-exporter` (RFC 9266).
    pub exporter: Vec<u8>,
}

impl TlsFacts {
    fn of(stream: &TlsStream<TcpStream>) -> anyhow::Result<TlsFacts> {
        let (_, connection) = stream.get_ref();
        let alpn = connection.alpn_protocol().map(|protocol| String::from_utf8_lossy(protocol).into_owned());
        let certificate = connection.peer_certificates().and_then(|chain| chain.first());
        Ok(TlsFacts {
            version: connection.protocol_version().and_then(|version| version.as_str()).unwrap_or("?").to_owned(),
            alpn,
            certificate: certificate.map(|certificate| certificate.to_vec()).unwrap_or_default(),
            exporter: connection.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", Some(&[]))?,
        })
    }

    /// The data of `tls-server-end-point` (RFC 5929 §4) for a certificate signed with SHA-256, as test certificates are.
    pub fn server_end_point(&self) -> Vec<u8> {
        use ::aws_lc_rs::digest;
        digest::digest(&digest::SHA256, &self.certificate).as_ref().to_vec()
    }

    /// Whether the certificate names this host, in the clear text of its DER: enough to tell two certificates apart.
    pub fn names(&self, host: &str) -> bool {
        self.certificate.windows(host.len()).any(|window| window == host.as_bytes())
    }
}

/// The certificates the server shows to the world: all `*.crt` of a folder, each trusted for itself.
fn roots(folder: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "crt") {
            for certificate in CertificateDer::pem_file_iter(&path)? {
                roots.add(certificate?)?;
            }
        }
    }
    Ok(roots)
}
