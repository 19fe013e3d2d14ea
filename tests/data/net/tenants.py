# SPDX-License-Identifier: MIT
# Two tenants of one address and port, told apart by the TLS server name: arguments ADDRESS PORT
# CERTIFICATES. Prints its port, then one line for each thing a client did; a line on standard input
# is printed back, in order.
import socket, ssl, sys, threading

address, port, directory = sys.argv[1], int(sys.argv[2]), sys.argv[3]
lock = threading.Lock()


def say(line):
    with lock:
        print(line, flush=True)


def context(tenant):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(f"{directory}/{tenant}.pem", f"{directory}/{tenant}.key")
    return made


contexts = {tenant: context(tenant) for tenant in ("good", "evil")}
default = context("evil")


# What this connection's thread has heard.
heard = threading.local()


def choose(connection, name, _):
    heard.name = True
    say(f"sni {name}")
    tenant = "good" if name and ("." + name).endswith((".good.test", ".other.test")) else "evil"
    connection.context = contexts[tenant]


default.sni_callback = choose


def serve(plain):
    # Who connects and says nothing was kept from saying it.
    try:
        if not plain.recv(1, socket.MSG_PEEK):
            raise OSError
    except OSError:
        say("silence")
        plain.close()
        return
    try:
        connection = default.wrap_socket(plain, server_side=True)
    except OSError:
        # A handshake may end behind its first message, whose name was said.
        say("cut" if getattr(heard, "name", False) else "raw")
        plain.close()
        return
    try:
        reader = connection.makefile("rb")
        while line := reader.readline():
            target = line.decode("latin-1").split(" ")[1]
            host, length = "", 0
            while (header := reader.readline().decode("latin-1").strip()):
                name, _, value = header.partition(":")
                if name.lower() == "host":
                    host = value.strip()
                if name.lower() == "content-length":
                    length = int(value)
            reader.read(length)
            say(f"request {host} {target}")
            body = f"tenant {host} {target}".encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    except (OSError, IndexError):
        pass
    finally:
        connection.close()


def echo():
    for line in sys.stdin:
        say(line.rstrip("\n"))


listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((address, port))
listener.listen(256)
say(listener.getsockname()[1])
threading.Thread(target=echo, daemon=True).start()
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
