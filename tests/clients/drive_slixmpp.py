"""Drives a server with slixmpp, a client library nobody here wrote: RFC 6120 and 6121 as two people see them."""

import asyncio
import logging
import sys
from datetime import datetime, timezone

from checks import Checks
from servers import DOMAIN, from_command_line
from slixmpp import ClientXMPP
from slixmpp.exceptions import IqError

PATIENCE = 15  # seconds to wait for anything that must happen
QUIET = 1.0  # seconds to wait for what must not happen
BOOKMARKS = "urn:xmpp:bookmarks:1"
PASSWORD = "a-long-enough-passphrase"
NEW_PASSWORD = "another-long-passphrase"


class Person(ClientXMPP):
    """One session that remembers everything it heard."""

    def __init__(self, server, name, resource, password=PASSWORD):
        super().__init__(f"{name}@{DOMAIN}/{resource}", password)
        self.place = server
        self.bare = f"{name}@{DOMAIN}"
        self.ca_certs = server.certificate
        self.roster.auto_authorize = None  # we answer requests ourselves
        self.roster.auto_subscribe = False
        for plugin in ("xep_0012", "xep_0030", "xep_0077", "xep_0092", "xep_0199", "xep_0202", "xep_0203"):
            self.register_plugin(plugin)
        self.messages, self.presences, self.events = [], [], []
        self.add_event_handler("message", self.messages.append)
        self.add_event_handler("presence", self.presences.append)
        for event in ("session_start", "failed_all_auth", "disconnected", "ssl_invalid_chain", "stream_error"):
            self.add_event_handler(event, lambda _data, event=event: self.events.append(event))

    async def until(self, holds, what, seconds=PATIENCE):
        """Waits until `holds()` is true."""
        end = asyncio.get_running_loop().time() + seconds
        while not holds():
            if asyncio.get_running_loop().time() > end:
                raise TimeoutError(f"{self.boundjid}: {what} did not come; events: {self.events}")
            await asyncio.sleep(0.02)

    def dial(self, direct_tls=False):
        """Connects to the STARTTLS port, or to the port of direct TLS."""
        self.enable_direct_tls, self.enable_starttls = direct_tls, not direct_tls
        self.connect("127.0.0.1", self.place.c2s_tls if direct_tls else self.place.c2s)

    async def log_in(self, direct_tls=False, available=True):
        """Connects, authenticates, binds, fetches the roster and says that it is there."""
        self.events.clear()
        self.dial(direct_tls)
        await self.until(lambda: "session_start" in self.events, "session_start")
        await self.get_roster()
        if available:
            self.send_presence()
        return self

    async def log_out(self):
        """Closes the stream in an orderly way."""
        await self.disconnect()
        await self.until(lambda: not self.is_connected(), "the end of the stream")

    def heard(self, kind, sender):
        """The presences of this kind (`available` shows as its own word or `show`) from this bare or full JID."""
        return [p for p in self.presences if p["type"] == kind and str(p["from"]).startswith(sender)]

    async def hears(self, kind, sender):
        """Waits for such a presence and returns the last one."""
        await self.until(lambda: self.heard(kind, sender), f"presence {kind} from {sender}")
        return self.heard(kind, sender)[-1]

    def bodies(self):
        """The texts of all messages so far."""
        return [m["body"] for m in self.messages]

    async def sees_subscription(self, contact, wanted):
        """Whether the server's roster comes to say so, asked afresh each time."""
        for _ in range(PATIENCE * 5):
            items = (await self.roster_from_server())["roster"]["items"]
            states = {str(jid): item["subscription"] for jid, item in items.items()}
            if states.get(contact) == wanted:
                return True
            await asyncio.sleep(0.2)
        return False

    async def roster_from_server(self, version=None):
        """The answer to a roster get, with `ver` when a version is given (RFC 6121 section 2.6)."""
        ask = self.make_iq_get()
        ask.enable("roster")
        if version is not None:
            ask["roster"]["ver"] = version
        return await ask.send(timeout=PATIENCE)


def hang_up(*people):
    """Drops connections without a word, and keeps the clients from trying again."""
    for person in people:
        person.cancel_connection_attempt()
        person.abort()


async def logs_in_over_tls(server, checks):
    """STARTTLS and direct TLS with the server's certificate as the only trusted one."""
    romeo = await Person(server, "romeo", "starttls").log_in()
    checks.check("STARTTLS: logged in", romeo.authenticated)
    checks.check("STARTTLS: the connection is encrypted", romeo.socket.version() in ("TLSv1.2", "TLSv1.3"))
    mechanism = romeo.plugin["feature_mechanisms"].mech.name
    checks.check("STARTTLS: authenticated by SCRAM", mechanism.startswith("SCRAM-"), mechanism)
    checks.check("the resource asked for was bound", romeo.boundjid.resource == "starttls", romeo.boundjid)
    juliet = await Person(server, "juliet", "direct").log_in(direct_tls=True)
    checks.check("direct TLS: logged in", juliet.authenticated)
    checks.check("direct TLS: no STARTTLS was offered inside", "starttls" not in juliet.features)
    await romeo.log_out()
    await juliet.log_out()


async def refuses_strangers(server, checks):
    """An unknown certificate stops the client; a wrong password and an unknown user stop at the server."""
    doubter = Person(server, "romeo", "doubter")
    doubter.ca_certs = None
    doubter.ssl_context.load_default_certs()
    doubter.ssl_context.verify_mode = 2  # CERT_REQUIRED
    doubter.dial()
    await doubter.until(lambda: "ssl_invalid_chain" in doubter.events, "refusal of the certificate")
    checks.check("a client that does not trust the certificate stays out", not doubter.authenticated)
    hang_up(doubter)
    for name, password in (("romeo", "not the password"), ("nobody", PASSWORD)):
        intruder = Person(server, name, "intruder", password)
        intruder.dial()
        await intruder.until(lambda: "failed_all_auth" in intruder.events, "refusal of the password")
        checks.check(f"wrong credentials are refused for {name}", "session_start" not in intruder.events)
        hang_up(intruder)


async def become_friends(server, checks):
    """Both ask, both approve; rosters and presence follow (RFC 6121 section 3)."""
    romeo = await Person(server, "romeo", "garden").log_in()
    juliet = await Person(server, "juliet", "balcony").log_in(direct_tls=True)
    romeo.send_presence_subscription(juliet.bare)
    request = await juliet.hears("subscribe", romeo.bare)
    checks.check("a request comes from the bare JID", request["from"] == romeo.bare, request["from"])
    juliet.send_presence_subscription(romeo.bare, ptype="subscribed")
    await romeo.hears("subscribed", juliet.bare)
    checks.check("an approved contact's presence arrives", await romeo.hears("available", "juliet@localhost/balcony"))
    checks.check("romeo's roster says `to`", await romeo.sees_subscription(juliet.bare, "to"))
    juliet.send_presence_subscription(romeo.bare)
    await romeo.hears("subscribe", juliet.bare)
    romeo.send_presence_subscription(juliet.bare, ptype="subscribed")
    await juliet.hears("subscribed", romeo.bare)
    checks.check("the other presence arrives too", await juliet.hears("available", "romeo@localhost/garden"))
    for person, contact in ((romeo, juliet.bare), (juliet, romeo.bare)):
        checks.check(f"{person.bare}'s roster says `both`", await person.sees_subscription(contact, "both"))
    return romeo, juliet


async def talk(romeo, juliet, checks):
    """Messages both ways, unaltered and in order."""
    text = "Wherefore art thou? <&> \u00fc \u2764 \U0001f339"
    romeo.send_message(juliet.bare, text)
    await juliet.until(lambda: juliet.messages, "a message")
    checks.check("the text is unaltered", juliet.bodies() == [text], juliet.bodies())
    checks.check("the sender is the full JID", juliet.messages[0]["from"] == romeo.boundjid, juliet.messages[0]["from"])
    juliet.messages[0].reply("Deny thy father").send()
    await romeo.until(lambda: romeo.messages, "the reply")
    checks.check("the reply arrives at the full JID", romeo.bodies() == ["Deny thy father"], romeo.bodies())
    juliet.messages.clear()
    sent = [f"verse {number}" for number in range(100)]
    for number, verse in enumerate(sent):
        romeo.send_message(juliet.bare if number % 2 else juliet.boundjid.full, verse)
    await juliet.until(lambda: len(juliet.messages) >= len(sent), "the hundredth message", 30)
    checks.check("100 messages to bare and full JID arrive in order", juliet.bodies() == sent, juliet.bodies()[:5])


async def come_and_go(server, romeo, juliet, checks):
    """Presence: a status, an orderly end, a dropped socket, a return, a second device."""
    juliet.send_presence(pshow="away", pstatus="on the balcony")
    away = await romeo.hears("away", juliet.bare)
    checks.check("a change of status arrives", away["status"] == "on the balcony", away["status"])
    romeo.presences.clear()
    await juliet.log_out()
    checks.check("an orderly end is seen", await romeo.hears("unavailable", "juliet@localhost/balcony"))
    romeo.presences.clear()
    await juliet.log_in(direct_tls=True)
    checks.check("a return is seen", await romeo.hears("available", "juliet@localhost/balcony"))
    romeo.presences.clear()
    hang_up(juliet)
    checks.check("a dropped connection is seen", await romeo.hears("unavailable", "juliet@localhost/balcony"))
    await juliet.log_in(direct_tls=True)
    phone = await Person(server, "juliet", "phone").log_in()
    checks.check("one's own devices see each other", await juliet.hears("available", "juliet@localhost/phone"))
    checks.check("the contact sees both", await romeo.hears("available", "juliet@localhost/phone"))
    await phone.log_out()


async def ask_around(romeo, juliet, checks):
    """Discovery, ping, version, time, last activity; iqs between clients."""
    info = await romeo.plugin["xep_0030"].get_info(DOMAIN)
    identities = {(identity[0], identity[1]) for identity in info["disco_info"]["identities"]}
    checks.check("the server says that it is one", ("server", "im") in identities, identities)
    features = info["disco_info"]["features"]
    for feature in ("http://jabber.org/protocol/disco#info", "urn:xmpp:ping", "jabber:iq:version", "urn:xmpp:time"):
        checks.check(f"the server announces {feature}", feature in features, sorted(features))
    items = await romeo.plugin["xep_0030"].get_items(DOMAIN)
    checks.check("disco items are answered", items["type"] == "result")
    checks.check("the server answers a ping", (await romeo.plugin["xep_0199"].send_ping(DOMAIN))["type"] == "result")
    ping = await romeo.plugin["xep_0199"].send_ping(juliet.boundjid)
    checks.check("a ping reaches another client and comes back", ping["from"] == juliet.boundjid, ping["from"])
    version = (await romeo.plugin["xep_0092"].get_version(DOMAIN))["software_version"]
    checks.check("the server has a name and a version", version["name"] and version["version"], version)
    # slixmpp's own reading of <utc/> appends a second `Z`; we read the element.
    utc = (await romeo.plugin["xep_0202"].get_entity_time(DOMAIN)).xml.findtext(
        "{urn:xmpp:time}time/{urn:xmpp:time}utc"
    )
    drift = datetime.now(timezone.utc) - datetime.fromisoformat(utc.replace("Z", "+00:00"))
    checks.check("the server knows the time", abs(drift.total_seconds()) < 60, utc)
    up = (await romeo.plugin["xep_0012"].get_last_activity(DOMAIN))["last_activity"]["seconds"]
    checks.check("the server says for how long it runs", 0 <= up < 3600, up)
    try:
        await romeo.plugin["xep_0092"].get_version("nobody@localhost/nowhere")
        condition = "none"
    except IqError as error:
        condition = error.condition
    checks.check("an unknown user answers service-unavailable", condition == "service-unavailable", condition)


async def versions_of_the_roster(romeo, checks):
    """RFC 6121 section 2.6: an unchanged roster is not sent again."""
    checks.check("roster versioning is offered", "rosterver" in romeo.features, romeo.features)
    full = await romeo.roster_from_server("")
    checks.check("an empty version brings the roster", len(full["roster"]["items"]) == 1, full)
    same = await romeo.roster_from_server(full["roster"]["ver"])
    checks.check("the current version brings nothing", "jabber:iq:roster" not in str(same), same)


class Publisher(Person):
    """A session that publishes, and wants to hear of avatars and bookmarks."""

    def __init__(self, server, name, resource):
        super().__init__(server, name, resource)
        for plugin in ("xep_0048", "xep_0049", "xep_0060", "xep_0084", "xep_0115", "xep_0163", "xep_0223", "xep_0402"):
            self.register_plugin(plugin)
        self.plugin["xep_0060"].map_node_event(BOOKMARKS, "bookmark")
        self.plugin["xep_0163"].add_interest(BOOKMARKS)
        self.avatars, self.rooms = [], []
        self.add_event_handler("avatar_metadata_publish", self.avatars.append)
        self.add_event_handler("bookmark_publish", self.rooms.append)

    async def log_in(self, direct_tls=False, available=True):
        await super().log_in(direct_tls, available=False)
        # The hash over its features is ready a moment later.
        await asyncio.sleep(QUIET)
        if available:
            self.send_presence()
        return self


async def publish_and_hear(server, checks):
    """XEP-0163: an avatar is published and fetched by a contact; bookmarks reach one's other device."""
    juliet = await Publisher(server, "juliet", "pep").log_in()
    romeo = await Publisher(server, "romeo", "pep").log_in(direct_tls=True)
    picture = bytes(range(256)) * 40
    avatar = juliet.plugin["xep_0084"]
    name = avatar.generate_id(picture)
    await avatar.publish_avatar(picture)
    await avatar.publish_avatar_metadata({"id": name, "type": "image/png", "bytes": len(picture)})
    await romeo.until(lambda: romeo.avatars, "the contact's new avatar")
    told = romeo.avatars[-1]
    checks.check("an avatar is told by its owner's bare JID", told["from"] == juliet.bare, told["from"])
    item = told["pubsub_event"]["items"]["item"]
    checks.check("the avatar is named by its hash", item["id"] == name, item["id"])
    fetched = await romeo.plugin["xep_0084"].retrieve_avatar(juliet.bare, name)
    value = fetched["pubsub"]["items"]["item"]["avatar_data"]["value"]
    checks.check("the picture is fetched unaltered", value == picture, len(value))
    phone = await Publisher(server, "romeo", "phone").log_in()
    await phone.until(lambda: any(told["from"] == juliet.bare for told in phone.avatars), "the avatar after a login")
    checks.check("who comes online is told the last avatar", phone.avatars[-1]["pubsub_event"]["items"]["item"]["id"] == name)
    conference = romeo.plugin["xep_0402"].stanza.Conference()
    conference["name"], conference["autojoin"], conference["nick"] = "The Play", True, "Romeo"
    await romeo.plugin["xep_0223"].store(conference, node=BOOKMARKS, id="play@conference.localhost")
    await phone.until(lambda: phone.rooms, "the bookmark on the other device")
    checks.check("a bookmark reaches the other device", phone.rooms[-1]["from"] == romeo.bare, phone.rooms[-1]["from"])
    old = await phone.plugin["xep_0048"].get_bookmarks(method="xep_0049")
    rooms = [(str(room["jid"]), room["nick"]) for room in old["private"]["bookmarks"]["conferences"]]
    checks.check("a client of old reads it", rooms == [("play@conference.localhost", "Romeo")], rooms)
    stranger = await Publisher(server, "mercutio", "pep").log_in()
    try:
        await stranger.plugin["xep_0084"].retrieve_avatar(juliet.bare, name)
        condition = "none"
    except IqError as error:
        condition = error.condition
    checks.check("a stranger sees no avatar", condition == "not-authorized", condition)
    for person in (juliet, romeo, phone, stranger):
        await person.log_out()


async def show_a_card(server, checks):
    """XEP-0054 and XEP-0153: a card with a picture is read while its owner is away, and presence names the picture."""
    juliet, romeo = Publisher(server, "juliet", "card"), Publisher(server, "romeo", "card")
    for person in (juliet, romeo):
        for plugin in ("xep_0054", "xep_0153"):
            person.register_plugin(plugin)
        await person.log_in()
    card = juliet.plugin["xep_0054"].make_vcard()
    card["FN"] = "Juliet Capulet"
    await juliet.plugin["xep_0054"].publish_vcard(card)
    picture = b"\x89PNG" + bytes(range(200))
    await juliet.plugin["xep_0153"].set_avatar(avatar=picture, mtype="image/png")
    name = juliet.plugin["xep_0084"].generate_id(picture)
    update = "{vcard-temp:x:update}x/{vcard-temp:x:update}photo"
    seen = lambda: [p.xml.findtext(update) for p in romeo.presences if str(p["from"]) == f"{juliet.bare}/card"]  # noqa: E731
    await romeo.until(lambda: name in seen(), "the hash of the picture in presence")
    checks.check("presence names the picture of a card", name in seen(), seen())
    fetched = await romeo.plugin["xep_0084"].retrieve_avatar(juliet.bare, name)
    value = fetched["pubsub"]["items"]["item"]["avatar_data"]["value"]
    checks.check("the picture of a card is in the node, too", value == picture, len(value))
    await juliet.log_out()
    read = (await romeo.plugin["xep_0054"].get_vcard(juliet.bare, local=False))["vcard_temp"]
    checks.check("a card is read while its owner is away", read["FN"] == "Juliet Capulet", read["FN"])
    checks.check("its picture is unaltered", read["PHOTO"]["BINVAL"] == picture, len(read["PHOTO"]["BINVAL"] or b""))
    await romeo.log_out()


async def outlive_a_restart(server, romeo, juliet, checks):
    """Messages for someone absent survive a restart; those present come back by themselves."""
    await juliet.log_out()
    juliet.messages.clear()
    left = [f"letter {number}" for number in range(5)]
    for letter in left:
        romeo.send_message(juliet.bare, letter)
    await romeo.plugin["xep_0199"].send_ping(DOMAIN)  # the answer comes after the letters were handled
    romeo.events.clear()
    code = await asyncio.to_thread(server.stop)
    checks.check("the server ends cleanly", code == 0, code)
    await romeo.until(lambda: "disconnected" in romeo.events, "the end of the connection")
    await asyncio.to_thread(server.start)
    romeo.presences.clear()
    await romeo.log_in()
    checks.check("one comes back after a restart", romeo.authenticated)
    await juliet.log_in(direct_tls=True)
    checks.check("presence works again", await romeo.hears("available", juliet.bare))
    checks.check("the friendship is remembered", await juliet.sees_subscription(romeo.bare, "both"))
    await juliet.until(lambda: len(juliet.messages) >= len(left), "the letters")
    await asyncio.sleep(QUIET)
    checks.check("offline messages arrive in order", juliet.bodies() == left, juliet.bodies())
    stamped = [m["delay"]["stamp"] is not None for m in juliet.messages]
    checks.check("each says when it was sent", stamped and all(stamped), stamped)
    juliet.messages.clear()
    await juliet.log_out()
    await juliet.log_in(direct_tls=True)
    await asyncio.sleep(QUIET)
    checks.check("they arrive only once", juliet.bodies() == [], juliet.bodies())
    romeo.send_message(juliet.bare, "after the restart")
    await juliet.until(lambda: juliet.messages, "a message after the restart")
    checks.check("messages flow again", juliet.bodies() == ["after the restart"], juliet.bodies())


async def change_passwords(server, checks):
    """XEP-0077: change the password, then remove the account."""
    mercutio = await Person(server, "mercutio", "old").log_in()
    await mercutio.plugin["xep_0077"].change_password(NEW_PASSWORD, jid=DOMAIN)
    if mercutio.is_connected():
        await mercutio.log_out()
    late = Person(server, "mercutio", "late")
    late.dial()
    await late.until(lambda: "failed_all_auth" in late.events, "refusal of the old password")
    checks.check("the old password is refused", "session_start" not in late.events)
    hang_up(late)
    mercutio = await Person(server, "mercutio", "new", NEW_PASSWORD).log_in()
    checks.check("the new password is accepted", mercutio.authenticated)
    mercutio.events.clear()
    asyncio.ensure_future(swallow(mercutio.plugin["xep_0077"].cancel_registration(jid=DOMAIN)))
    await mercutio.until(lambda: "disconnected" in mercutio.events, "the end of the removed account's stream")
    ghost = Person(server, "mercutio", "ghost", NEW_PASSWORD)
    ghost.dial()
    await ghost.until(lambda: "failed_all_auth" in ghost.events, "refusal of the removed account")
    checks.check("a removed account is gone", "session_start" not in ghost.events)
    hang_up(ghost)


async def swallow(answer):
    """Awaits an iq whose stream may end before its answer."""
    try:
        await answer
    except Exception:  # noqa: BLE001 - the stream's end is the answer
        pass


async def drive(server, checks):
    """All scenarios in their order; a broken one is counted and the next one tried where that makes sense."""
    for scenario in (logs_in_over_tls, refuses_strangers):
        try:
            await scenario(server, checks)
        except Exception:  # noqa: BLE001
            checks.broke(scenario.__name__)
    try:
        romeo, juliet = await become_friends(server, checks)
    except Exception:  # noqa: BLE001
        checks.broke(become_friends.__name__)
        return
    for scenario, arguments in (
        (talk, (romeo, juliet)),
        (come_and_go, (server, romeo, juliet)),
        (ask_around, (romeo, juliet)),
        (versions_of_the_roster, (romeo,)),
        (publish_and_hear, (server,)),
        (show_a_card, (server,)),
        (outlive_a_restart, (server, romeo, juliet)),
        (change_passwords, (server,)),
    ):
        try:
            await scenario(*arguments, checks)
        except Exception:  # noqa: BLE001
            checks.broke(scenario.__name__)
    hang_up(romeo, juliet)


def main():
    server, title = from_command_line(__doc__)
    logging.basicConfig(level=logging.CRITICAL)
    checks = Checks(f"slixmpp on {title}")
    try:
        with server:
            for name in ("romeo", "juliet", "mercutio"):
                server.add_user(name, PASSWORD)
            asyncio.run(drive(server, checks))
            if checks.failed:
                print(f"the server's log ends with:\n{server.log_tail()}", file=sys.stderr)
    except Exception:  # noqa: BLE001
        checks.broke("the server ran")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
