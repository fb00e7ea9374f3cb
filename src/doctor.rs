//! `waxwing doctor`: what may be asked of it, and how its findings reach a person, a program and a monitor.

use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use waxwing_core::address::DomainPart;
use waxwing_streams::doctor::{Options, Service, examine};

use crate::command_line::parse_host;

/// What the program ends with when the domain could not be examined.
pub const NOT_EXAMINED: u8 = 3;

/// The port of name servers.
const DNS: u16 = 53;

pub(crate) const EXAMPLES: &str = "\
Examples:
  waxwing doctor example.org
  waxwing doctor example.org --from example.net        knock at its door as your own server
  waxwing doctor example.org --resolver 9.9.9.9        another name server than the system's
  waxwing doctor chat.lan --ca /etc/lan/ca.pem --private-addresses
  waxwing doctor example.org --connect client=192.0.2.7:5222 --connect web=192.0.2.7:443
                                                       a machine that the DNS does not name yet

It needs no configuration and no account, and works with any server. The exit code is 0 when all is well, 1 with
warnings, 2 when something is broken, and 3 when nothing could be examined, as monitoring programs expect.";

/// What may be asked of the doctor.
#[derive(Debug, Clone, Args)]
pub struct DoctorArguments {
    /// The domain: what stands behind the @ of its addresses
    #[arg(value_name = "DOMAIN", value_parser = parse_host)]
    domain: DomainPart,
    /// Ask this name server instead of the system's; may be given several times
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = parse_resolver)]
    resolver: Vec<SocketAddr>,
    /// Do not ask the DNS where a service is, but connect there; may be given several times. The services are client,
    /// client-tls, server, server-tls (the last two begin with TLS) and web
    #[arg(long, value_name = "SERVICE=ADDRESS:PORT", value_parser = parse_place)]
    connect: Vec<Place>,
    /// Believe the authorities in this file (PEM), too; may be given several times
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
    /// Say that the server of this domain knocks. Without it nobody says who knocks, and servers that talk only to those
    /// they know may refuse
    #[arg(long, value_name = "DOMAIN", value_parser = parse_host)]
    from: Option<DomainPart>,
    /// Addresses of private networks are meant, and nothing to warn of
    #[arg(long)]
    private_addresses: bool,
    /// How long all of it may take
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=30))]
    timeout: u64,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// Where something is: a word of `--connect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Service(Service, SocketAddr),
    Web(SocketAddr),
}

impl DoctorArguments {
    fn options(self) -> Options {
        let services = self.connect.iter().filter_map(|place| match place {
            Place::Service(service, address) => Some((*service, *address)),
            Place::Web(_) => None,
        });
        let web = self.connect.iter().find_map(|place| match place {
            Place::Web(address) => Some(*address),
            Place::Service(..) => None,
        });
        Options {
            services: services.collect(),
            web,
            domain: self.domain,
            resolvers: self.resolver,
            authorities: self.ca,
            from: self.from,
            private_addresses: self.private_addresses,
            timeout: Duration::from_secs(self.timeout),
        }
    }
}

/// Does `waxwing doctor`, and gives the exit code.
///
/// # Errors
/// Why nothing could be examined, or that nobody reads the other end.
pub async fn run(arguments: DoctorArguments, out: &mut impl Write) -> anyhow::Result<u8> {
    let as_json = arguments.json;
    let report = examine(&arguments.options()).await.map_err(anyhow::Error::msg)?;
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let text = if as_json { report.json() } else { report.text(io::stdout().is_terminal() && !refused) };
    out.write_all(text.as_bytes())?;
    Ok(report.exit_code())
}

fn parse_resolver(text: &str) -> Result<SocketAddr, String> {
    let alone = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, DNS));
    alone
        .or_else(|_| text.parse())
        .map_err(|_| "not the address of a name server, write 192.0.2.53 or 192.0.2.53:53".into())
}

fn parse_place(text: &str) -> Result<Place, String> {
    let wrong = || format!("{text:?} says nothing, write client=192.0.2.7:5222");
    let (what, address) = text.split_once('=').ok_or_else(wrong)?;
    let address: SocketAddr = address.parse().map_err(|_| wrong())?;
    let service = match what {
        "client" => Service::Client,
        "client-tls" => Service::ClientTls,
        "server" => Service::Server,
        "server-tls" => Service::ServerTls,
        "web" => return Ok(Place::Web(address)),
        _ => return Err(format!("{what:?} is no service: client, client-tls, server, server-tls, web")),
    };
    Ok(Place::Service(service, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_name_servers_are_read() {
        let address: SocketAddr = "192.0.2.7:5222".parse().unwrap();
        assert_eq!(parse_place("client=192.0.2.7:5222"), Ok(Place::Service(Service::Client, address)));
        assert_eq!(parse_place("web=192.0.2.7:5222"), Ok(Place::Web(address)));
        for bad in ["client", "client=192.0.2.7", "mail=192.0.2.7:25", "=192.0.2.7:1"] {
            assert!(parse_place(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_resolver("2001:db8::53"), Ok("[2001:db8::53]:53".parse().unwrap()));
        assert_eq!(parse_resolver("192.0.2.53:5353"), Ok("192.0.2.53:5353".parse().unwrap()));
        assert!(parse_resolver("dns.example").is_err());
    }
}
