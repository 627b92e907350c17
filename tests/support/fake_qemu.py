"""A QEMU in name only: it says what a test wants it to say, on every channel, and is up at once.

    python fake_qemu.py SCENARIO QEMU'S ARGUMENTS

The scenario is Python that is run with `Guest` as `guest` when QMP has been greeted.
"""

import array
import itertools
import json
import os
import socket
import sys
import threading

channels = {}


class Guest:
    """What is at the other ends."""

    def say(self, channel, data):
        """Send bytes."""
        channels[channel].sendall(data)

    def event(self, name, **data):
        """Send an event of QMP's."""
        reply({"event": name, "data": data, "timestamp": {"seconds": 0, "microseconds": 0}})

    def job(self):
        """Wait for the job; its nonce."""
        data = b""
        while b"\n" not in data:
            data += channels["control"].recv(1)
        _, nonce, size = data.split()
        left = int(size)
        while left:
            left -= len(channels["control"].recv(left))
        return nonce

    def end(self, code):
        """End with this exit code."""
        os._exit(code)


def reply(message):
    channels["qmp"].sendall(json.dumps(message).encode() + b"\r\n")


def serve():
    """Answer each command of QMP's with nothing."""
    data = b""
    while True:
        more, ancillary, _, _ = channels["qmp"].recvmsg(65536, 4096)
        for _level, _kind, fds in ancillary:
            for fd in array.array("i", fds):
                os.close(fd)
        if not more:
            os._exit(0)
        data += more
        *lines, data = data.split(b"\n")
        if data.strip() and not lines:
            lines, data = [data], b""
        for line in filter(bytes.strip, lines):
            reply({"return": {"fdset-id": 1}, "id": json.loads(line).get("id")})


def main(scenario, arguments):
    """Be a QEMU with these arguments."""
    for option, value in itertools.pairwise(arguments):
        if option == "-chardev":
            fields = dict(part.split("=") for part in value.split(",")[1:])
            channels[fields["id"]] = socket.socket(fileno=int(fields["fd"]))
    version = {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}
    reply({"QMP": {"version": version, "capabilities": []}})
    threading.Thread(target=exec, args=(scenario, {"guest": Guest()}), daemon=True).start()
    serve()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
