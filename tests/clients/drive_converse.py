"""Drives the web client as people use it: Converse.js from the server's root page in headless Chromium, each person in a
browser of their own, over WebSocket and over BOSH. Pictures of what they see are left in target/screenshots."""

import os
import shutil
import struct
import sys
import zlib
from pathlib import Path

from checks import Checks
from playwright.sync_api import sync_playwright
from servers import DOMAIN, from_command_line

PASSWORD = "correct horse battery staple"
PATIENCE = 20_000  # milliseconds for one thing to be seen
ROOM = "garden@conference." + DOMAIN
SCREENSHOTS = Path("target/screenshots")
WIDTH, HEIGHT = 120, 90  # of the picture that goes up


def picture():
    """A PNG of a sky at dusk."""
    line = b"".join(b"\0" + b"".join(bytes((x * 2, y * 2, 160)) for x in range(WIDTH)) for y in range(HEIGHT))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(line)) + chunk(b"IEND", b"")
    )


class Person:
    """Somebody at a browser, who keeps nothing from an earlier visit."""

    def __init__(self, browser, server, name):
        self.name = name
        self.address = f"{name}@{DOMAIN}"
        self.root = f"http://localhost:{server.http}/"
        self.elsewhere, self.blocked, self.ways = [], [], set()
        self.context = browser.new_context(locale="en-GB", viewport={"width": 1200, "height": 800})
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("request", self.note_request)
        self.page.on("console", self.note_console)
        self.page.on("websocket", lambda _: self.ways.add("websocket"))

    def note_request(self, request):
        """Remembers the way, and what would leave the server."""
        if request.url.endswith("/http-bind"):
            self.ways.add("bosh")
        if not request.url.startswith(("blob:", "data:", self.root)):
            self.elsewhere.append(request.url)

    def note_console(self, message):
        """Remembers what the page's policy has stopped."""
        if "Content Security Policy" in message.text:
            self.blocked.append(message.text)

    def only_bosh(self):
        """Takes WebSocket away from the page's script."""

        def without(route):
            response = route.fetch()
            text = response.text()
            assert "settings.websocket_url" in text
            route.fulfill(response=response, body=text.replace("settings.websocket_url", "settings.nothing"))

        self.page.route("**/client/start.js", without)

    def sees(self, selector, count=None):
        """Waits for something on the page; with `count`, for so many."""
        self.page.locator(selector).first.wait_for()
        if count is not None:
            self.page.wait_for_function(
                "([selector, count]) => document.querySelectorAll(selector).length === count", arg=[selector, count]
            )

    def log_in(self):
        """Comes to the root page and signs in."""
        self.page.goto(self.root)
        self.page.fill("input[name=jid]", self.name)
        self.page.fill("input[name=password]", PASSWORD)
        self.page.press("input[name=password]", "Enter")
        self.sees("converse-user-profile .xmpp-status .online")

    def sign_up(self):
        """Makes an account on the root page; is signed in afterwards."""
        self.page.goto(self.root)
        self.page.click("a[href='#converse/register']")
        self.page.fill("#converse-register input[name=username]", self.name)
        self.page.fill("#converse-register input[name=password]", PASSWORD)
        self.page.click("#converse-register input[type=submit]")
        self.sees("converse-user-profile .xmpp-status .online")

    def asks(self, other):
        """Wants somebody as a contact."""
        self.page.click("#converse-roster .dropdown-toggle")
        self.page.click("#converse-roster .add-contact:visible")
        self.page.fill("converse-add-contact-modal input[name=jid]", other.address)
        self.page.click("converse-add-contact-modal button[type=submit]")

    def accepts(self):
        """Lets the one who asks see when they are there, and asks back."""
        self.page.click(".requesting-xmpp-contact .dropdown-toggle")
        self.page.click(".accept-xmpp-request:visible")
        self.page.click("converse-accept-contact-request-modal button[type=submit]")

    def is_busy(self):
        """Wants not to be disturbed."""
        self.page.click("converse-user-profile .change-status")
        self.page.check("converse-profile-modal input[value=dnd]")
        self.page.click("converse-profile-modal button[type=submit]:visible")
        self.page.click("converse-profile-modal .modal-footer button[data-bs-dismiss]")

    def sees_status(self, other, status):
        """Waits for the presence of a contact."""
        self.sees(f".list-item[data-status={status}] a.open-chat[data-jid='{other.address}']")

    def opens(self, other):
        """The conversation with a contact."""
        self.page.click(f"a.open-chat[data-jid='{other.address}']")

    def says(self, text, where="converse-chat"):
        """Writes into the open conversation or room."""
        self.page.fill(f"{where} .chat-textarea:visible", text)
        self.page.press(f"{where} .chat-textarea:visible", "Enter")

    def reads(self, text, where="converse-chat"):
        """Waits for a message."""
        self.sees(f"{where} .chat-msg__text:has-text('{text}')")

    def opens_room(self):
        """Joins the room by its address, which makes it."""
        self.page.locator("#chatrooms button.dropdown-toggle").first.click()
        self.page.click(".show-add-muc-modal")
        self.page.fill("converse-add-muc-modal input[name=chatroom]", ROOM)
        self.page.click("converse-add-muc-modal input[type=submit]")
        self.sees("converse-muc .chat-textarea:visible")

    def invites(self, other):
        """Calls somebody into the open room."""
        self.page.click("converse-muc-occupants .dropdown-toggle")
        self.page.click(".open-invite-modal:visible")
        self.page.fill("converse-muc-invite-modal input[name=invitee_jids]", other.address)
        self.page.click("converse-muc-invite-modal input[type=submit]")

    def follows(self):
        """Accepts an invitation to a room."""
        self.page.click("converse-confirm-modal button[type=submit]")
        self.sees("converse-muc .chat-textarea:visible")

    def shows(self, name):
        """Leaves a picture of the page."""
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")

    def sends_picture(self, where="converse-chat"):
        """Uploads a picture into the open conversation."""
        file = {"name": "dusk.png", "mimeType": "image/png", "buffer": picture()}
        self.page.locator(f"{where} input.fileupload").set_input_files(file)

    def sees_picture(self, where="converse-chat"):
        """Waits until the picture is shown in its own size."""
        self.page.wait_for_function(
            "([where, width]) => [...document.querySelectorAll(`${where} converse-chat-message img`)]"
            ".some((image) => image.naturalWidth === width)",
            arg=[where, WIDTH],
        )


class Story:
    """What two people do, one step after the other; a step that breaks leaves pictures and ends the story."""

    def __init__(self, browser, server, checks):
        self.browser, self.server, self.checks = browser, server, checks
        self.people = []

    def person(self, name):
        """Somebody who comes with a browser of their own."""
        person = Person(self.browser, self.server, name)
        self.people.append(person)
        return person

    def step(self, name, *deeds):
        """One check: it holds when all deeds come to their end."""
        for deed in deeds:
            deed()
        self.checks.check(name, True)

    def picture(self, name):
        """What everybody sees now."""
        for number, person in enumerate(self.people):
            person.shows(f"{self.checks.title.replace(' ', '-')}-{name}-{number}-{person.name}")

    def tell(self):
        """From the first visit to the last."""
        romeo, juliet = self.person("romeo"), self.person("juliet")
        self.step("somebody signs up on the root page", romeo.sign_up)
        self.step("somebody signs in", juliet.log_in)
        self.meet(romeo, juliet)
        self.chat(romeo, juliet)
        self.gather(romeo, juliet)
        self.come_back(romeo, juliet)
        self.come_over_bosh(juliet)
        self.look_around()

    def meet(self, romeo, juliet):
        """They become contacts."""
        self.step("a contact is asked for and accepted", lambda: romeo.asks(juliet), juliet.accepts)
        both = lambda: (romeo.sees_status(juliet, "online"), juliet.sees_status(romeo, "online"))  # noqa: E731
        self.step("both see that the other is there", both)
        self.step("and what the other is doing", juliet.is_busy, lambda: romeo.sees_status(juliet, "dnd"))
        self.picture("contacts")

    def chat(self, romeo, juliet):
        """They write, and show each other a picture."""
        romeo.opens(juliet)
        romeo.says("But, soft! what light <b>& breaks</b>?")
        juliet.opens(romeo)
        self.step("a message arrives", lambda: juliet.reads("But, soft! what light <b>& breaks</b>?"))
        juliet.says("Ay me!")
        self.step("and its answer", lambda: romeo.reads("Ay me!"))
        juliet.sends_picture()
        self.step("a picture goes up and is shown to both", romeo.sees_picture, juliet.sees_picture)
        self.picture("chat")

    def gather(self, romeo, juliet):
        """They talk in a room."""
        self.step("one opens a room and invites the other", romeo.opens_room, lambda: romeo.invites(juliet), juliet.follows)
        romeo.says("is anybody here", "converse-muc")
        self.step("the room hears one", lambda: juliet.reads("is anybody here", "converse-muc"))
        juliet.says("only the nightingale", "converse-muc")
        self.step("and the other", lambda: romeo.reads("only the nightingale", "converse-muc"))
        self.picture("room")

    def come_back(self, romeo, juliet):
        """One reloads the page, the other comes with a browser that knows nothing."""

        def reload():
            juliet.page.reload()
            juliet.sees_status(romeo, "online")
            juliet.page.click(f"a.open-room[data-room-jid='{ROOM}']")
            juliet.reads("only the nightingale", "converse-muc")
            juliet.opens(romeo)
            juliet.reads("But, soft!")

        self.step("a page that is loaded again shows the conversation", reload)
        elsewhere = self.person("romeo")

        def read_archive():
            elsewhere.log_in()
            # The room is a bookmark, and opens by itself.
            elsewhere.reads("only the nightingale", "converse-muc")
            elsewhere.opens(juliet)
            elsewhere.reads("Ay me!")
            elsewhere.sees_picture()

        self.step("a browser that knows nothing finds the history", read_archive)
        self.picture("history")
        self.step("all of it went over WebSocket", lambda: self.came_by({"websocket"}))

    def come_over_bosh(self, juliet):
        """The same without WebSocket."""
        poor = self.person("romeo")
        poor.only_bosh()

        def talk():
            poor.log_in()
            poor.reads("only the nightingale", "converse-muc")
            poor.opens(juliet)
            poor.reads("Ay me!")
            poor.says("a thousand times good night")
            juliet.reads("a thousand times good night")
            juliet.says("good night, good night")
            poor.reads("good night, good night")

        self.step("a browser without WebSocket signs in, finds the history and chats", talk)
        self.step("over BOSH alone", lambda: self.came_by({"bosh"}, poor))
        self.picture("bosh")

    def came_by(self, ways, *people):
        """Raises unless everyone came this way and no other."""
        for person in people or self.people:
            assert person.ways == ways, f"{person.name} came by {person.ways}"

    def look_around(self):
        """What the pages have asked for besides."""
        elsewhere = sorted({url for person in self.people for url in person.elsewhere})
        self.checks.check("nothing was asked of other hosts", not elsewhere, elsewhere)
        blocked = sorted({text for person in self.people for text in person.blocked})
        self.checks.check("and the policy of the page had nothing to stop", not blocked, blocked)


def main():
    server, title = from_command_line(__doc__, takes_web_client=True)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    checks = Checks(f"converse on {title}")
    # Chromium does not shut root into its sandbox.
    arguments = ["--no-sandbox"] if os.getuid() == 0 else []
    try:
        with server, sync_playwright() as playwright:
            server.add_user("juliet", PASSWORD)
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
            story = Story(browser, server, checks)
            try:
                story.tell()
            except Exception:  # noqa: BLE001
                checks.broke("the next step")
                story.picture("broken")
                print(f"the server's log ends with:\n{server.log_tail()}", file=sys.stderr)
            browser.close()
    except Exception:  # noqa: BLE001
        checks.broke("the server and the browser ran")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
