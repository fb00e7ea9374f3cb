"""Drives Waxwing and another server, Prosody or ejabberd, as two people see them who live on one each."""

import argparse
import asyncio
import logging
import subprocess
import sys
from xml.etree import ElementTree

from checks import Checks
from peers import PASSWORD, PEERS, Mode, WaxwingPeer, World
from slixmpp import ClientXMPP

PATIENCE = 20  # seconds to wait for anything that must happen
MODES = {
    "prosody": [
        Mode("EXTERNAL over STARTTLS"),
        Mode("EXTERNAL over direct TLS", direct_tls=True),
        Mode("dialback", dialback=True),
        Mode("one connection for both directions", bidi=True),
    ],
    # Debian's has neither bidi nor stream management between servers.
    "ejabberd": [
        Mode("EXTERNAL over STARTTLS"),
        Mode("EXTERNAL over direct TLS, bidi in vain", direct_tls=True, bidi=True),
        Mode("dialback", dialback=True),
    ],
}


class Person(ClientXMPP):
    """One session that remembers what it heard."""

    def __init__(self, server):
        super().__init__(f"{server.user_name}@{server.domain}/test", PASSWORD)
        self.place = server
        self.bare = f"{server.user_name}@{server.domain}"
        self.ca_certs = str(server.trusted)
        self.roster.auto_authorize = None
        self.roster.auto_subscribe = False
        for plugin in ("xep_0030", "xep_0045", "xep_0084", "xep_0115", "xep_0163", "xep_0199"):
            self.register_plugin(plugin)
        self.messages, self.presences, self.avatars, self.events = [], [], [], []
        self.add_event_handler("avatar_metadata_publish", self.avatars.append)
        self.add_event_handler("message", self.messages.append)
        self.add_event_handler("presence", self.presences.append)
        for event in ("session_start", "failed_all_auth", "disconnected", "ssl_invalid_chain", "stream_error"):
            self.add_event_handler(event, lambda _data, event=event: self.events.append(event))

    async def until(self, holds, what, seconds=PATIENCE):
        """Waits until `holds()` is true; tells whether it came to that."""
        end = asyncio.get_running_loop().time() + seconds
        while not holds():
            if asyncio.get_running_loop().time() > end:
                raise TimeoutError(f"{self.bare}: {what} did not come; events: {self.events}")
            await asyncio.sleep(0.02)
        return True

    async def log_in(self):
        """Connects, authenticates, fetches the roster and says that it is there."""
        self.enable_direct_tls, self.enable_starttls = False, True
        self.connect(self.place.address, 5222)
        await self.until(lambda: "session_start" in self.events, "session_start")
        await self.get_roster()
        self.send_presence()
        return self

    def hang_up(self):
        """Drops the connection and does not come back."""
        self.cancel_connection_attempt()
        self.abort()

    def heard(self, kind, sender):
        """Whether such a presence came."""
        return any(p["type"] == kind and str(p["from"]).startswith(sender) for p in self.presences)

    async def hears(self, kind, sender):
        """Waits for such a presence."""
        return await self.until(lambda: self.heard(kind, sender), f"presence {kind} from {sender}")

    async def reads(self, body):
        """Waits for a message with this body, and makes sure that it came once."""
        await self.until(lambda: any(m["body"] == body for m in self.messages), f"the message {body!r}")
        return sum(m["body"] == body for m in self.messages) == 1


async def say(checks, one, other, text):
    """A message; it comes once."""
    one.send_message(other.bare, text, mtype="chat")
    checks.check(f"{one.domain_name} to {other.domain_name}: {text}", await other.reads(text))


async def subscribe(checks, one, other):
    """One asks, the other approves and is seen."""
    one.send_presence_subscription(other.bare)
    await other.hears("subscribe", one.bare)
    other.send_presence_subscription(one.bare, ptype="subscribed")
    await one.hears("subscribed", other.bare)
    seen = await one.hears("available", f"{other.bare}/test")
    checks.check(f"{one.domain_name} subscribes to {other.domain_name} and sees the other one", seen)


async def join(checks, host, guest):
    """The host makes a room on his server, and the guest of the other server comes in."""
    room = f"hall@conference.{host.place.domain}"
    for person, nick in ((host, "Host"), (guest, "Guest")):
        ask_in(person, f"{room}/{nick}")
        await person.hears("available", f"{room}/{nick}")
        if person is host:
            await open_room(person, room)
    checks.check(f"a guest is in a room of {host.domain_name}", await host.hears("available", f"{room}/Guest"))
    guest.send_message(room, "hello, hall", mtype="groupchat")
    came = await host.until(lambda: any(m["body"] == "hello, hall" for m in host.messages), "the guest's words")
    checks.check(f"what the guest says in a room of {host.domain_name} is heard", came)
    back = await guest.until(lambda: any(m["body"] == "hello, hall" for m in guest.messages), "the reflection")
    checks.check(f"the guest in a room of {host.domain_name} hears himself", back)
    guest.send_presence(pto=f"{room}/Guest", ptype="unavailable")
    checks.check(f"a guest leaves a room of {host.domain_name}", await host.hears("unavailable", f"{room}/Guest"))
    host.messages.clear()
    guest.messages.clear()


def ask_in(person, occupant):
    """A presence that asks to come in."""
    presence = person.make_presence(pto=occupant)
    presence.append(ElementTree.fromstring("<x xmlns='http://jabber.org/protocol/muc'/>"))
    presence.send()


async def open_room(person, room):
    """Submits the room's configuration: open to everybody."""
    iq = person.make_iq_set(ito=room)
    query = ElementTree.fromstring(
        "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'>"
        "<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>"
        "<field var='muc#roomconfig_membersonly'><value>0</value></field></x></query>"
    )
    iq.append(query)
    await iq.send(timeout=PATIENCE)


async def ask(checks, one, other):
    """Questions to the other server and to its user."""
    pong = await one.plugin["xep_0199"].send_ping(other.place.domain, timeout=PATIENCE)
    checks.check(f"{one.domain_name} pings {other.domain_name}", pong["type"] == "result")
    info = await one.plugin["xep_0030"].get_info(jid=other.place.domain, timeout=PATIENCE)
    checks.check(f"{one.domain_name} looks at {other.domain_name}", "urn:xmpp:ping" in info["disco_info"]["features"])
    pong = await one.plugin["xep_0199"].send_ping(f"{other.bare}/test", timeout=PATIENCE)
    checks.check(f"{one.domain_name} pings the user of {other.domain_name}", pong["type"] == "result")


async def show(checks, one, other):
    """One publishes an avatar; the other is told of it and fetches it (XEP-0084)."""
    picture = b"\x89PNG\r\n\x1a\n" + one.bare.encode() * 40
    avatars = one.plugin["xep_0084"]
    name = avatars.generate_id(picture)
    await avatars.publish_avatar(picture, timeout=PATIENCE)
    described = {"id": name, "type": "image/png", "bytes": len(picture)}
    await avatars.publish_avatar_metadata(described, timeout=PATIENCE)

    def told():
        events = [event["pubsub_event"]["items"] for event in other.avatars if event["from"].bare == one.bare]
        return any(item["id"] == name for items in events for item in items)

    came = await other.until(told, "the avatar's metadata")
    checks.check(f"an avatar of {one.domain_name} is told of", came)
    result = await other.plugin["xep_0084"].retrieve_avatar(one.bare, name, timeout=PATIENCE)
    item = result["pubsub"]["items"]["item"]
    checks.check(f"an avatar of {one.domain_name} is seen", item["avatar_data"]["value"] == picture)


async def people(us, them):
    """A person on each side."""
    juliet, romeo = Person(us), Person(them)
    juliet.domain_name, romeo.domain_name = "waxwing", "the peer"
    await juliet.log_in()
    await romeo.log_in()
    return juliet, romeo


async def scenario(checks, us, them, with_restarts):
    """Everything two people do with each other."""
    juliet, romeo = await people(us, them)
    await say(checks, juliet, romeo, "first")
    await say(checks, romeo, juliet, "second")
    for one, other in ((juliet, romeo), (romeo, juliet)):
        await subscribe(checks, one, other)
        await ask(checks, one, other)
    for one, other in ((juliet, romeo), (romeo, juliet)):
        await show(checks, one, other)
    juliet.presences.clear()
    romeo.send_presence(pshow="away")
    checks.check("a change of presence is seen", await juliet.hears("away", romeo.bare))
    await join(checks, juliet, romeo)
    await join(checks, romeo, juliet)
    for index in range(100):
        juliet.send_message(romeo.bare, f"to {index}", mtype="chat")
        romeo.send_message(juliet.bare, f"fro {index}", mtype="chat")
    await romeo.reads("to 99")
    await juliet.reads("fro 99")
    wanted = [f"to {index}" for index in range(100)]
    checks.check("a hundred messages come in their order", [m["body"] for m in romeo.messages][-100:] == wanted)
    wanted = [f"fro {index}" for index in range(100)]
    checks.check("a hundred answers come in their order", [m["body"] for m in juliet.messages][-100:] == wanted)
    juliet.hang_up()
    romeo.hang_up()
    if with_restarts:
        for server in (them, us):
            server.stop()
            server.start()
            juliet, romeo = await people(us, them)
            await say(checks, juliet, romeo, "after the restart, to")
            await say(checks, romeo, juliet, "after the restart, fro")
            juliet.hang_up()
            romeo.hang_up()


def examine(checks, us, them):
    """What `waxwing doctor` says of the peer: both kinds of streams are well, and nothing but a web is missing."""
    names, authority = us.world.names, us.world.authority.certificate
    said = subprocess.run(
        [us.binary, "doctor", them.domain, "--resolver", f"{names.address}:{names.port}", "--ca", str(authority),
         "--private-addresses", "--connect", f"client={them.address}:{them.c2s}", "--from", us.domain],
        capture_output=True, text=True, timeout=40, check=False,
    )
    streams = said.stdout.partition("\nClients\n")[2].partition("\nOther servers\n")
    # A server that believes certificates alone shows the door to a doctor, who has none of a server.
    is_met = "  ok   " in streams[2] or "note without a certificate" in streams[2]
    is_well = "ok   STARTTLS" in streams[0] and "SCRAM-SHA-" in streams[0] and is_met
    checks.check("the doctor finds the peer's streams well", is_well and "FAIL" not in said.stdout, said.stdout)
    checks.check("and tells that it has no web", said.returncode == 1 and "WARN https://" in said.stdout, said.stderr)


def proofs(us, mode):
    """What the log of Waxwing says of how the two have proved themselves, in both directions."""
    log = us.log.read_text(errors="replace")
    wanted = "dialback" if mode.dialback else "EXTERNAL"
    kinds = ["federation.connected", "federation.accepted"]
    lines = [[line for line in log.splitlines() if kind in line] for kind in kinds]
    return all(wanted in line for found in lines for line in found), lines


def run(peer, mode, binary, with_restarts):
    """One mode; the number of checks that did not hold."""
    checks = Checks(f"{peer}, {mode.name}")
    world = World(mode, PEERS[peer].targets_are_addresses)
    try:
        with WaxwingPeer(world, binary) as us, PEERS[peer](world, binary) as them:
            us.add_user()
            them.add_user()
            try:
                asyncio.run(asyncio.wait_for(scenario(checks, us, them, with_restarts), 150))
            except Exception:  # any end of a scenario is a result
                checks.broke("the scenario")
                print(us.log_tail(), them.log_tail(), sep="\n", file=sys.stderr)
                for log in them.folder.glob("*.log"):
                    print(*log.read_text(errors="replace").splitlines()[-60:], sep="\n", file=sys.stderr)
            if not mode.dialback:
                examine(checks, us, them)
            held, lines = proofs(us, mode)
            checks.check("each proof was the one of this mode", held and any(lines), lines)
            if mode.bidi and them.knows_bidi:
                checks.check("one connection was enough", not all(lines) or len(lines[0]) + len(lines[1]) <= 4, lines)
            checks.check("waxwing stops in good order", us.stop() == 0)
    except Exception:  # a server that does not start
        checks.broke("the servers")
    finally:
        world.close()
    return checks.finish()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=sorted(PEERS))
    parser.add_argument("--binary", default="target/debug/waxwing")
    parser.add_argument("--mode", type=int, help="only this one, counted from 0")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    modes = MODES[options.peer]
    chosen = modes if options.mode is None else [modes[options.mode]]
    failed = [run(options.peer, mode, options.binary, index == 0) for index, mode in enumerate(chosen)]
    return 1 if any(failed) else 0


if __name__ == "__main__":
    sys.exit(main())
