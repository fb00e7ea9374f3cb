"""Counts what a driver saw: one line `ok NAME` or `not ok NAME: why` for each check, read by scripts/test."""

import sys
import traceback


class Checks:
    """The results of one driver."""

    def __init__(self, title):
        self.title = title
        self.passed = 0
        self.failed = 0

    def check(self, name, holds, seen=""):
        """Counts one check; `seen` is printed when it does not hold."""
        if holds:
            self.passed += 1
            print(f"ok {self.title}: {name}", flush=True)
        else:
            self.failed += 1
            print(f"not ok {self.title}: {name}" + (f": {seen}" if seen != "" else ""), flush=True)
        return bool(holds)

    def broke(self, name):
        """Counts a scenario that ended with the current exception."""
        traceback.print_exc()
        kind, error, _ = sys.exc_info()
        self.check(name, False, f"{kind.__name__}: {error}".splitlines()[0])

    def finish(self):
        """The exit code of the driver: 0 when all held and something was checked."""
        if self.passed + self.failed == 0:
            self.check("anything was checked at all", False)
        return 1 if self.failed else 0
