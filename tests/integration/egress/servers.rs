// SPDX-License-Identifier: MIT
//! The servers of the test network: plain TCP services in threads, TLS tenants in a python3 process,
//! HTTP/2 and WebSocket in bare Deno; each counts who came.
//!
//! Invariant: a connection is counted before anything is sent on it, so a client that has an answer
//! was counted, and a count of zero after the client ended means that nobody came.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use crate::support::{python, runner, scratch};

const TENANTS: &str = include_str!("../../data/net/tenants.py");
const MODERN: &str = include_str!("../../data/net/modern.ts");

/// A TCP service in threads of the test.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    address: SocketAddr,
    /// Who connected, in the order of arrival.
    peers: Arc<Mutex<Vec<SocketAddr>>>,
    /// How many of them were this test's own.
    own: Arc<Mutex<usize>>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts a service; `serve` gets each connection and a function to remember what was said.
    pub(crate) fn start(
        address: SocketAddr,
        serve: impl Fn(TcpStream, &dyn Fn(String)) + Send + Sync + 'static,
    ) -> Self {
        let listener = listen(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        let server = Self {
            address: listener.local_addr().unwrap(),
            peers: Arc::default(),
            own: Arc::default(),
            said: Arc::default(),
        };
        let (serve, of_thread) = (Arc::new(serve), server.clone());
        thread::spawn(move || {
            while let Ok((stream, peer)) = listener.accept() {
                of_thread.peers.lock().unwrap().push(peer);
                let (serve, server) = (Arc::clone(&serve), of_thread.clone());
                thread::spawn(move || {
                    serve(stream, &|text| server.said.lock().unwrap().push(text));
                });
            }
        });
        server
    }

    /// Counts connections and closes them.
    pub(crate) fn counter(address: SocketAddr) -> Self {
        let listener = listen(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        let server = Self {
            address: listener.local_addr().unwrap(),
            peers: Arc::default(),
            own: Arc::default(),
            said: Arc::default(),
        };
        let peers = Arc::clone(&server.peers);
        thread::spawn(move || {
            while let Ok((_, peer)) = listener.accept() {
                peers.lock().unwrap().push(peer);
            }
        });
        server
    }

    /// Answers every request of a connection with `label`; remembers `HOST TARGET`.
    pub(crate) fn http(address: SocketAddr, label: &'static str) -> Self {
        Self::start(address, move |stream, say| {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut stream = stream;
            while let Some(head) = head(&mut reader) {
                let target = head[0].split(' ').nth(1).unwrap_or("").to_owned();
                let host = head
                    .iter()
                    .find_map(|line| {
                        line.to_ascii_lowercase()
                            .strip_prefix("host:")
                            .map(str::to_owned)
                    })
                    .unwrap_or_default();
                say(format!("{} {target}", host.trim()));
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{label}",
                    label.len()
                );
                if stream.write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        })
    }

    /// Speaks first, as SMTP and SSH servers do, then answers lines as a mail server.
    pub(crate) fn banner(address: SocketAddr, name: &'static str) -> Self {
        Self::start(address, move |mut stream, say| {
            // In one piece: clients of the tests read once.
            let _ = stream.write_all(format!("220 {name} ESMTP\r\n").as_bytes());
            let reader = BufReader::new(stream.try_clone().unwrap());
            for line in reader.lines().map_while(Result::ok) {
                say(line.clone());
                let answer = match line.get(..4) {
                    Some("quit" | "QUIT") => "221 bye\r\n",
                    _ => "250 ok\r\n",
                };
                let _ = stream.write_all(answer.as_bytes());
            }
        })
    }

    /// Sends back what it gets.
    pub(crate) fn echo(address: SocketAddr) -> Self {
        Self::start(address, |mut stream, _| {
            let mut buffer = [0; 16_384];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
        })
    }

    /// A PostgreSQL server as far as `SELECT` of one text needs it.
    pub(crate) fn postgres(address: SocketAddr, value: &'static str) -> Self {
        Self::start(address, move |stream, say| {
            let _ = postgres(stream, value, say);
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address.
    pub(crate) fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections were made. The kernel makes them before they are accepted: one of the
    /// test's own goes through the queue behind all others and is not counted.
    pub(crate) fn hits(&self) -> usize {
        let mut own = self.own.lock().unwrap();
        let seen = |address: SocketAddr| {
            let peers = self.peers.lock().unwrap();
            let of_address = peers.iter().filter(|peer| **peer == address).count();
            (of_address, peers.len())
        };
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(self.address),
            socket2::Type::STREAM,
            None,
        )
        .unwrap();
        // After thousands of connections every port has been somebody's: what was seen of this one
        // before it connects is not it.
        socket.bind(&SocketAddr::new(self.ip(), 0).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let (before, _) = seen(address);
        socket.connect(&self.address.into()).unwrap();
        *own += 1;
        loop {
            let (of_address, all) = seen(address);
            if of_address > before {
                return all - *own;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// What clients said.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }
}

/// The lines of a request head, without the empty one.
pub(crate) fn head(reader: &mut impl BufRead) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if !line.is_empty() {
            lines.push(line);
        } else if !lines.is_empty() {
            return Some(lines);
        }
    }
}

fn postgres(mut stream: TcpStream, value: &str, say: &dyn Fn(String)) -> std::io::Result<()> {
    let message = |kind: u8, body: &[u8]| {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind][..], &length, body].concat()
    };
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
        stream.read_exact(&mut body)?;
        // SSLRequest and GSSENCRequest: neither, go on in the clear.
        if body[..2] == [4, 210] {
            stream.write_all(b"N")?;
            continue;
        }
        break;
    }
    let ready = message(b'Z', b"I");
    let authenticated = message(b'R', &[0; 4]);
    let version = message(b'S', b"server_version\x0015.0\0");
    let encoding = message(b'S', b"client_encoding\0UTF8\0");
    stream.write_all(&[authenticated, version, encoding, ready.clone()].concat())?;
    loop {
        let mut start = [0; 5];
        stream.read_exact(&mut start)?;
        let length = u32::from_be_bytes([start[1], start[2], start[3], start[4]]) as usize;
        let mut body = vec![0; length - 4];
        stream.read_exact(&mut body)?;
        if start[0] != b'Q' {
            return Ok(());
        }
        say(String::from_utf8_lossy(&body)
            .trim_end_matches('\0')
            .to_owned());
        let mut description = b"\x00\x01value\0".to_vec();
        // Table, column, type 25 (text), size, modifier, format.
        description.extend([
            0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 255, 255, 255, 255, 255, 255, 0, 0,
        ]);
        let mut row = vec![0, 1];
        row.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        row.extend(value.as_bytes());
        let parts = [
            message(b'T', &description),
            message(b'D', &row),
            message(b'C', b"SELECT 1\0"),
            ready.clone(),
        ];
        stream.write_all(&parts.concat())?;
    }
}

/// A listener with a long queue: thousands of clients come at once.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    use socket2::{Domain, Socket, Type};
    let domain = if address.is_ipv4() {
        Domain::IPV4
    } else {
        Domain::IPV6
    };
    let socket = Socket::new(domain, Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(address.port() != 0)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// Datagrams that arrived where none should.
#[derive(Debug)]
pub(crate) struct Datagrams {
    socket: UdpSocket,
}

impl Datagrams {
    /// Listens, and answers nothing.
    pub(crate) fn start(ip: Ipv4Addr, port: u16) -> Self {
        let socket = UdpSocket::bind((ip, port)).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket }
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }

    /// Its address.
    pub(crate) fn ip(&self) -> IpAddr {
        self.socket.local_addr().unwrap().ip()
    }

    /// How many arrived since the last call; on loopback a datagram has arrived when `send` returns.
    pub(crate) fn received(&self) -> usize {
        let mut buffer = [0; 2048];
        std::iter::from_fn(|| self.socket.recv(&mut buffer).ok()).count()
    }
}

/// Certificates of the test network, made once.
#[derive(Debug)]
pub(crate) struct Certificates {
    directory: PathBuf,
}

impl Certificates {
    /// The authority's certificate.
    pub(crate) fn authority(&self) -> String {
        self.directory.join("ca.pem").to_str().unwrap().to_owned()
    }
}

/// The certificates; `openssl` is needed by these tests.
pub(crate) fn certificates() -> &'static Certificates {
    static CERTIFICATES: OnceLock<Certificates> = OnceLock::new();
    CERTIFICATES.get_or_init(|| {
        let directory = scratch().join("certificates");
        if !directory.join("ca.pem").exists() {
            let made = tempfile::tempdir_in(scratch()).unwrap();
            make_certificates(made.path());
            // Another run of the tests may have been faster.
            let _ = std::fs::rename(made.keep(), &directory);
        }
        Certificates { directory }
    })
}

fn make_certificates(directory: &Path) {
    let run = |line: &str| {
        let output = Command::new("openssl")
            .args(line.split(' '))
            .current_dir(directory)
            .output()
            .expect("openssl is needed by these tests");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {line}: {errors}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    run(&format!(
        "req -x509 {key} -keyout ca.key -out ca.pem -days 3650 -subj /CN=Test-Network"
    ));
    for (tenant, names) in [
        ("good", "DNS:good.test,DNS:*.good.test,DNS:other.test"),
        ("evil", "DNS:evil.test,DNS:*.evil.test"),
    ] {
        let extensions = format!("subjectAltName={names}\nbasicConstraints=CA:FALSE\n");
        std::fs::write(directory.join(format!("{tenant}.ext")), extensions).unwrap();
        run(&format!(
            "req -new {key} -keyout {tenant}.key -out {tenant}.csr -subj /CN={tenant}.test"
        ));
        run(&format!(
            "x509 -req -in {tenant}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 \
             -extfile {tenant}.ext -out {tenant}.pem"
        ));
    }
}

/// A server in a process of its own, ended with the test; what it prints is its record.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Two tenants behind one address and port, told apart by the TLS server name: `good.test` and
    /// its subdomains, `evil.test` and its. Records `raw`, `sni NAME`, `cut`, `request HOST TARGET`.
    pub(crate) fn tenants(address: SocketAddr) -> Self {
        let mut command = Command::new(python());
        command.args(["-u", "-c", TENANTS]);
        Self::start(command, address)
    }

    /// HTTP/2 and WebSocket over TLS for `good.test`. Records `request HOST TARGET`.
    pub(crate) fn modern(address: SocketAddr) -> Self {
        let script = scratch().join(format!("modern-{}.ts", std::process::id()));
        std::fs::write(&script, MODERN).unwrap();
        let mut command = Command::new(runner());
        command
            .args(["run", "-A", "--no-config", "--no-lock"])
            .arg(script)
            .env("DENO_DIR", scratch().join("deno"))
            .env("DENO_NO_UPDATE_CHECK", "1");
        Self::start(command, address)
    }

    fn start(mut command: Command, address: SocketAddr) -> Self {
        let mut child = command
            .arg(address.ip().to_string())
            .arg(address.port().to_string())
            .arg(&certificates().directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().expect("the server says its port").unwrap();
        assert_eq!(first, address.port().to_string());
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let record = Arc::clone(&said);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                record.lock().unwrap().push(line);
            }
        });
        Self { child, said }
    }

    /// Its record, after everything it was sent has been worked off: a mark is sent through.
    pub(crate) fn said(&mut self) -> Vec<String> {
        let mark = format!("mark {}", self.said.lock().unwrap().len());
        writeln!(self.child.stdin.as_mut().unwrap(), "{mark}").unwrap();
        loop {
            let said = self.said.lock().unwrap().clone();
            if said.last() == Some(&mark) || said.contains(&mark) {
                return said
                    .into_iter()
                    .filter(|line| !line.starts_with("mark "))
                    .collect();
            }
            assert!(self.child.try_wait().unwrap().is_none(), "the server ended");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
