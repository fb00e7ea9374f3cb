"""Servers that talk to each other: Waxwing as capulet.lit, Debian's Prosody or ejabberd as montague.lit, on loopback
addresses of their own, with a certificate authority and a name server made for the run.
"""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from names import A, SRV, NameServer, srv
from servers import Server, listens_at

PASSWORD = "a-long-enough-passphrase"
# The last parts of the addresses; the second one is the process's own, so that runs do not meet.
BLOCK = f"127.{10 + os.getpid() % 240}.{os.getpid() // 240 % 250}"


class Mode:
    """How the two are to reach and to believe each other."""

    def __init__(self, name, direct_tls=False, dialback=False, bidi=False):
        self.name, self.direct_tls, self.dialback, self.bidi = name, direct_tls, dialback, bidi


class Authority:
    """Signs certificates with the openssl program."""

    def __init__(self, folder):
        self.folder = folder
        self.certificate = folder / "authority.pem"
        self.run("req", "-x509", *self.new_key("authority"), "-days", "2", "-subj", "/CN=Verona",
                 "-addext", "basicConstraints=critical,CA:TRUE", "-out", str(self.certificate))

    @staticmethod
    def run(*arguments):
        subprocess.run(["openssl", *arguments], check=True, stderr=subprocess.DEVNULL)

    def new_key(self, name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", str(self.folder / f"{name}.key")]

    def sign(self, domain, by_itself=False):
        """Makes DOMAIN.crt and DOMAIN.key in the folder; returns their paths."""
        crt, key = self.folder / f"{domain}.crt", self.folder / f"{domain}.key"
        names = f"subjectAltName=DNS:{domain},DNS:conference.{domain}"
        subject = ["-days", "2", "-subj", f"/O={domain}", "-addext", names]
        if by_itself:
            self.run("req", "-x509", *self.new_key(domain), *subject, "-out", str(crt))
        else:
            self.run("req", "-x509", *self.new_key(domain), *subject, "-addext", "basicConstraints=critical,CA:FALSE",
                     "-addext", "extendedKeyUsage=serverAuth,clientAuth",
                     "-CA", str(self.certificate), "-CAkey", str(self.folder / "authority.key"), "-out", str(crt))
        key.chmod(0o600)
        return crt, key


class World:
    """What both servers share."""

    def __init__(self, mode, targets_are_addresses=False):
        self.mode = mode
        self.folder = Path(tempfile.mkdtemp(prefix="waxwing-peers-"))
        self.folder.chmod(0o755)
        self.authority = Authority(self.folder)
        self.names = NameServer(f"{BLOCK}.53")
        for domain, address in (("capulet.lit", f"{BLOCK}.1"), ("montague.lit", f"{BLOCK}.2")):
            is_ours = domain == "capulet.lit"
            machine = address if is_ours and targets_are_addresses else f"machine.{domain}"
            self.names.add(machine, A, socket.inet_aton(address))
            for name in (domain, f"conference.{domain}"):
                service, port = ("_xmpps-server", 5270) if mode.direct_tls else ("_xmpp-server", 5269)
                self.names.add(f"{service}._tcp.{name}", SRV, srv(5, port, machine))

    def close(self):
        self.names.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Peer(Server):
    """One of the two: a domain, an address, one user."""

    # Whether it carries both directions on one connection (XEP-0288).
    knows_bidi = True
    # Whether it asks our name server for SRV records only: then these must name an address in place of a machine.
    targets_are_addresses = False

    def __init__(self, world, domain, address, user):
        super().__init__()
        self.world, self.domain, self.address, self.user_name = world, domain, address, user
        self.c2s, self.c2s_tls = 5222, 5223
        crt, key = world.authority.sign(domain, by_itself=world.mode.dialback)
        self.crt, self.key = self.folder / crt.name, self.folder / key.name
        shutil.copy(crt, self.crt)
        shutil.copy(key, self.key)
        self.key.chmod(0o600)
        self.trusted = self.crt if world.mode.dialback else world.authority.certificate

    def is_ready(self):
        return all(listens_at(self.address, port) for port in (5222, 5269, 5270))


class WaxwingPeer(Peer):
    """The server under test."""

    def __init__(self, world, binary):
        super().__init__(world, "capulet.lit", f"{BLOCK}.1", "juliet")
        self.binary = str(Path(binary).resolve())
        self.config = self.folder / "waxwing.toml"

    def prepare(self):
        mode = self.world.mode
        exceptions = '["montague.lit", "conference.montague.lit"]' if mode.dialback else "[]"
        self.config.write_text(f"""
[[hosts]]
name = "{self.domain}"
[listen]
c2s = ["{self.address}:5222"]
c2s_tls = []
s2s = ["{self.address}:5269"]
s2s_tls = ["{self.address}:5270"]
http = []
https = []
health = []
[storage]
url = "sqlite:{self.folder / 'waxwing.db'}"
[tls]
certificates = "{self.folder}"
[log]
filter = "info,waxwing_streams=debug"
[modules.federation]
resolvers = ["{self.world.names.address}:{self.world.names.port}"]
private_addresses = true
public_authorities = false
authorities = ["{self.world.authority.certificate}"]
dialback_without_certificate = {exceptions}
bidirectional = {str(mode.bidi).lower()}
retry_after = "1s"
""")

    def start(self):
        self.spawn([self.binary, "serve", "--config", str(self.config)])

    def add_user(self):
        user = f"{self.user_name}@{self.domain}"
        command = [self.binary, "user", "add", user, "--password", PASSWORD, "--config", str(self.config)]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL)


class ProsodyPeer(Peer):
    """Debian's Prosody, as the prosody user when we are root."""

    def __init__(self, world, _binary):
        super().__init__(world, "montague.lit", f"{BLOCK}.2", "romeo")
        self.config = self.folder / "prosody.cfg.lua"

    def prepare(self):
        mode, names = self.world.mode, self.world.names
        bidi = '"s2s_bidi";' if mode.bidi else ""
        modules = '"disco"; "roster"; "saslauth"; "tls"; "ping"; "version"; "offline"; "smacks"; "pep"; "dialback";'
        self.config.write_text(f"""
modules_enabled = {{ {modules} {bidi} }}
pidfile = "{self.folder}/prosody.pid"
data_path = "{self.folder}/data"
log = {{ debug = "{self.folder}/prosody.log" }}
interfaces = {{ "{self.address}" }}
c2s_ports = {{ 5222 }}
s2s_ports = {{ 5269 }}
s2s_direct_tls_ports = {{ 5270 }}
http_ports = {{ }}
https_ports = {{ }}
unbound = {{
    resolvconf = false; hoststxt = false; forward = "{names.address}@{names.port}";
    options = {{ ["do-not-query-localhost:"] = "no" }};
}}
use_ipv6 = false
authentication = "internal_hashed"
storage = "internal"
s2s_secure_auth = {str(not mode.dialback).lower()}
s2s_require_encryption = true
ssl = {{ key = "{self.key}"; certificate = "{self.crt}"; cafile = "{self.world.authority.certificate}" }}
VirtualHost "{self.domain}"
Component "conference.{self.domain}" "muc"
    muc_room_default_public = true
    muc_room_locking = false
""")
        (self.folder / "data").mkdir()
        self.user = "prosody" if os.getuid() == 0 else None
        if self.user:
            for path in [self.folder, *self.folder.rglob("*")]:
                shutil.chown(path, self.user, self.user)

    def start(self):
        options = {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}
        self.spawn(["prosody", "--config", str(self.config), "-F"], **options)

    def add_user(self):
        command = ["prosodyctl", "--config", str(self.config), "register", self.user_name, self.domain, PASSWORD]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL)


class EjabberdPeer(Peer):
    """Debian's ejabberd, as the ejabberd user when we are root, without Erlang's network of nodes."""

    # SRV records by Erlang's resolver, which can be told whom to ask; machines by that of the C library, which cannot.
    targets_are_addresses = True
    knows_bidi = False

    def __init__(self, world, _binary):
        super().__init__(world, "montague.lit", f"{BLOCK}.2", "romeo")
        self.config, self.marker = self.folder / "ejabberd.yml", self.folder / "ready"

    def prepare(self):
        names, both = self.world.names, self.folder / "both.pem"
        both.write_text(self.crt.read_text() + self.key.read_text())
        dialback = "mod_s2s_dialback: {}" if self.world.mode.dialback else ""
        self.config.write_text(f"""
loglevel: debug
hosts: ["{self.domain}"]
certfiles: ["{both}"]
ca_file: "{self.world.authority.certificate}"
s2s_use_starttls: required
outgoing_s2s_families: [ipv4]
outgoing_s2s_timeout: 10
listen:
  - {{port: 5222, ip: "{self.address}", module: ejabberd_c2s, starttls: true, starttls_required: true}}
  - {{port: 5269, ip: "{self.address}", module: ejabberd_s2s_in}}
  - {{port: 5270, ip: "{self.address}", module: ejabberd_s2s_in, tls: true}}
auth_password_format: scram
modules:
  mod_adhoc: {{}}
  mod_caps: {{}}
  mod_disco: {{}}
  mod_muc: {{access_create: all, access_persistent: all}}
  mod_offline: {{}}
  mod_ping: {{}}
  mod_pubsub: {{access_createnode: all, plugins: [flat, pep], last_item_cache: false}}
  mod_roster: {{}}
  mod_stream_mgmt: {{}}
  mod_vcard: {{search: false}}
  mod_version: {{}}
  {dialback}
""")
        # Erlang's own resolver, so that nothing but our name server is asked.
        address = names.address.replace(".", ",")
        (self.folder / "inetrc").write_text(
            f'{{lookup,[dns]}}.\n{{resolv_conf,""}}.\n{{hosts_file,""}}.\n{{nameserver,{{{address}}},{names.port}}}.\n'
        )
        (self.folder / "mnesia").mkdir()
        self.user = "ejabberd" if os.getuid() == 0 else None
        if self.user:
            for path in [self.folder, *self.folder.rglob("*")]:
                shutil.chown(path, self.user, self.user)

    def start(self):
        self.marker.unlink(missing_ok=True)
        options = {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}
        libraries = next(Path("/usr/lib").glob("*/ejabberd-*/ebin")).parent.parent
        environment = os.environ | {
            "HOME": str(self.folder),
            "ERL_LIBS": str(libraries),
            "ERL_INETRC": str(self.folder / "inetrc"),
            "ERL_CRASH_DUMP_BYTES": "0",
            "EJABBERD_CONFIG_PATH": str(self.config),
            "EJABBERD_LOG_PATH": str(self.folder / "ejabberd.log"),
        }
        # Without distribution there is no ejabberdctl: the account is made from inside, and is there already later.
        account = ", ".join(f'<<"{part}">>' for part in (self.user_name, self.domain, PASSWORD))
        then = f'ejabberd_auth:try_register({account}), ok = file:write_file("{self.marker}", <<>>).'
        self.spawn(["erl", "-noinput", "+S", "1", "+K", "true", "-mnesia", "dir", f'"{self.folder}/mnesia"',
                    "-s", "ejabberd", "-eval", then], env=environment, **options)

    def is_ready(self):
        return self.marker.exists() and super().is_ready()

    def add_user(self):
        """The start has made it."""


PEERS = {"prosody": ProsodyPeer, "ejabberd": EjabberdPeer}
