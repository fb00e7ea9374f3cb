"""Drives archives, copies and resumption with slixmpp, a client library nobody here wrote: XEP-0313 and XEP-0059 over
several pages, XEP-0441, XEP-0280, and XEP-0198 over a connection that is cut."""

import asyncio
import logging
import sys

from checks import Checks
from drive_slixmpp import PASSWORD, PATIENCE, Person, hang_up
from servers import DOMAIN, from_command_line
from slixmpp.exceptions import IqError

PAGE = 7


class Reader(Person):
    """Somebody with an archive, who wants to know of what his other devices say and hear."""

    def __init__(self, server, name, resource, managed=False):
        super().__init__(server, name, resource)
        for plugin in ("xep_0059", "xep_0280", "xep_0313", "xep_0441"):
            self.register_plugin(plugin)
        if managed:
            self.register_plugin("xep_0198", {"window": 1000})
        self.copies = []
        for kind in ("carbon_received", "carbon_sent"):
            self.add_event_handler(kind, lambda copy, kind=kind: self.copies.append((kind, copy)))
        for event in ("session_resumed", "sm_failed"):
            self.add_event_handler(event, lambda _data, event=event: self.events.append(event))

    async def ping(self):
        """Everything that was sent before has been handled, and everything that was for this session has come."""
        await self.plugin["xep_0199"].send_ping(DOMAIN, timeout=PATIENCE)

    async def pages(self, **options):
        """All pages of a query: for each the texts, and the ids."""
        rsm = {"max": PAGE}
        found = []
        async for page in self.plugin["xep_0313"].retrieve(iterator=True, rsm=rsm, timeout=PATIENCE, **options):
            results = [message["mam_result"] for message in page["mam"]["results"]]
            bodies = [result["forwarded"]["stanza"]["body"] for result in results]
            found.append((bodies, [result["id"] for result in results]))
        return found


def texts(pages):
    """The texts of some pages, one behind the other."""
    return [body for bodies, _ in pages for body in bodies]


async def page_through_history(romeo, juliet, paris, checks):
    """Several pages from both ends, with somebody, and what is told of an archive without reading it."""
    archive = juliet.plugin["xep_0313"]
    empty = await archive.get_archive_metadata(timeout=PATIENCE)
    checks.check("an empty archive has no ends", not empty.xml.findall(".//{urn:xmpp:mam:2}start"), empty)
    checks.check("an empty archive has no pages", texts(await juliet.pages()) == [])
    said = []
    for number in range(30):
        one, other = (romeo, juliet) if number % 3 else (juliet, romeo)
        one.send_message(other.bare, f"line {number}")
        await one.ping()
        said.append(f"line {number}")
    onward = await juliet.pages()
    sizes = [len(bodies) for bodies, _ in onward]
    checks.check("pages onward hold everything in order", texts(onward) == said, texts(onward))
    checks.check("and as many as were asked for", sizes == [7, 7, 7, 7, 2], sizes)
    backward = await juliet.pages(reverse=True)
    sizes = [len(bodies) for bodies, _ in backward]
    checks.check("pages backward do, each in the order of time", texts(reversed(backward)) == said, texts(backward))
    checks.check("and end with the rest", sizes == [7, 7, 7, 7, 2], sizes)
    ids = [one for _, page in onward for one in page]
    checks.check("each message has an id of its own", len(set(ids)) == len(said))
    checks.check("the same one from both sides", ids == [one for _, page in reversed(backward) for one in page])
    metadata = (await archive.get_archive_metadata(timeout=PATIENCE))["mam_metadata"]
    ends = (metadata["start"]["id"], metadata["end"]["id"])
    checks.check("metadata tells the ends", ends == (ids[0], ids[-1]), ends)
    paris.send_message(juliet.bare, "a suit")
    await paris.ping()
    checks.check("with one person", texts(await juliet.pages(with_jid=paris.bare)) == ["a suit"])
    whole = texts(await juliet.pages(with_jid=romeo.bare, reverse=True))
    checks.check("with another, over several pages", sorted(whole) == sorted(said), whole)
    checks.check("with one device", texts(await juliet.pages(with_jid=paris.boundjid.full)) == ["a suit"])
    checks.check("with nobody", texts(await juliet.pages(with_jid=f"nobody@{DOMAIN}")) == [])
    moment = metadata["start"]["timestamp"]
    checks.check("up to a moment", "line 29" not in texts(await juliet.pages(end=moment)))
    fields = await archive.get_fields(timeout=PATIENCE)
    offered = set(fields.get_fields())
    wanted = {"with", "start", "end", "before-id", "after-id", "ids", "{urn:xmpp:fulltext:0}fulltext"}
    checks.check("the form tells what can be asked for", wanted <= offered, offered)
    for name, ask in (
        ("an id that is not there is not found", archive.retrieve(rsm={"max": 5, "after": "12345"}, timeout=PATIENCE)),
        ("nobody reads another's archive", archive.retrieve(jid=romeo.bare, timeout=PATIENCE)),
    ):
        try:
            await ask
            condition = "none"
        except IqError as error:
            condition = error.condition
        checks.check(name, condition == ("item-not-found" if "id" in name.split() else "forbidden"), condition)


async def choose_what_is_kept(juliet, paris, checks):
    """Preferences are read, changed, in force, and taken back."""
    preferences = juliet.plugin["xep_0441"]
    default, always, never = await preferences.get_preferences(timeout=PATIENCE)
    checks.check("everything is kept by default", (default, set(always), set(never)) == ("always", set(), set()), default)
    await preferences.set_preferences("always", always=[], never=[paris.bare], timeout=PATIENCE)
    default, _, never = await preferences.get_preferences(timeout=PATIENCE)
    checks.check("a wish is remembered", (default, {str(one) for one in never}) == ("always", {paris.bare}), never)
    paris.send_message(juliet.bare, "not to be kept")
    await paris.ping()
    kept = texts(await juliet.pages(with_jid=paris.bare))
    checks.check("and in force", kept == ["a suit"], kept)
    await preferences.set_preferences("always", always=[], never=[], timeout=PATIENCE)
    checks.check("and taken back", not set((await preferences.get_preferences(timeout=PATIENCE))[2]))


async def hear_of_other_devices(server, romeo, juliet, checks):
    """What one device says and hears, the other is told, once."""
    phone = await Reader(server, "juliet", "phone").log_in()
    for device in (juliet, phone):
        await device.plugin["xep_0280"].enable(timeout=PATIENCE)
    romeo.send_message(juliet.boundjid.full, "for the balcony")
    await phone.until(lambda: phone.copies, "a copy of what was received")
    juliet.send_message(romeo.bare, "from the balcony", mtype="chat")
    await phone.until(lambda: len(phone.copies) > 1, "a copy of what was sent")
    await juliet.ping()
    await phone.ping()
    seen = [(kind, copy[kind]["body"]) for kind, copy in phone.copies]
    wanted = [("carbon_received", "for the balcony"), ("carbon_sent", "from the balcony")]
    checks.check("a device is told what another has received and sent", seen == wanted, seen)
    checks.check("who says it himself is told nothing", juliet.copies == [], juliet.copies)
    checks.check("copies come from the own account", all(copy["from"] == juliet.bare for _, copy in phone.copies))
    last = (await juliet.pages(reverse=True))[0][0][-2:]
    checks.check("the archive has each once", last == ["for the balcony", "from the balcony"], last)
    await phone.log_out()


async def outlive_a_cut_connection(server, romeo, checks):
    """The connection is cut in both directions; what was said before and meanwhile comes once."""
    juliet = await Reader(server, "juliet", "cell", managed=True).log_in()
    managed = juliet.plugin["xep_0198"]
    await juliet.until(lambda: managed.sm_id, "an id to resume with")
    jid = juliet.boundjid.full
    wanted, answers = [], []
    for cut in range(3):
        romeo.messages.clear()
        for number in range(5):
            romeo.send_message(jid, f"before {cut} {number}", mtype="chat")
            juliet.send_message(romeo.boundjid.full, f"answer {cut} {number}", mtype="chat")
            wanted.append(f"before {cut} {number}")
            answers.append(f"answer {cut} {number}")
        # Nobody looks at what was sent: it may be under way or lost.
        juliet.events.clear()
        hang_up(juliet)
        await juliet.until(lambda: "disconnected" in juliet.events, "the cut")
        for number in range(5):
            romeo.send_message(jid, f"meanwhile {cut} {number}", mtype="chat")
            wanted.append(f"meanwhile {cut} {number}")
        await romeo.ping()
        juliet.dial()
        await juliet.until(lambda: {"session_resumed", "sm_failed", "session_start"} & set(juliet.events), "an answer")
        checks.check(f"the session goes on after cut {cut + 1}", "session_resumed" in juliet.events, juliet.events)
        await juliet.until(lambda: juliet.bodies()[-1:] == wanted[-1:], "the last message")
        await juliet.ping()
        await romeo.until(lambda: romeo.bodies()[-1:] == answers[-1:], "the last answer")
        checks.check(f"what was said before cut {cut + 1} is heard once", romeo.bodies() == answers[-5:], romeo.bodies())
    checks.check("everything came once and in order", juliet.bodies() == wanted, juliet.bodies())
    everything = wanted + answers
    kept = [text for text in texts(await juliet.pages(with_jid=romeo.boundjid.full)) if text in everything]
    checks.check("and stands once in the archive", sorted(kept) == sorted(everything), kept)
    await juliet.log_out()


async def drive(server, checks):
    """All scenarios in their order, the later ones resting on the first."""
    romeo, juliet, paris = (
        Reader(server, name, place) for name, place in (("romeo", "orchard"), ("juliet", "balcony"), ("paris", "church"))
    )
    try:
        for one in (romeo, juliet, paris):
            await one.log_in()
        await page_through_history(romeo, juliet, paris, checks)
        await choose_what_is_kept(juliet, paris, checks)
        await hear_of_other_devices(server, romeo, juliet, checks)
        await juliet.log_out()
        await outlive_a_cut_connection(server, romeo, checks)
    except Exception:  # noqa: BLE001
        checks.broke("history, copies and resumption")
    hang_up(romeo, juliet, paris)


def main():
    server, title = from_command_line(__doc__)
    logging.basicConfig(level=logging.CRITICAL)
    checks = Checks(f"slixmpp and archives on {title}")
    try:
        with server:
            for name in ("romeo", "juliet", "paris"):
                server.add_user(name, PASSWORD)
            asyncio.run(drive(server, checks))
            if checks.failed:
                print(f"the server's log ends with:\n{server.log_tail()}", file=sys.stderr)
    except Exception:  # noqa: BLE001
        checks.broke("the server ran")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
