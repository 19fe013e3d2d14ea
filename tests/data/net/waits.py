# SPDX-License-Identifier: MIT
"""What makes whoever performs a call for this program wait: `waits.py WHAT [ADDRESS PORT]`."""
import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
what = sys.argv[1]
peer = (sys.argv[2], int(sys.argv[3])) if len(sys.argv) > 3 else None


def second():
    """A connection under way, and a blocking call with an address of no family."""
    attempt = socket.socket()
    attempt.setblocking(False)
    attempt.connect_ex(peer)
    fcntl.fcntl(attempt, fcntl.F_SETFL, 0)
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.alarm(1)
    result = libc.connect(attempt.fileno(), struct.pack("=H14x", 77), 16)
    print(result, ctypes.get_errno())


def linger():
    """Sockets with much to send and a time to linger, closed while they are asked about."""
    current = [None]
    address = struct.pack("=HH4s8x", 2, socket.htons(peer[1]), socket.inet_aton(peer[0]))

    def ask():
        while True:
            if current[0] is not None:
                libc.connect(current[0], address, 16)

    for _ in range(3):
        threading.Thread(target=ask, daemon=True).start()
    while True:
        one = socket.socket()
        try:
            one.connect(peer)
        except OSError:
            pass  # asked about already, under the number of the one before
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3000))
        one.setblocking(False)
        try:
            while True:
                one.send(bytes(100000))
        except BlockingIOError:
            pass
        number = one.detach()
        current[0] = number
        time.sleep(0.001)
        threading.Thread(target=libc.close, args=(number,), daemon=True).start()
        time.sleep(0.002)
        current[0] = None


def beats():
    """A full standard error, and a denial to be told there."""
    def beat():
        while True:
            with open("beat", "w") as file:
                file.write("x")
            time.sleep(0.05)

    os.set_blocking(2, False)
    for size in (4096, 1):
        try:
            while True:
                os.write(2, bytes(size))
        except BlockingIOError:
            pass
    os.set_blocking(2, True)
    threading.Thread(target=beat, daemon=True).start()
    socket.socket().connect_ex(("127.0.0.9", 1))
    time.sleep(60)


def options():
    """Options that lead packets elsewhere, and a harmless one."""
    route = bytes([0, 4, 4, 1, 1, 0, 0, 0]) + bytes(16) + socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    for family, level, name, value in (
        (socket.AF_INET6, 41, 57, route),
        (socket.AF_INET, 1, 25, b"lo\0"),
        (socket.AF_INET, 6, 1, struct.pack("i", 1)),
    ):
        one = socket.socket(family)
        try:
            one.setsockopt(level, name, value)
            print(level, name, 0)
        except OSError as error:
            print(level, name, error.errno)


def modes():
    """The mode of files by their descriptors."""
    for name, flags in (("own", os.O_WRONLY | os.O_CREAT), ("/etc/hosts", os.O_RDONLY)):
        try:
            os.fchmod(os.open(name, flags), 0o644)
            print(name, 0)
        except OSError as error:
            print(name, error.errno)


{"second": second, "linger": linger, "beats": beats, "options": options, "modes": modes}[what]()
