# SPDX-License-Identifier: MIT
# Tries to reach another tenant behind the address of a granted name: arguments ADDRESS, HTTPS PORT,
# HTTP PORT, OTHER PORT. Prints for each attempt `answered`, `closed` or `errno N`.
import socket, ssl, sys

address, https, http, other = sys.argv[1], *map(int, sys.argv[2:5])
dotted = [int(part) for part in address.split(".")]
number = int.from_bytes(bytes(dotted), "big")


# Makes the address known, where names are answered.
def pin(name="good.test"):
    try:
        return socket.getaddrinfo(name, https, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    except OSError:
        return None


def connect(host, port, family=socket.AF_INET):
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.settimeout(20)
    connection.connect((host, port))
    return connection


# The ClientHello a client makes for this server name.
def hello(name, **more):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for key, value in more.items():
        setattr(context, key, value)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


# The same ClientHello with one extension more, as its last one.
def extended(hello, kind, content):
    # record header, message header, version and random; session, cipher suites, compression
    at = 5 + 4 + 34
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 1 + hello[at]
    extension = kind.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content
    grown = hello + extension
    for start, size in ((3, 2), (6, 3), (at, 2)):
        old = int.from_bytes(hello[start : start + size], "big")
        grown = grown[:start] + (old + len(extension)).to_bytes(size, "big") + grown[start + size :]
    return grown


# The same message in records of `size` bytes.
def fragmented(hello, size):
    parts = [hello[at : at + size] for at in range(5, len(hello), size)]
    return b"".join(hello[:3] + len(part).to_bytes(2, "big") + part for part in parts)


# Whether anything comes back; what is said may come in several pieces.
def exchange(host, port, data, family=socket.AF_INET, piece=1 << 20):
    with connect(host, port, family) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(data), piece):
            connection.sendall(data[at : at + piece])
        return "answered" if connection.recv(1024) else "closed"


def tls(name, inner_host=None, port=None, host=address, family=socket.AF_INET):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with connect(host, port or https, family) as plain, context.wrap_socket(plain, server_hostname=name) as connection:
        if inner_host:
            connection.sendall(b"GET /inner HTTP/1.1\r\nHost: %s\r\n\r\n" % inner_host.encode())
            return "answered" if connection.recv(1024) else "closed"
        return "answered"


def get(text, port=None):
    return exchange(address, port or http, text.encode("latin-1"))


# Several requests on one connection: how many are answered.
def several(*hosts, more=b""):
    with connect(address, http) as connection:
        count = 0
        for host in hosts:
            try:
                connection.sendall(b"GET /several HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (host.encode(), more))
                if not connection.recv(1024):
                    break
            except ConnectionError:
                break
            count += 1
        return f"answered {count}"


# All requests in one segment, the later ones in the body of the first: how many are answered.
def pipelined(*hosts, hidden=False):
    with connect(address, http) as connection:
        requests = [b"GET /piped HTTP/1.1\r\nHost: %s\r\n\r\n" % host.encode() for host in hosts]
        if hidden:
            length = b"Content-Length: %d\r\n\r\n" % sum(map(len, requests[1:]))
            requests[0] = requests[0][:-2] + length
        connection.sendall(b"".join(requests))
        connection.settimeout(3)
        received = b""
        try:
            while data := connection.recv(4096):
                received += data
        except OSError:
            pass
        return f"answered {received.count(b'HTTP/1.1 200')}"


mark = "evilXgood.test"
attempts = {
    "allowed server name": lambda: tls("good.test"),
    "allowed server name in capitals": lambda: tls("GOOD.TEST"),
    "other server name": lambda: tls("evil.test"),
    "other server name with the allowed one in front": lambda: tls("good.test.evil.test"),
    "other server name with the allowed one behind": lambda: tls("evilgood.test"),
    "no server name": lambda: tls(None),
    "server name with a zero byte": lambda: exchange(address, https, hello(mark).replace(mark.encode(), b"evil\0good.test")),
    "server name with a zero byte at the end": lambda: exchange(address, https, hello("evil.testX").replace(b"evil.testX", b"evil.test\0")),
    "old protocol version": lambda: exchange(address, https, hello("evil.test", maximum_version=ssl.TLSVersion.TLSv1_2)),
    "allowed server name in small records": lambda: exchange(address, https, fragmented(hello("good.test"), 50)),
    "other server name in small records": lambda: exchange(address, https, fragmented(hello("evil.test"), 50)),
    "allowed server name byte by byte": lambda: exchange(address, https, hello("good.test"), piece=1),
    "allowed server name with an unknown extension": lambda: exchange(address, https, extended(hello("good.test"), 0xfe0c, bytes(40))),
    "encrypted ClientHello": lambda: exchange(address, https, extended(hello("good.test"), 0xfe0d, b"\0\0\1\0\1\7\0\2ab\0\2cd")),
    "raw bytes on the TLS port": lambda: exchange(address, https, b"SSH-2.0-client\r\n"),
    "HTTP on the TLS port": lambda: exchange(address, https, b"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n"),
    "proxy request on the TLS port": lambda: exchange(address, https, b"CONNECT evil.test:443 HTTP/1.1\r\nHost: good.test\r\n\r\n"),
    "HTTP/2 in the clear": lambda: get("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\0\0\0\4\0\0\0\0\0"),
    "allowed Host": lambda: get("GET /a HTTP/1.1\r\nHost: good.test\r\n\r\n"),
    "allowed Host in capitals": lambda: get("GET /a HTTP/1.1\r\nhost: GOOD.test:80\r\n\r\n"),
    "other Host": lambda: get("GET /b HTTP/1.1\r\nHost: evil.test\r\n\r\n"),
    "no Host": lambda: get("GET /b HTTP/1.0\r\n\r\n"),
    "two Hosts": lambda: get("GET /b HTTP/1.1\r\nHost: good.test\r\nHost: evil.test\r\n\r\n"),
    "folded Host": lambda: get("GET /b HTTP/1.1\r\nHost:\r\n evil.test\r\nX: good.test\r\n\r\n"),
    "Host with a space before the colon": lambda: get("GET /b HTTP/1.1\r\nHost : evil.test\r\nHost: good.test\r\n\r\n"),
    "Host with a zero byte": lambda: get("GET /b HTTP/1.1\r\nHost: evil.test\0.good.test\r\n\r\n"),
    "Host with userinfo": lambda: get("GET /b HTTP/1.1\r\nHost: good.test@evil.test\r\n\r\n"),
    "absolute target": lambda: get("GET http://evil.test/b HTTP/1.1\r\nHost: good.test\r\n\r\n"),
    "tunnel": lambda: get("CONNECT evil.test:443 HTTP/1.1\r\nHost: good.test\r\n\r\n"),
    "request in the body of a GET": lambda: pipelined("good.test", "evil.test", hidden=True),
    "Host taken back by Connection": lambda: get("GET /b HTTP/1.1\r\nHost: good.test\r\nConnection: close, host\r\n\r\n"),
    "switch to HTTP/2, then another Host": lambda: several("good.test", "evil.test", more=b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
    "second request for another Host": lambda: several("good.test", "evil.test"),
    "second request for the same Host": lambda: several("good.test", "good.test"),
    "pipelined request for another Host": lambda: pipelined("good.test", "evil.test"),
    "request hidden in a body": lambda: get("POST /a HTTP/1.1\r\nHost: good.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: evil.test\r\n\r\n"),
    "other port": lambda: exchange(address, other, b"GET /b HTTP/1.1\r\nHost: good.test\r\n\r\n"),
    "v4-mapped other port": lambda: exchange(f"::ffff:{address}", other, b"GET / HTTP/1.1\r\nHost: good.test\r\n\r\n", socket.AF_INET6),
    "v4-mapped other server name": lambda: tls("evil.test", host=f"::ffff:{address}", family=socket.AF_INET6),
    "v4-mapped allowed server name": lambda: tls("good.test", host=f"::ffff:{address}", family=socket.AF_INET6),
}
for form in (
    str(number), hex(number), oct(number).replace("0o", "0"), ".".join(hex(part) for part in dotted),
    ".".join("0%o" % part for part in dotted), f"{dotted[0]}.{number & 0xffffff}", f"{dotted[0]}.{dotted[1]}.{number & 0xffff}",
):
    attempts[f"other port of a numeric host {len(attempts)}"] = lambda form=form: exchange(form, other, b"GET /b HTTP/1.1\r\nHost: good.test\r\n\r\n")

pin()
for name, attempt in attempts.items():
    try:
        result = attempt()
    except ConnectionResetError:
        result = "closed"
    except ssl.SSLError as error:
        result = "closed"
    except socket.gaierror as error:
        result = f"error {error.errno}"
    except OSError as error:
        result = f"errno {error.errno}" if error.errno else "closed"
    print(f"{name}: {result}", flush=True)
