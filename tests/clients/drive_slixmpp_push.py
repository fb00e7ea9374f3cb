"""Drives push and commands with slixmpp, a client library nobody here wrote: XEP-0357 (whose stanzas it does not know, so
they are written by hand) and XEP-0050."""

import asyncio
import logging
import sys
import xml.etree.ElementTree as ET

from checks import Checks
from drive_slixmpp import PASSWORD, QUIET, Person, hang_up
from servers import from_command_line
from slixmpp.exceptions import IqError
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

PUSH = "urn:xmpp:push:0"
PUBSUB = "http://jabber.org/protocol/pubsub"
LIST = "urn:waxwing:push:list"
FORGET = "urn:waxwing:push:forget"


class Owner(Person):
    """Somebody with a phone, or with a desk at which he looks after it."""

    def __init__(self, server, name, resource):
        super().__init__(server, name, resource)
        for plugin in ("xep_0004", "xep_0050"):
            self.register_plugin(plugin)
        self.commands = self.plugin["xep_0050"]

    async def wants(self, name, app, node):
        """Asks to be called through an app server, or to be called no more."""
        ask = self.make_iq_set(ito=self.bare)
        ask.append(ET.Element(f"{{{PUSH}}}{name}", {"jid": str(app), "node": node}))
        return await ask.send(timeout=10)


class AppServer(Person):
    """Takes the calls for phones."""

    def __init__(self, server, name, resource):
        super().__init__(server, name, resource)
        self.calls = []
        matcher = MatchXPath(f"{{jabber:client}}iq/{{{PUBSUB}}}pubsub")
        self.register_handler(Callback("push", matcher, self.takes))

    def takes(self, call):
        """Notes a call by its node and summary, and says that it was taken."""
        publish = call.xml.find(f".//{{{PUBSUB}}}publish")
        fields = call.xml.findall(".//{jabber:x:data}field")
        said = {field.get("var"): field.findtext("{jabber:x:data}value") for field in fields}
        self.calls.append((publish.get("node"), said))
        call.reply().send()


async def call_a_phone(server, app, romeo, checks):
    """A phone that registers and goes is called for a message, once."""
    phone = await Owner(server, "juliet", "phone").log_in()
    told = await phone.plugin["xep_0030"].get_info(jid=phone.bare, timeout=10)
    features = told["disco_info"]["features"]
    checks.check("push and commands are discovered", {PUSH, "http://jabber.org/protocol/commands"} <= set(features))
    for node in ("one", "two"):
        await phone.wants("enable", app.boundjid, node)
    await phone.wants("disable", app.boundjid, "two")
    await phone.log_out()
    romeo.send_message(mto=phone.bare, mbody="But, soft!", mtype="chat")
    await app.until(lambda: app.calls, "a call")
    await asyncio.sleep(QUIET)
    checks.check("the phone is called once, at its node", [node for node, _ in app.calls] == ["one"], app.calls)
    said = app.calls[0][1]
    checks.check("the call says how many wait", said.get("message-count") == "1", said)
    checks.check("and not what was said", "soft" not in str(said), said)


async def look_after_it(server, app, romeo, checks):
    """The owner sees the registration and forgets it, with the forms of the library."""
    desk = await Owner(server, "juliet", "desk").log_in()
    items = await desk.commands.get_commands(desk.bare, timeout=10)
    nodes = {node for _, node, _ in items["disco_items"]["items"]}
    checks.check("the commands are listed", {LIST, FORGET} <= nodes, nodes)
    listed = await desk.commands.send_command(desk.bare, LIST, timeout=10)
    rows = listed["command"]["form"]["items"]
    checks.check("the list has the phone", [row["client"] for row in rows] == ["phone"], rows)
    checks.check("and what came of calling it", [row["last-result"] for row in rows] == ["ok"], rows)
    asked = await desk.commands.send_command(desk.bare, FORGET, timeout=10)
    session = asked["command"]["sessionid"]
    checks.check("the next step is offered", asked["command"]["status"] == "executing", asked)
    choice = asked["command"]["form"].get_fields()["devices"]["options"][0]["value"]
    form = desk.plugin["xep_0004"].make_form(ftype="submit")
    form.add_field(var="devices", ftype="list-multi", value=[choice])
    done = await desk.commands.send_command(
        desk.bare, FORGET, action="complete", payload=form, sessionid=session, timeout=10
    )
    checks.check("it is forgotten", done["command"]["status"] == "completed", done)
    try:
        await desk.commands.send_command(desk.bare, FORGET, action="complete", sessionid=session, timeout=10)
        checks.check("a command that is done is over", False)
    except IqError as error:
        checks.check("a command that is done is over", error.iq["error"]["condition"] == "not-allowed", error.iq)
    await desk.log_out()
    app.calls.clear()
    await asyncio.sleep(6)  # longer than the pause between two calls
    romeo.send_message(mto=desk.bare, mbody="what light", mtype="chat")
    await asyncio.sleep(QUIET)
    checks.check("a phone that is forgotten is not called", app.calls == [], app.calls)


async def drive(server, checks):
    """Both scenarios, the second resting on the first."""
    app, romeo = AppServer(server, "app", "push"), Person(server, "romeo", "orchard")
    try:
        await app.log_in()
        await romeo.log_in()
        await call_a_phone(server, app, romeo, checks)
        await look_after_it(server, app, romeo, checks)
    except Exception:  # noqa: BLE001
        checks.broke("the phone was called and looked after")
    hang_up(app, romeo)


def main():
    server, title = from_command_line(__doc__)
    logging.basicConfig(level=logging.CRITICAL)
    checks = Checks(f"slixmpp and push on {title}")
    try:
        with server:
            for name in ("romeo", "juliet", "app"):
                server.add_user(name, PASSWORD)
            asyncio.run(drive(server, checks))
            if checks.failed:
                print(f"the server's log ends with:\n{server.log_tail()}", file=sys.stderr)
    except Exception:  # noqa: BLE001
        checks.broke("the server ran")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
