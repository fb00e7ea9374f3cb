"""Drives external components with slixmpp's ComponentXMPP, which nobody here wrote: XEP-0114 and XEP-0356."""

import asyncio
import logging
import sys

from checks import Checks
from drive_slixmpp import PASSWORD, PATIENCE, Person, hang_up
from servers import DOMAIN, free_port, from_command_line
from slixmpp import ComponentXMPP, Message
from slixmpp.plugins.xep_0356.permissions import MessagePermission, RosterAccess

SECRET = "what both of them know"
BRIDGE = f"bridge.{DOMAIN}"
PORT = free_port()
SETTINGS = f"""
[modules.component]
listen = ["127.0.0.1:{PORT}"]

[[modules.component.components]]
domain = "bridge"
secret = "{SECRET}"
roster = "both"
message = "outgoing"
"""


class Bridge(ComponentXMPP):
    """A program that speaks for everybody of its domain."""

    def __init__(self, secret=SECRET):
        super().__init__(BRIDGE, secret, "127.0.0.1", PORT)
        for plugin in ("xep_0030", "xep_0199", "xep_0356"):
            self.register_plugin(plugin)
        self.messages, self.events = [], []
        self.add_event_handler("message", self.messages.append)
        for event in ("session_start", "disconnected", "stream_error", "privileges_advertised"):
            self.add_event_handler(event, lambda _data, event=event: self.events.append(event))

    until = Person.until


async def is_let_in(checks):
    """With the secret it is let in, without it is not."""
    stranger = Bridge("something else")
    stranger.connect()
    await stranger.until(lambda: "disconnected" in stranger.events, "the end of the stream")
    checks.check("a wrong secret is refused", "session_start" not in stranger.events, stranger.events)
    hang_up(stranger)
    bridge = Bridge()
    bridge.connect()
    await bridge.until(lambda: "session_start" in bridge.events, "session_start")
    checks.check("the right secret is accepted", True)
    return bridge


async def talks(bridge, romeo, checks):
    """Stanzas in both directions, for any address of its domain."""
    romeo.send_message(mto=f"juliet@{BRIDGE}", mbody="But, soft!", mtype="chat")
    await bridge.until(lambda: bridge.messages, "a message")
    came = bridge.messages[-1]
    checks.check("a message comes in", (came["body"], came["from"].bare) == ("But, soft!", romeo.bare), came)
    checks.check("for whom it was", str(came["to"]) == f"juliet@{BRIDGE}", came["to"])
    bridge.send_message(mfrom=f"juliet@{BRIDGE}/balcony", mto=romeo.bare, mbody="Ay me!", mtype="chat")
    await romeo.until(lambda: "Ay me!" in romeo.bodies(), "the answer")
    checks.check("an answer goes out", str(romeo.messages[-1]["from"]) == f"juliet@{BRIDGE}/balcony", romeo.messages[-1])
    pong = await romeo.plugin["xep_0199"].send_ping(BRIDGE, timeout=PATIENCE)
    checks.check("it is pinged", pong["type"] == "result", pong)
    pong = await bridge.plugin["xep_0199"].send_ping(DOMAIN, ifrom=BRIDGE, timeout=PATIENCE)
    checks.check("it pings the server", pong["type"] == "result", pong)
    items = await romeo.plugin["xep_0030"].get_items(jid=DOMAIN, timeout=PATIENCE)
    listed = {str(item[0]) for item in items["disco_items"]["items"]}
    checks.check("it is listed as a service", BRIDGE in listed, listed)


async def uses_its_privileges(bridge, romeo, checks):
    """What the operator has granted, and nothing else (XEP-0356)."""
    await bridge.until(lambda: "privileges_advertised" in bridge.events, "its privileges")
    privileges = bridge.plugin["xep_0356"]
    granted = privileges.granted_privileges[DOMAIN]
    wanted = (RosterAccess.BOTH, MessagePermission.OUTGOING)
    checks.check("it is told what it may do", (granted.roster, granted.message) == wanted, granted)
    friend = f"nurse@{BRIDGE}"
    contacts = {friend: {"name": "Nurse", "subscription": "none", "groups": ["Bridge"]}}
    await privileges.set_roster(romeo.bare, contacts, timeout=PATIENCE)
    answer = await privileges.get_roster(romeo.bare, timeout=PATIENCE)
    named = {str(jid): item["name"] for jid, item in answer["roster"]["items"].items()}
    checks.check("it writes and reads a roster", named == {friend: "Nurse"}, named)
    note = Message()
    note["from"], note["to"], note["type"], note["body"] = DOMAIN, romeo.bare, "chat", "news"
    privileges.send_privileged_message(note)
    await romeo.until(lambda: "news" in romeo.bodies(), "the message in the server's name")
    checks.check("it sends in another's name", str(romeo.messages[-1]["from"]) == DOMAIN, romeo.messages[-1])


async def drive(server, checks):
    """All of it with one component and one person."""
    romeo, bridge = Person(server, "romeo", "orchard"), None
    try:
        await romeo.log_in()
        bridge = await is_let_in(checks)
        await talks(bridge, romeo, checks)
        await uses_its_privileges(bridge, romeo, checks)
    except Exception:  # noqa: BLE001
        checks.broke("the component did its work")
    hang_up(romeo, *([bridge] if bridge else []))


def main():
    server, title = from_command_line(__doc__)
    server.settings = SETTINGS
    logging.basicConfig(level=logging.CRITICAL)
    checks = Checks(f"slixmpp as a component on {title}")
    try:
        with server:
            server.add_user("romeo", PASSWORD)
            asyncio.run(asyncio.wait_for(drive(server, checks), 60))
            if checks.failed:
                print(f"the server's log ends with:\n{server.log_tail()}", file=sys.stderr)
    except Exception:  # noqa: BLE001
        checks.broke("the server ran")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
