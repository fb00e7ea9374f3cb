"""A name server for the tests: answers SRV and A from a table, and says of everything else that there is no such name."""

import socket
import struct
import threading

A, SRV = 1, 33


def labels(name):
    """A domain name as it travels (RFC 1035 section 3.1)."""
    parts = [part.encode() for part in name.strip(".").split(".") if part]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def srv(priority, port, host):
    """The data of a SRV record."""
    return struct.pack("!HHH", priority, 0, port) + labels(host)


class NameServer:
    """Listens on a UDP port of an address until it is closed."""

    def __init__(self, address, port=0):
        self.records = {}
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, port))
        self.address, self.port = self.socket.getsockname()
        threading.Thread(target=self.run, daemon=True).start()

    def add(self, name, kind, data):
        """One more record."""
        self.records.setdefault(name.lower(), []).append((kind, data))

    def run(self):
        """Answers one question after the other."""
        while True:
            try:
                question, peer = self.socket.recvfrom(4096)
            except OSError:
                return
            try:
                self.socket.sendto(self.answer(question), peer)
            except (IndexError, struct.error, OSError):
                continue

    def answer(self, question):
        """The answer to a query with one question."""
        end, parts = 12, []
        while question[end]:
            parts.append(question[end + 1 : end + 1 + question[end]].decode().lower())
            end += question[end] + 1
        name = ".".join(parts)
        kind = struct.unpack("!H", question[end + 1 : end + 3])[0]
        known = self.records.get(name)
        # A name is there too when there is something below it: then it only has no such record.
        exists = known or any(other.endswith("." + name) for other in self.records)
        found = [data for of, data in known or [] if of == kind]
        head = question[:2] + struct.pack("!BBHHHH", 0x85, 0x80 | (0 if exists else 3), 1, len(found), 0, 0)
        body = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 5, len(data)) + data for data in found)
        return head + question[12 : end + 5] + body

    def close(self):
        """Answers no more."""
        self.socket.close()
