"""Drives a server with profanity, a terminal client nobody here wrote, as people at two keyboards would (in tmux)."""

import os
import re
import shutil
import subprocess
import sys
import time

from checks import Checks
from servers import DOMAIN, from_command_line

PATIENCE = 20  # seconds to wait for anything that must appear
PASSWORD = "a-long-enough-passphrase"
COVEN = f"coven@conference.{DOMAIN}"


class Terminal:
    """One profanity in one tmux session: types lines, reads the screen."""

    def __init__(self, server, name, machine="home"):
        self.server, self.name = server, name
        self.bare = f"{name}@{DOMAIN}"
        self.socket = str(server.folder / "tmux")
        home = server.folder / f"{machine}-{name}"
        home.mkdir(exist_ok=True)
        keep = {key: os.environ[key] for key in ("PATH",) if key in os.environ}
        self.environment = keep | {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_DATA_HOME": str(home / "data"),
            "TERM": "screen",
            "LANG": "C.UTF-8",
        }

    def tmux(self, *arguments):
        command = ["tmux", "-S", self.socket, "-f", "/dev/null", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout

    def open(self):
        """Starts profanity on a large screen, with everything off that would fill it."""
        # All terminals are of one tmux, which would give them the environment of the first.
        own = [part for item in self.environment.items() for part in ("-e", "=".join(item))]
        self.tmux("new-session", "-d", "-s", self.name, "-x", "180", "-y", "60", *own, "profanity")
        self.sees("Type /help")
        for line in ("/splash off", "/roster hide", "/reconnect 1", "/carbons off", "/clear"):
            self.type(line)
        return self

    def close(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-session", "-t", self.name], capture_output=True, check=False)

    def type(self, line):
        """Types a line and the return key."""
        self.tmux("send-keys", "-t", self.name, "-l", "--", line)
        self.tmux("send-keys", "-t", self.name, "Enter")
        time.sleep(0.1)

    def screen(self):
        return self.tmux("capture-pane", "-p", "-J", "-t", self.name)

    def sees(self, text, seconds=PATIENCE):
        """Whether the text comes to stand on the screen."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if text in self.screen():
                return True
            time.sleep(0.1)
        return False

    def visible(self):
        """The screen without empty lines, for a failed check."""
        return " | ".join(line.strip() for line in self.screen().splitlines() if line.strip())[-600:]

    def asks(self, command, text):
        """Types a command again and again until its output holds the text."""
        for _ in range(PATIENCE):
            self.type("/win 1")
            self.type("/clear")
            self.type(command)
            if self.sees(text, 1):
                return True
        return False

    def console(self):
        """Goes to a cleared console window."""
        self.type("/win 1")
        self.type("/clear")

    def connect(self, port, tls, password=PASSWORD):
        """Types the command that logs in, then the password; the certificate is not answered yet."""
        self.type(f"/connect {self.bare} server 127.0.0.1 port {port} tls {tls}")
        self.sees("Enter password")
        self.type(password)


def log_in(server, romeo, juliet, checks):
    """An unknown certificate is shown and asked about; then both ways of TLS lead in."""
    romeo.connect(server.c2s, "force", "not the password")
    checks.check("the certificate is shown", romeo.sees("TLS certificate verification failed"), romeo.visible())
    checks.check("its subject is the host", romeo.sees(f"Common name        : {DOMAIN}"), romeo.visible())
    romeo.type("/tls always")
    checks.check("a wrong password is refused", romeo.sees("Login failed"), romeo.visible())
    romeo.console()
    romeo.connect(server.c2s, "force")
    checks.check("STARTTLS: logged in, certificate remembered", romeo.sees("logged in successfully"), romeo.visible())
    juliet.connect(server.c2s_tls, "legacy")
    juliet.sees("TLS certificate verification failed")
    juliet.type("/tls always")
    checks.check("direct TLS: logged in", juliet.sees("logged in successfully"), juliet.visible())


def become_friends(romeo, juliet, checks):
    """Requests and approvals both ways."""
    for one, other in ((romeo, juliet), (juliet, romeo)):
        other.console()
        one.type(f"/sub request {other.bare}")
        checks.check(f"{other.name} is asked", other.sees(f"request from {one.bare}"), other.visible())
        one.console()
        other.type(f"/sub allow {one.bare}")
        checks.check(
            f"{one.name} hears the approval", one.sees(f"Subscription received from {other.bare}"), one.visible()
        )
    for one, other in ((romeo, juliet), (juliet, romeo)):
        checks.check(f"{one.name}'s roster says both", one.asks("/roster", f"{other.bare} - both"), one.visible())


def talk(romeo, juliet, checks):
    """A conversation both ways."""
    juliet.console()
    romeo.type(f"/msg {juliet.bare} But soft, what light <&> \u00fc")
    juliet.type(f"/msg {romeo.bare}")
    checks.check("a message arrives unaltered", juliet.sees("But soft, what light <&> \u00fc"), juliet.visible())
    juliet.type("Good night, good night")
    checks.check("the answer arrives", romeo.sees(": Good night, good night"), romeo.visible())
    for number in range(20):
        romeo.type(f"line {number:02}")
    wanted = [f"line {number:02}" for number in range(20)]
    juliet.sees(wanted[-1])
    seen = [line.rsplit(": ", 1)[-1].strip() for line in juliet.screen().splitlines() if ": line " in line]
    checks.check("20 lines arrive in order", seen == wanted, juliet.visible())


def come_and_go(server, romeo, juliet, checks):
    """Presence as the other sees it."""
    romeo.console()
    juliet.type('/status set away "at the ball"')
    checks.check("away is seen", romeo.sees("is away") and romeo.sees("at the ball"), romeo.visible())
    romeo.console()
    juliet.type("/status set online")
    checks.check("online is seen", romeo.sees("is online"), romeo.visible())
    romeo.console()
    juliet.type("/disconnect")
    checks.check("going is seen", romeo.sees("is offline"), romeo.visible())
    romeo.console()
    juliet.console()
    juliet.connect(server.c2s_tls, "legacy")
    juliet.sees("logged in successfully")
    checks.check("coming back is seen", romeo.sees("is online"), romeo.visible())


def meet_in_a_room(romeo, juliet, checks):
    """A private group: made, filled by invitation, talked in, moderated, left."""
    for one in (romeo, juliet):
        one.console()
    romeo.type(f"/join {COVEN} nick montague")
    checks.check("a new room waits for its maker", romeo.sees("requires configuration"), romeo.visible())
    romeo.type("/room accept")
    checks.check("who makes it is its moderator", romeo.sees("montague"), romeo.visible())
    juliet.type(f"/join {COVEN} nick capulet")
    checks.check("others stay outside", juliet.sees("Error joining room"), juliet.visible())
    juliet.console()
    romeo.type(f"/affiliation set member {juliet.bare}")
    checks.check("who becomes a member is invited", juliet.sees(COVEN), juliet.visible())
    juliet.type(f"/join {COVEN} nick capulet")
    checks.check("a member comes in", juliet.sees("montague") and romeo.sees("capulet"), romeo.visible())
    juliet.type("What's in a name? <&> \u00fc")
    checks.check("what is said is heard", romeo.sees("capulet: What's in a name? <&> \u00fc"), romeo.visible())
    for number in range(10):
        romeo.type(f"verse {number:02}")
    wanted = [f"verse {number:02}" for number in range(10)]
    juliet.sees(wanted[-1])
    seen = re.findall(r": (verse \d\d)", juliet.screen())
    checks.check("in order", seen == wanted, juliet.visible())
    romeo.type('/subject set "A rose"')
    checks.check("the subject is seen", juliet.sees("A rose"), juliet.visible())
    juliet.type("/nick rose")
    checks.check("a new nickname is seen", romeo.sees("capulet is now known as rose"), romeo.visible())
    romeo.type("/role set moderator rose")
    checks.check("a new role is seen", juliet.sees("moderator"), juliet.visible())
    romeo.type("/affiliation list member")
    checks.check("the list of members", romeo.sees(juliet.bare), romeo.visible())
    romeo.type("/role set participant rose")
    romeo.type("/kick rose by any other name")
    checks.check("a kick is felt", juliet.sees(f"Kicked from {COVEN}"), juliet.visible())
    checks.check("and seen", romeo.sees("rose has been kicked"), romeo.visible())
    juliet.console()
    romeo.type(f"/ban {juliet.bare} out")
    juliet.type(f"/join {COVEN} nick rose")
    checks.check("who is banned stays outside", juliet.sees("Error joining room"), juliet.visible())
    romeo.type("/leave")


def outlive_a_restart(server, romeo, juliet, checks):
    """Both come back by themselves after the server was away, and go on talking."""
    romeo.console()
    juliet.console()
    server.stop()
    checks.check("the end of the connection is noticed", romeo.sees("Lost connection"), romeo.visible())
    server.start()
    for one in (romeo, juliet):
        checks.check(f"{one.name} comes back", one.sees("logged in successfully", 40), one.visible())
    for one, other in ((romeo, juliet), (juliet, romeo)):
        checks.check(f"{one.name}'s roster is as before", one.asks("/roster", f"{other.bare} - both"), one.visible())
    juliet.type(f"/msg {romeo.bare}")
    romeo.type(f"/msg {juliet.bare} Art thou gone so?")
    checks.check("messages flow again", juliet.sees("Art thou gone so?"), juliet.visible())


def show_history(server, juliet, checks):
    """A machine that has never seen the conversation shows it from the archive; started again, its client shows what was
    said meanwhile, once."""
    elsewhere = Terminal(server, "romeo", "elsewhere")
    try:
        elsewhere.open()
        elsewhere.type("/mam on")
        elsewhere.connect(server.c2s_tls, "legacy")
        elsewhere.sees("TLS certificate verification failed")
        elsewhere.type("/tls always")
        elsewhere.sees("logged in successfully")
        elsewhere.console()
        elsewhere.type(f"/msg {juliet.bare}")
        for text in ("Good night, good night", "line 19", "Art thou gone so?"):
            checks.check(f"history comes from the archive: {text}", elsewhere.sees(text), elsewhere.visible())
        juliet.console()
        elsewhere.type("/quit")
        checks.check("the client is gone", juliet.sees("is offline"), juliet.visible())
        elsewhere.close()
        juliet.type(f"/msg {elsewhere.bare} Dry sorrow drinks our blood")
        elsewhere.open()
        elsewhere.connect(server.c2s_tls, "legacy")
        elsewhere.sees("logged in successfully")
        elsewhere.type(f"/msg {juliet.bare}")
        text = "Dry sorrow drinks our blood"
        checks.check("and after a restart of the client", elsewhere.sees(text), elsewhere.visible())
        checks.check("once", elsewhere.screen().count(text) == 1, elsewhere.visible())
        elsewhere.type("/quit")
    finally:
        elsewhere.close()


def drive(server, checks):
    """All scenarios in their order, each resting on the one before."""
    romeo, juliet = Terminal(server, "romeo"), Terminal(server, "juliet")
    try:
        romeo.open()
        juliet.open()
        log_in(server, romeo, juliet, checks)
        become_friends(romeo, juliet, checks)
        talk(romeo, juliet, checks)
        come_and_go(server, romeo, juliet, checks)
        meet_in_a_room(romeo, juliet, checks)
        outlive_a_restart(server, romeo, juliet, checks)
        romeo.type("/quit")
        romeo.close()
        show_history(server, juliet, checks)
        juliet.type("/quit")
    finally:
        romeo.close()
        juliet.close()


def main():
    server, title = from_command_line(__doc__)
    checks = Checks(f"profanity on {title}")
    missing = [tool for tool in ("profanity", "tmux") if shutil.which(tool) is None]
    if missing:
        checks.check("the client is installed", False, f"missing: {', '.join(missing)}")
        return checks.finish()
    try:
        with server:
            for name in ("romeo", "juliet"):
                server.add_user(name, PASSWORD)
            drive(server, checks)
            if checks.failed:
                print(f"the server's log ends with:\n{server.log_tail()}", file=sys.stderr)
    except Exception:  # noqa: BLE001
        checks.broke("the conversation went to its end")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
