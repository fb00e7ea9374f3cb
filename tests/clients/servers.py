"""Servers for the drivers: Waxwing, and Debian's Prosody as the stand-in that the drivers themselves are tested against.

Each listens on free loopback ports, keeps everything in a folder of its own, and is stopped by its process id.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

DOMAIN = "localhost"
PATIENCE = 30  # seconds that a start or a stop may take


def free_port():
    """A TCP port of loopback that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(holds, seconds, what):
    """Polls `holds` until it is true; raises after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return
        time.sleep(0.05)
    raise TimeoutError(f"{what} did not happen within {seconds} s")


def listens(port):
    """Whether something accepts connections on this port of loopback."""
    return listens_at("127.0.0.1", port)


def listens_at(address, port):
    """The same at another address."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


class Server:
    """What both servers have in common: a folder, two ports, one process."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="waxwing-clients-"))
        self.folder.chmod(0o755)
        self.c2s = free_port()
        self.c2s_tls = free_port()
        self.process = None
        self.log = self.folder / "server.log"

    def spawn(self, command, **options):
        """Starts the server process and waits for its ports."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, **options
            )

        def ready():
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with code {self.process.returncode}:\n{self.log_tail()}")
            return self.is_ready()

        try:
            wait_until(ready, PATIENCE, "the server listening")
        except TimeoutError as error:
            raise RuntimeError(f"{error}:\n{self.log_tail()}") from error

    def is_ready(self):
        """Whether everything listens."""
        return listens(self.c2s) and listens(self.c2s_tls)

    def stop(self):
        """Asks the process to end and returns its exit code; kills it when it does not."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process = None
        return code

    def log_tail(self):
        """The last lines of the server's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:]) if self.log.exists() else ""

    def __enter__(self):
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        self.clean()
        shutil.rmtree(self.folder, ignore_errors=True)

    def clean(self):
        """Removes what lies outside of the folder."""


class Waxwing(Server):
    """The server under test, configured as a newcomer has it: only addresses and places are set."""

    def __init__(self, binary, storage, serves_web=False, web_client=None):
        """The web is served when it is wanted; with the folder of a web client people may sign up there, too."""
        super().__init__()
        self.binary = str(Path(binary).resolve())
        self.storage = storage
        self.web_client = web_client and str(Path(web_client).resolve())
        self.http = free_port() if serves_web or web_client else None
        self.database = None
        self.config = self.folder / "waxwing.toml"
        self.certificates = self.folder / "certs"
        self.settings = ""  # what a driver wants besides

    def prepare(self):
        if self.storage == "postgres":
            url = self.create_database()
        else:
            url = f"sqlite:{self.folder / 'waxwing.db'}"
        web = f"""
[modules.web_client]
folder = "{self.web_client}"

[modules.upload]
folder = "{self.folder / 'uploads'}"

[modules.register]
open = true
"""
        self.config.write_text(f"""
[[hosts]]
name = "{DOMAIN}"

[listen]
c2s = ["127.0.0.1:{self.c2s}"]
c2s_tls = ["127.0.0.1:{self.c2s_tls}"]
s2s = []
s2s_tls = []
http = [{f'"127.0.0.1:{self.http}"' if self.http else ""}]
https = []
health = []

[storage]
url = "{url}"

[tls]
certificates = "{self.certificates}"
{web if self.web_client else ""}
{self.settings}""")

    def is_ready(self):
        return super().is_ready() and (self.http is None or listens(self.http))

    def create_database(self):
        """A database of its own on the server that WAXWING_TEST_POSTGRES names; returns its URL."""
        self.base_url = os.environ["WAXWING_TEST_POSTGRES"]
        self.database = f"clients_{os.getpid()}_{self.c2s}"
        self.psql(f"CREATE DATABASE {self.database}")
        return urlunsplit(urlsplit(self.base_url)._replace(path=f"/{self.database}"))

    def psql(self, statement):
        subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-d", self.base_url, "-c", statement], check=True)

    def clean(self):
        if self.database:
            self.psql(f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)")

    def start(self):
        self.spawn([self.binary, "serve", "--config", str(self.config)])

    def add_user(self, name, password):
        subprocess.run(
            [self.binary, "user", "add", f"{name}@{DOMAIN}", "--password", password, "--config", str(self.config)],
            check=True,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
        )

    @property
    def certificate(self):
        """The self-signed certificate that the server made at its first start."""
        for path in sorted(self.certificates.iterdir()):
            if path.is_file() and "BEGIN CERTIFICATE" in path.read_text(errors="replace"):
                return path
        raise FileNotFoundError(f"no certificate in {self.certificates}")


class Prosody(Server):
    """Debian's Prosody with its internal storage, as the prosody user when we are root."""

    def prepare(self):
        self.certificate = self.folder / "localhost.crt"
        key = self.folder / "localhost.key"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
            + ["-subj", f"/CN={DOMAIN}", "-addext", f"subjectAltName=DNS:{DOMAIN}"]
            + ["-keyout", str(key), "-out", str(self.certificate)],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        self.config = self.folder / "prosody.cfg.lua"
        self.config.write_text(f"""
modules_enabled = {{
    "disco"; "roster"; "saslauth"; "tls"; "ping"; "register"; "time"; "uptime"; "version"; "lastactivity"; "offline";
}}
modules_disabled = {{ "s2s" }}
pidfile = "{self.folder}/prosody.pid"
data_path = "{self.folder}/data"
log = {{ info = "{self.folder}/prosody.log" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {self.c2s} }}
c2s_direct_tls_ports = {{ {self.c2s_tls} }}
http_ports = {{ }}
https_ports = {{ }}
authentication = "internal_hashed"
storage = "internal"
allow_registration = false
ssl = {{ key = "{key}"; certificate = "{self.certificate}" }}
VirtualHost "{DOMAIN}"
""")
        (self.folder / "data").mkdir()
        self.user = "prosody" if os.getuid() == 0 else None
        if self.user:
            for path in [self.folder, *self.folder.rglob("*")]:
                shutil.chown(path, self.user, self.user)

    def start(self):
        options = {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}
        self.spawn(["prosody", "--config", str(self.config), "-F"], **options)

    def add_user(self, name, password):
        command = ["prosodyctl", "--config", str(self.config), "register", name, DOMAIN, password]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL)


def from_command_line(description, serves_web=False, takes_web_client=False):
    """Reads the options that all drivers have; returns the server (not started yet) and the title of the run."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--server", choices=["waxwing", "prosody"], default="waxwing")
    parser.add_argument("--storage", choices=["sqlite", "postgres"], default="sqlite", help="of waxwing")
    parser.add_argument("--binary", default="target/debug/waxwing")
    if takes_web_client:
        parser.add_argument("--web-client", default="target/web-client", help="what scripts/web-client has installed")
    options = parser.parse_args()
    if options.server == "prosody":
        return Prosody(), "prosody"
    web_client = options.web_client if takes_web_client else None
    return Waxwing(options.binary, options.storage, serves_web, web_client), options.storage
