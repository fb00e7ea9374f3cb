"""Drives the server with xmpp.js, a client library of the web nobody here wrote, over WebSocket. What it does stands in
xmpp_js/drive.mjs; its packages are the locked ones of xmpp_js/package-lock.json, installed under target/."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from checks import Checks
from servers import DOMAIN, from_command_line

PASSWORD = "correct horse battery staple"
NAMES = ("romeo", "juliet")
OURS = Path(__file__).parent / "xmpp_js"
FOLDER = Path("target/test-xmpp-js")


def install():
    """Brings the packages to the state of the lock file; those that run scripts at their installation do not get to."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    lock, installed = OURS / "package-lock.json", FOLDER / "installed.json"
    shutil.copy(OURS / "drive.mjs", FOLDER)
    if installed.exists() and installed.read_bytes() == lock.read_bytes():
        return
    shutil.copy(OURS / "package.json", FOLDER)
    shutil.copy(lock, FOLDER)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]
    subprocess.run(command, cwd=FOLDER, check=True, timeout=300)
    shutil.copy(lock, installed)


def main():
    server, title = from_command_line(__doc__, serves_web=True)
    checks = Checks(f"xmpp.js on {title}")
    try:
        install()
        with server:
            for name in NAMES:
                server.add_user(name, PASSWORD)
            url = f"ws://127.0.0.1:{server.http}/xmpp-websocket"
            command = ["node", str(FOLDER / "drive.mjs"), checks.title, url, DOMAIN, PASSWORD, *NAMES]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=120, env=os.environ | {"NO_COLOR": "1"})
            print(done.stdout, end="", flush=True)
            if done.returncode:
                print(f"the server's log ends with:\n{server.log_tail()}", file=sys.stderr)
            return done.returncode
    except Exception:  # noqa: BLE001
        checks.broke("the server and node ran")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
