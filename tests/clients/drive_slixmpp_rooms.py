"""Drives rooms with slixmpp, a client library nobody here wrote: XEP-0045 and its kin as three people see them."""

import asyncio
import logging
import sys

from checks import Checks
from drive_slixmpp import PASSWORD, QUIET, Person, hang_up
from servers import DOMAIN, from_command_line
from slixmpp import JID
from slixmpp.exceptions import IqError, PresenceError
from slixmpp.plugins.xep_0410 import PingStatus

SERVICE = f"conference.{DOMAIN}"
COVEN = JID(f"coven@{SERVICE}")
HEATH = JID(f"heath@{SERVICE}")
ROOM_CONFIG = "http://jabber.org/protocol/muc#roomconfig"
CROWN = "\u265a"  # slixmpp knows no younger signs in nicknames


class Witch(Person):
    """A person who goes to rooms."""

    def __init__(self, server, name, resource):
        super().__init__(server, name, resource)
        for plugin in ("0004", "0045", "0249", "0313", "0359", "0410", "0421", "0424", "0425"):
            self.register_plugin(f"xep_{plugin}")
        self.muc = self.plugin["xep_0045"]
        self.said, self.subjects, self.invitations, self.directly, self.moderated = [], [], [], [], []
        self.shown = []
        self.add_event_handler("groupchat_presence", self.shown.append)
        self.add_event_handler("groupchat_message", self.said.append)
        self.add_event_handler("groupchat_subject", self.subjects.append)
        self.add_event_handler("groupchat_invite", self.invitations.append)
        self.add_event_handler("groupchat_direct_invite", self.directly.append)
        self.add_event_handler("moderated_message", self.moderated.append)

    async def enter(self, room, nick, **options):
        """Joins and waits for the whole of the welcome; returns presence, subject, occupants and history."""
        return await self.muc.join_muc_wait(room, nick, maxstanzas=options.pop("maxstanzas", 0), timeout=15, **options)

    async def refused(self, awaitable):
        """The condition with which a request is refused; `none` when it is not."""
        try:
            await awaitable
        except (IqError, PresenceError) as error:
            return error.condition
        return "none"

    async def configure(self, room, **fields):
        """Fills in fields of the room's form."""
        form = await self.muc.get_room_config(room)
        for name, value in fields.items():
            form.get_fields()[f"muc#roomconfig_{name}"]["value"] = value
        await self.muc.set_room_config(room, form)

    def statuses(self, presence):
        """The status codes of a presence."""
        return {int(status.attrib["code"]) for status in presence.xml.iter("{http://jabber.org/protocol/muc#user}status")}

    async def sees(self, nick, holds, what):
        """Waits for a presence of this nickname that is as wanted, and returns it."""

        def found():
            of_nick = [p for p in self.shown if str(p["from"]) == f"{COVEN}/{nick}"]
            return [p for p in of_nick if holds(p)]

        await self.until(found, what)
        return found()[-1]

    async def hears_all(self, count):
        """Waits until so much was said in rooms."""
        await self.until(lambda: len(self.said) >= count, f"{count} messages of the room")
        return [message["body"] for message in self.said]


async def make_a_room(crone, checks):
    """A new room is found by disco, made and configured with slixmpp's own forms."""
    items = await crone.plugin["xep_0030"].get_items(DOMAIN)
    services = {str(item[0]) for item in items["disco_items"]["items"]}
    checks.check("disco names the service", SERVICE in services, services)
    info = await crone.plugin["xep_0030"].get_info(SERVICE)
    checks.check("the service says what it is", ("conference", "text") in {i[:2] for i in info["disco_info"]["identities"]})
    presence, subject, occupants, _ = await crone.enter(COVEN, "firstwitch")
    checks.check("a new room says so", crone.statuses(presence) >= {110, 201}, crone.statuses(presence))
    checks.check("its maker owns it", presence["muc"]["affiliation"] == "owner", presence["muc"]["affiliation"])
    checks.check("nobody else is there", len(occupants) == 1, occupants)
    checks.check("it has no subject yet", not subject["subject"], subject["subject"])
    await crone.configure(COVEN, roomname="A Dark Cave", membersonly=True, persistentroom=True, whois="anyone")
    info = await crone.plugin["xep_0030"].get_info(COVEN)
    features = info["disco_info"]["features"]
    for feature in ("muc_membersonly", "muc_persistent", "muc_nonanonymous", "muc_hidden", "urn:xmpp:mam:2"):
        checks.check(f"the room announces {feature}", feature in features, sorted(features))
    names = {identity[3] for identity in info["disco_info"]["identities"]}
    checks.check("the room has its name", names == {"A Dark Cave"}, names)


async def come_in(crone, wicca, hag, checks):
    """Members only: a stranger stays outside, an invitation of the room and one from person to person lead in."""
    checks.check("a stranger stays outside", await hag.refused(hag.enter(COVEN, "thirdwitch")) == "registration-required")
    crone.muc.invite(COVEN, wicca.bare, "by the pricking of my thumbs")
    await wicca.until(lambda: wicca.invitations, "the invitation")
    invite = wicca.invitations[0]
    checks.check("the invitation is the room's", invite["from"] == COVEN, invite["from"])
    checks.check("it says why", invite["muc"]["invite"]["reason"] == "by the pricking of my thumbs", invite)
    presence, _, occupants, _ = await wicca.enter(COVEN, "secondwitch")
    checks.check("who was invited comes in as a member", presence["muc"]["affiliation"] == "member")
    nicks = [p["from"].resource for p in occupants]
    checks.check("and sees who is there, then himself", nicks == ["firstwitch", "secondwitch"], nicks)
    await crone.muc.set_affiliation(COVEN, "member", jid=hag.bare)
    crone.plugin["xep_0249"].send_invitation(hag.bare, COVEN, reason="come")
    await hag.until(lambda: hag.directly, "the direct invitation")
    checks.check("a direct invitation names the room", hag.directly[0]["groupchat_invite"]["jid"] == COVEN)
    presence, _, occupants, _ = await hag.enter(COVEN, "thirdwitch")
    checks.check("the third comes in", len(occupants) == 3, occupants)
    for witch in (crone, wicca, hag):
        # Who was there before hears of her a moment before or after she has all of it.
        await witch.until(lambda witch=witch: len(witch.muc.get_roster(COVEN)) >= 3, "the third to be seen")
        nicks = sorted(witch.muc.get_roster(COVEN))
        checks.check(f"{witch.bare} sees all three", nicks == ["firstwitch", "secondwitch", "thirdwitch"], nicks)
    seen = crone.muc.get_jid_property(COVEN, "thirdwitch", "jid")
    checks.check("addresses are seen in a non-anonymous room", JID(seen).bare == hag.bare, seen)
    ids = {p["occupant-id"]["id"] for p in occupants}
    checks.check("everyone has an occupant id", len(ids) == 3 and all(ids), ids)


async def talk(crone, wicca, hag, checks):
    """All hear the same in the same order; private messages; the subject; nicknames."""
    text = "Double, double <&> \u00fc \U0001f451"
    hag.send_message(COVEN, text, mtype="groupchat")
    for witch in (crone, wicca, hag):
        await witch.hears_all(1)
        checks.check(f"{witch.bare} hears it unaltered", witch.said[0]["body"] == text, witch.said[0]["body"])
    for number in range(20):
        for witch in (crone, wicca, hag):
            witch.send_message(COVEN, f"{witch.bare} {number}", mtype="groupchat")
    heard = [await witch.hears_all(61) for witch in (crone, wicca, hag)]
    checks.check("60 messages, and all hear them in one order", heard[0] == heard[1] == heard[2], heard)
    for witch in (crone, wicca, hag):
        own = [body for body in heard[0] if body.startswith(witch.bare)]
        checks.check(f"those of {witch.bare} stay in order", own == [f"{witch.bare} {n}" for n in range(20)], own)
    ids = [message["stanza_id"]["id"] for message in crone.said]
    checks.check("each has an id of the room", len(set(ids)) == 61 and all(ids), ids[:3])
    hag.send_message(JID(f"{COVEN}/secondwitch"), "psst", mtype="chat")
    await wicca.until(lambda: [m for m in wicca.messages if m["body"] == "psst"], "the private message")
    private = [m for m in wicca.messages if m["body"] == "psst"][0]
    checks.check("a private message comes by nickname", private["from"] == f"{COVEN}/thirdwitch", private["from"])
    hag.muc.set_subject(COVEN, "not allowed")
    crone.muc.set_subject(COVEN, "Fire Burn and Cauldron Bubble!")
    await hag.until(lambda: hag.subjects and hag.subjects[-1]["subject"] == "Fire Burn and Cauldron Bubble!", "the subject")
    checks.check("a mere member's subject was refused", "not allowed" not in [m["subject"] for m in wicca.subjects])
    await hag.muc.set_self_nick(COVEN, CROWN)
    await crone.sees(CROWN, lambda p: p["type"] != "unavailable", "the new nickname")
    checks.check("a nickname may be a picture", CROWN in crone.muc.get_roster(COVEN), crone.muc.get_roster(COVEN))
    await hag.muc.set_self_nick(COVEN, "thirdwitch")
    errors = []
    hag.add_event_handler(f"muc::{COVEN}::presence-error", errors.append)
    hag.send_presence(pto=f"{COVEN}/FirstWitch")
    await hag.until(lambda: errors, "the refusal of the nickname")
    condition = errors[0]["error"]["condition"]
    checks.check("a nickname like somebody else's is refused", condition == "conflict", condition)


async def read_the_archive(crone, hag, checks):
    """What was said is found again, page by page."""
    pages = crone.plugin["xep_0313"].iterate(COVEN, rsm={"max": 20}, total=100)
    found = [result["mam_result"]["forwarded"]["stanza"] async for result in pages]
    bodies = [message["body"] for message in found if message["body"]]
    checks.check("the archive has it all in order", bodies == [m["body"] for m in crone.said], bodies[:3])
    _, subject, _, history = await (await rejoin(hag)).enter(COVEN, "thirdwitch", maxstanzas=5)
    last = [message["body"] for message in crone.said][-5:]
    checks.check("newcomers are shown the newest", [m["body"] for m in history] == last, history)
    checks.check("and the subject", subject["subject"] == "Fire Burn and Cauldron Bubble!", subject["subject"])


async def rejoin(witch):
    """Leaves the room, so that it can be entered again."""
    witch.muc.leave_muc(COVEN, "thirdwitch")
    await witch.sees("thirdwitch", lambda p: p["type"] == "unavailable", "one's own leaving")
    return witch


async def moderate(crone, wicca, hag, checks):
    """Voice, kick, ban, lists, and a message that is taken back."""
    await crone.configure(COVEN, moderatedroom=True)
    await crone.muc.set_role(COVEN, "thirdwitch", "visitor")
    await hag.sees("thirdwitch", lambda p: p["muc"]["role"] == "visitor", "the loss of voice")
    errors = []
    hag.add_event_handler("groupchat_message_error", errors.append)
    hag.send_message(COVEN, "unheard", mtype="groupchat")
    await hag.until(lambda: errors, "the refusal")
    checks.check("a visitor is not heard", errors[0]["error"]["condition"] == "forbidden", errors[0])
    await crone.muc.set_role(COVEN, "thirdwitch", "participant")
    await hag.sees("thirdwitch", lambda p: p["muc"]["role"] == "participant", "the voice")
    voices = await crone.muc.get_roles_list(COVEN, "participant")
    checks.check("the list of voices", sorted(voices) == ["secondwitch", "thirdwitch"], voices)
    hag.send_message(COVEN, "something wicked", mtype="groupchat")
    await crone.until(lambda: crone.said[-1]["body"] == "something wicked", "the message to be moderated")
    wicked = crone.said[-1]["stanza_id"]["id"]
    refused = await hag.refused(hag.plugin["xep_0425"].moderate(COVEN, wicked))
    checks.check("a mere participant does not moderate", refused == "forbidden", refused)
    await crone.plugin["xep_0425"].moderate(COVEN, wicked, "wicked")
    for witch in (wicca, hag):
        await witch.until(lambda witch=witch: witch.moderated, "the moderation")
        told = witch.moderated[0]
        checks.check(f"{witch.bare} learns of the moderation", told["retract"]["id"] == wicked and told["from"] == COVEN)
    again = [result async for result in crone.plugin["xep_0313"].iterate(COVEN, rsm={"max": 100})]
    checks.check("the archive has forgotten it", "something wicked" not in str([str(result) for result in again]))
    hag.shown.clear()
    await crone.muc.set_role(COVEN, "thirdwitch", "none", reason="out")
    gone = await hag.sees("thirdwitch", lambda p: p["type"] == "unavailable", "the kick")
    checks.check("a kick says so", hag.statuses(gone) >= {110, 307}, hag.statuses(gone))
    ping = await hag.plugin["xep_0410"].send_self_ping(JID(f"{COVEN}/thirdwitch"))
    checks.check("a ping to oneself tells who is out", ping != PingStatus.JOINED, ping)
    ping = await crone.plugin["xep_0410"].send_self_ping(JID(f"{COVEN}/firstwitch"))
    checks.check("and who is in", ping == PingStatus.JOINED, ping)
    await hag.enter(COVEN, "thirdwitch")
    hag.shown.clear()
    await crone.muc.set_affiliation(COVEN, "outcast", jid=hag.bare, reason="treason")
    gone = await hag.sees("thirdwitch", lambda p: p["type"] == "unavailable", "the ban")
    checks.check("a ban says so", hag.statuses(gone) >= {110, 301}, hag.statuses(gone))
    checks.check("who is banned stays outside", await hag.refused(hag.enter(COVEN, "thirdwitch")) == "forbidden")
    for affiliation, who in (("outcast", hag), ("member", wicca), ("owner", crone)):
        listed = await crone.muc.get_affiliation_list(COVEN, affiliation)
        checks.check(f"the list of those who are {affiliation}", [str(jid) for jid in listed] == [who.bare], listed)
    refused = await wicca.refused(wicca.muc.get_affiliation_list(COVEN, "outcast"))
    checks.check("a mere member does not see who is banned", refused == "forbidden", refused)
    await crone.muc.send_affiliation_list(COVEN, [(hag.bare, "member"), (wicca.bare, "admin")])
    await hag.enter(COVEN, "thirdwitch")
    moderators = await wicca.muc.get_roles_list(COVEN, "moderator")
    checks.check("an admin is a moderator", sorted(moderators) == ["firstwitch", "secondwitch"], moderators)


async def outlive_a_restart(server, crone, wicca, hag, checks):
    """The room and its lists are there after a restart, and nobody is in it who believes to be."""
    for witch in (crone, wicca, hag):
        witch.events.clear()
        witch.shown.clear()
    code = await asyncio.to_thread(server.stop)
    checks.check("the server ends cleanly", code == 0, code)
    for witch in (crone, wicca, hag):
        await witch.until(lambda witch=witch: "disconnected" in witch.events, "the end of the connection")
        gone = [presence for presence in witch.shown if presence["type"] == "unavailable"]
        codes = [witch.statuses(presence) for presence in gone]
        checks.check(f"{witch.bare} is told that the service stops", codes == [{110, 332}], codes)
    await asyncio.to_thread(server.start)
    for witch in (crone, wicca, hag):
        await witch.log_in()
    ping = await hag.plugin["xep_0410"].send_self_ping(JID(f"{COVEN}/thirdwitch"))
    checks.check("a ping to oneself tells that one must come back", ping != PingStatus.JOINED, ping)
    presence, subject, _, history = await wicca.enter(COVEN, "secondwitch", maxstanzas=1)
    checks.check("members are what they were", presence["muc"]["affiliation"] == "admin", presence["muc"]["affiliation"])
    checks.check("the subject is what it was", subject["subject"] == "Fire Burn and Cauldron Bubble!")
    checks.check("history goes on", len(history) == 1 and history[0]["body"] != "something wicked", history)
    await crone.enter(COVEN, "firstwitch")
    crone.said.clear()
    wicca.send_message(COVEN, "when shall we three meet again", mtype="groupchat")
    checks.check("and the talk", await crone.hears_all(1) == ["when shall we three meet again"])


async def end_it(crone, wicca, checks):
    """A destroyed room is gone for all, and nobody takes its name."""
    wicca.shown.clear()
    await crone.muc.destroy(COVEN, "the hurly-burly is done", HEATH)
    gone = await wicca.sees("secondwitch", lambda p: p["type"] == "unavailable", "the end of the room")
    destroy = gone.xml.find(".//{http://jabber.org/protocol/muc#user}destroy")
    checks.check("all are told where to go instead", destroy is not None and destroy.attrib.get("jid") == HEATH, gone)
    await asyncio.sleep(QUIET)
    checks.check("its name is sealed", await wicca.refused(wicca.enter(COVEN, "secondwitch")) == "gone")


async def drive(server, checks):
    """All scenarios in their order, each resting on the one before."""
    crone, wicca, hag = (Witch(server, name, "desktop") for name in ("crone1", "wiccarocks", "hag66"))
    try:
        for witch in (crone, wicca, hag):
            await witch.log_in()
        for scenario, arguments in (
            (make_a_room, (crone,)),
            (come_in, (crone, wicca, hag)),
            (talk, (crone, wicca, hag)),
            (read_the_archive, (crone, hag)),
            (moderate, (crone, wicca, hag)),
            (outlive_a_restart, (server, crone, wicca, hag)),
            (end_it, (crone, wicca)),
        ):
            await scenario(*arguments, checks)
    except Exception:  # noqa: BLE001
        checks.broke("the conversation went to its end")
    hang_up(crone, wicca, hag)


def main():
    server, title = from_command_line(__doc__)
    logging.basicConfig(level=logging.CRITICAL)
    checks = Checks(f"slixmpp in rooms on {title}")
    try:
        with server:
            for name in ("crone1", "wiccarocks", "hag66"):
                server.add_user(name, PASSWORD)
            asyncio.run(drive(server, checks))
            if checks.failed:
                print(f"the server's log ends with:\n{server.log_tail()}", file=sys.stderr)
    except Exception:  # noqa: BLE001
        checks.broke("the server ran")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
