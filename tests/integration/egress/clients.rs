// SPDX-License-Identifier: MIT
//! Programs as people use them: what is granted by name is reached by each of them, and nothing else.

use crate::egress::servers::{Datagrams, Process, Server, certificates};
use crate::egress::world::{World, address, free, low_port, tool};
use crate::support::python;

#[test]
fn deno_reaches_granted_names_only() {
    let world = World::new();
    let good = Server::http(free(), "good");
    let echo = Server::echo(free());
    let evil = Server::http(free(), "evil");
    world
        .name("good.test", good.ip())
        .name("echo.test", echo.ip())
        .name("evil.test", evil.ip());
    let script = |good_name: &str, echo_name: &str, evil_name: &str| {
        format!(
            r#"
            import net from "node:net";
            import http from "node:http";
            const word = (error) => error.code ?? error.cause?.code ?? error.name;
            const attempt = async (name, what) => {{
              try {{ console.log(name, await what()); }} catch (error) {{ console.log(name, "failed"); }}
            }};
            const get = (url) => new Promise((resolve, reject) => http.get(url, (answer) => {{
              let text = "";
              answer.on("data", (data) => text += data);
              answer.on("end", () => resolve(text));
            }}).on("error", reject));
            const say = (host, port) => new Promise((resolve, reject) => {{
              const socket = net.connect({{ host, port }}, () => socket.write("said"));
              socket.on("data", (data) => {{ resolve(String(data)); socket.destroy(); }});
              socket.on("error", reject);
            }});
            await attempt("fetch", async () => await (await fetch("http://{good_name}:{good}/fetch")).text());
            await attempt("http", () => get("http://{good_name}:{good}/http"));
            await attempt("connect", async () => {{
              using connection = await Deno.connect({{ hostname: "{echo_name}", port: {echo} }});
              await connection.write(new TextEncoder().encode("there"));
              const bytes = new Uint8Array(16);
              return new TextDecoder().decode(bytes.slice(0, await connection.read(bytes)));
            }});
            await attempt("net", () => say("{echo_name}", {echo}));
            await attempt("evil fetch", async () => await (await fetch("http://{evil_name}:{evil}/fetch")).text());
            await attempt("evil http", () => get("http://{evil_name}:{evil}/http"));
            await attempt("evil connect", async () => {{ using c = await Deno.connect({{ hostname: "{evil_name}", port: {evil} }}); return "made"; }});
            await attempt("evil address", async () => await (await fetch("http://{evil_ip}:{evil}/address")).text());
            await attempt("evil net", () => new Promise((resolve, reject) => {{
              const socket = net.connect({{ host: "{evil_name}", port: {evil} }}, () => {{ resolve("made"); socket.destroy(); }});
              socket.on("error", reject);
            }}));
            "#,
            good = good.port(),
            echo = echo.port(),
            evil = evil.port(),
            evil_ip = evil.ip(),
        )
    };
    let ip = |server: &Server| server.ip().to_string();
    world
        .bare(&script(&ip(&good), &ip(&echo), &ip(&evil)))
        .expect_output(
            "fetch good\nhttp good\nconnect there\nnet said\nevil fetch evil\nevil http evil\n\
             evil connect made\nevil address evil\nevil net made\n",
        );
    let before = evil.hits();
    assert!(before >= 4, "the control reached the server {before} times");
    let inside = script("good.test", "echo.test", "evil.test");
    let grant = format!(
        "--allow-net=good.test:{},echo.test:{}",
        good.port(),
        echo.port()
    );
    let expected = "fetch good\nhttp good\nconnect there\nnet said\nevil fetch failed\n\
                    evil http failed\nevil connect failed\nevil address failed\nevil net failed\n";
    world.run(&[&grant], &inside).expect_output(expected);
    assert_eq!(evil.hits(), before);
    assert_eq!(world.dns.count("evil.test"), 0, "{:?}", world.dns.asked());
    assert!(world.dns.count("good.test") > 0);
    // The same program with the grant that was missing.
    let wide = format!("{grant},evil.test:{0},{1}:{0}", evil.port(), evil.ip());
    world.run(&[&wide], &inside).expect_output(
        "fetch good\nhttp good\nconnect there\nnet said\nevil fetch evil\nevil http evil\n\
         evil connect made\nevil address evil\nevil net made\n",
    );
    assert!(evil.hits() > before);
}

#[test]
fn tls_clients_reach_the_granted_tenant_only() {
    let Some(address) = low_port(443) else {
        return;
    };
    let mut tenants = Process::tenants(address);
    let world = World::new();
    world
        .name("good.test", address.ip())
        .name("evil.test", address.ip());
    let authority = certificates().authority();
    let deno = r#"
        import https from "node:https";
        import tls from "node:tls";
        const caCerts = [Deno.readTextFileSync(Deno.args[0])];
        const client = Deno.createHttpClient({ caCerts });
        const attempt = async (name, what) => {
          try { console.log(name, await what()); } catch (error) { console.log(name, "failed"); }
        };
        const get = (url) => new Promise((resolve, reject) => https.get(url, { ca: caCerts }, (answer) => {
          let text = "";
          answer.on("data", (data) => text += data);
          answer.on("end", () => resolve(text));
        }).on("error", reject));
        for (const name of ["good.test", "evil.test"]) {
          await attempt("fetch", async () => await (await fetch(`https://${name}/fetch`, { client })).text());
          await attempt("https", () => get(`https://${name}/https`));
          await attempt("connectTls", async () => {
            using connection = await Deno.connectTls({ hostname: name, port: 443, caCerts });
            await connection.write(new TextEncoder().encode(`GET /tls HTTP/1.1\r\nHost: ${name}\r\n\r\n`));
            const bytes = new Uint8Array(1024);
            return new TextDecoder().decode(bytes.slice(0, await connection.read(bytes))).split("\r\n\r\n")[1];
          });
          await attempt("tls", () => new Promise((resolve, reject) => {
            const socket = tls.connect({ host: name, port: 443, ca: caCerts, servername: name }, () => {
              resolve(socket.authorized);
              socket.destroy();
            });
            socket.on("error", reject);
          }));
        }
    "#;
    let python_code = r#"
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile=sys.argv[1])
for name in ("good.test", "evil.test"):
    try: print("urllib", urllib.request.urlopen(f"https://{name}/urllib", context=context).read().decode())
    except OSError: print("urllib failed")
"#;
    let read = format!("--allow-read={authority}");
    world.project.write("main.ts", deno);
    let reached = |name: &str| {
        format!(
            "fetch tenant {name} /fetch\nhttps tenant {name} /https\n\
             connectTls tenant {name} /tls\ntls true\n"
        )
    };
    let failed = "fetch failed\nhttps failed\nconnectTls failed\ntls failed\n";
    let evil_seen = |tenants: &mut Process| {
        let said = tenants.said();
        said.iter().filter(|line| line.contains("evil")).count()
    };
    // Outside nothing resolves the names: curl is told where they are.
    let curl_path = tool("curl");
    let curl = |name: &str| {
        let resolve = format!("{name}:443:{}", address.ip());
        let url = format!("https://{name}/curl");
        [
            &curl_path,
            "-sS",
            "--cacert",
            &authority,
            "--resolve",
            &resolve,
            &url,
        ]
        .map(str::to_owned)
    };
    for name in ["good.test", "evil.test"] {
        let command = curl(name);
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        world
            .outside(&command)
            .expect_output(&format!("tenant {name} /curl"));
    }
    assert!(evil_seen(&mut tenants) > 0);
    let both = world
        .stockade(
            &["--allow-net=good.test:443,evil.test:443", &read],
            &["main.ts", &authority],
        )
        .run();
    both.expect_output(&(reached("good.test") + &reached("evil.test")));
    let before = evil_seen(&mut tenants);
    world
        .stockade(&["--allow-net=good.test", &read], &["main.ts", &authority])
        .run()
        .expect_output(&(reached("good.test") + failed));
    let python = python().to_str().unwrap();
    world
        .child(
            &["--allow-net=good.test", &read],
            &[python, "-c", python_code, &authority],
        )
        .expect_output("urllib tenant good.test /urllib\nurllib failed\n");
    let url = "https://good.test/curl";
    world
        .child(
            &["--allow-net=good.test", &read],
            &[&curl_path, "-sS", "--cacert", &authority, url],
        )
        .expect_output("tenant good.test /curl");
    // The address is known by now only where this process has looked the name up: pinned by the
    // name server's answer, not by what a client believes.
    let command = curl("evil.test");
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let outcome = world.child(&["--allow-net=good.test", &read], &command);
    assert_ne!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(evil_seen(&mut tenants), before);
}

#[test]
fn http_two_and_web_sockets_pass_the_relay() {
    let Some(address) = low_port(443) else {
        return;
    };
    let mut modern = Process::modern(address);
    let world = World::new();
    world
        .name("good.test", address.ip())
        .name("evil.test", address.ip());
    let authority = certificates().authority();
    let script = r#"
        const caCerts = [Deno.readTextFileSync(Deno.args[0])];
        const client = Deno.createHttpClient({ caCerts });
        const answers = await Promise.all(Array.from({ length: 20 }, (_, number) =>
          fetch(`https://good.test/${number}`, { client }).then((answer) => answer.text())));
        console.log(new Set(answers).size);
        const socket = new WebSocket("wss://good.test/socket", { client });
        socket.onopen = () => socket.send("there");
        socket.onmessage = ({ data }) => { console.log(data); socket.close(); };
        socket.onerror = () => console.log("failed");
    "#;
    let curl = tool("curl");
    let resolve = format!("good.test:443:{}", address.ip());
    let url = "https://good.test/control";
    world
        .outside(&[
            &curl,
            "-sS",
            "--http2",
            "-w",
            " %{http_version}",
            "--cacert",
            &authority,
            "--resolve",
            &resolve,
            url,
        ])
        .expect_output("modern good.test /control 2");
    world.project.write("main.ts", script);
    let read = format!("--allow-read={authority}");
    let run = |net: &str| {
        world
            .stockade(&[net, &read], &["main.ts", &authority])
            .run()
    };
    run("--allow-net=good.test").expect_output("20\nback there\n");
    let seen = modern.said().len();
    assert!(seen >= 22, "{seen}");
    run("--allow-net=other.test").expect_code(1);
    assert_eq!(modern.said().len(), seen);
    // The version that was agreed on is native, too.
    world
        .child(
            &["--allow-net=good.test", &read],
            &[
                &curl,
                "-sS",
                "--http2",
                "-w",
                " %{http_version}",
                "--cacert",
                &authority,
                url,
            ],
        )
        .expect_output("modern good.test /control 2");
}

#[test]
fn a_plain_web_socket_is_a_request_with_a_host() {
    let Some(address) = low_port(80) else {
        return;
    };
    let good = Server::start(address, |stream, say| {
        web_socket(stream, say);
    });
    let world = World::new();
    world
        .name("good.test", good.ip())
        .name("evil.test", good.ip());
    let script = |name: &str| {
        format!(
            "const socket = new WebSocket('ws://{name}/');
             socket.onopen = () => {{ console.log('open'); socket.close(); Deno.exit(); }};
             socket.onerror = () => {{ console.log('failed'); Deno.exit(); }};"
        )
    };
    world
        .bare(&script(&good.ip().to_string()))
        .expect_output("open\n");
    let grant = "--allow-net=good.test:80";
    world
        .run(&[grant], &script("good.test"))
        .expect_output("open\n");
    let seen = good.said();
    assert_eq!(seen.last().map(String::as_str), Some("good.test"));
    let evil = world.run(&[grant], &script("evil.test"));
    assert!(!evil.stdout.contains("open"), "{evil:?}");
    assert_eq!(good.said(), seen);
}

/// Answers the handshake of a WebSocket and says which host was asked for.
fn web_socket(mut stream: std::net::TcpStream, say: &dyn Fn(String)) {
    use std::io::{BufRead, BufReader, Write};
    let mut key = String::new();
    let reader = BufReader::new(stream.try_clone().unwrap());
    for line in reader.lines().map_while(Result::ok) {
        let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
        match &*name.to_ascii_lowercase() {
            "sec-websocket-key" => value.clone_into(&mut key),
            "host" => say(value.to_owned()),
            "" => break,
            _ => {}
        }
    }
    let digest = std::process::Command::new(python())
        .args(["-c", "import base64,hashlib,sys;print(base64.b64encode(hashlib.sha1(sys.argv[1].encode()).digest()).decode())"])
        .arg(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
        .output()
        .unwrap();
    let accept = String::from_utf8(digest.stdout).unwrap();
    let _ = write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept.trim()
    );
}

#[test]
fn servers_that_speak_first_are_reached_directly() {
    let world = World::new();
    let mail = Server::banner(free(), "mail");
    let database = Server::postgres(free(), "from the database");
    let evil = Server::banner(free(), "evil");
    world
        .name("mail.test", mail.ip())
        .name("database.test", database.ip())
        .name("evil.test", evil.ip());
    let code = "import smtplib, sys\n\
        try:\n    mail = smtplib.SMTP(sys.argv[1], int(sys.argv[2]))\n    print(mail.noop()[0], mail.quit()[0])\n\
        except OSError as error: print('failed')\n";
    let python = python().to_str().unwrap();
    let smtp = |host: &str, server: &Server| {
        [python, "-c", code, host, &server.port().to_string()].map(str::to_owned)
    };
    let run = |flags: &[&str], command: &[String]| {
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        world.child(flags, &command)
    };
    let outside = |command: &[String]| {
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        world.outside(&command)
    };
    outside(&smtp(&evil.ip().to_string(), &evil)).expect_output("250 221\n");
    let before = evil.hits();
    let mail_grant = format!("--allow-net=mail.test:{}", mail.port());
    run(&[&mail_grant], &smtp("mail.test", &mail)).expect_output("250 221\n");
    run(&[&mail_grant], &smtp("evil.test", &evil)).expect_output("failed\n");
    run(&[&mail_grant], &smtp(&evil.ip().to_string(), &evil)).expect_output("failed\n");
    assert_eq!(evil.hits(), before);
    let evil_grant = format!("--allow-net=evil.test:{}", evil.port());
    run(&[&evil_grant], &smtp("evil.test", &evil)).expect_output("250 221\n");
    let psql = psql();
    let select = |host: &str| {
        let port = database.port().to_string();
        [
            &psql, "-X", "-w", "-A", "-t", "-h", host, "-p", &port, "-U", "user", "-d", "data",
            "-c", "SELECT 1",
        ]
        .map(str::to_owned)
    };
    outside(&select(&database.ip().to_string())).expect_output("from the database\n");
    let grant = format!("--allow-net=database.test:{}", database.port());
    run(&[&grant], &select("database.test")).expect_output("from the database\n");
    let before = database.hits();
    run(&[&mail_grant], &select("database.test")).expect_code(2);
    assert_eq!(database.hits(), before);
}

/// The program itself; Debian's `psql` is a script that looks for it.
fn psql() -> String {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    versions
        .map(|entry| entry.unwrap().path().join("bin/psql"))
        .find(|path| path.is_file())
        .map_or_else(|| tool("psql"), |path| path.to_str().unwrap().to_owned())
}

#[test]
fn git_clones_over_http_from_the_granted_host() {
    let world = World::new();
    let project = &world.project;
    let git = tool("git");
    let shell = |script: &str| {
        project
            .launch(std::path::Path::new("/bin/sh"), &["-ec", script])
            .env("HOME", project.directory())
            .run()
            .expect_success();
    };
    shell(
        "git init -q work && cd work && echo content > file && git add file &&
         git -c user.name=n -c user.email=e@e commit -qm first && cd .. &&
         git clone -q --bare work served.git && cd served.git && git update-server-info",
    );
    let root = project.directory().to_path_buf();
    let served = Server::start(free(), move |stream, say| serve_files(stream, &root, say));
    world
        .name("good.test", served.ip())
        .name("evil.test", served.ip());
    let port = served.port();
    let clone = |host: &str, to: &str| {
        [
            git.clone(),
            "clone".into(),
            "-q".into(),
            format!("http://{host}:{port}/served.git"),
            to.into(),
        ]
    };
    let control = clone(&served.ip().to_string(), "control");
    let control: Vec<&str> = control.iter().map(String::as_str).collect();
    world.outside(&control).expect_success();
    let core = project
        .launch(std::path::Path::new(&git), &["--exec-path"])
        .run()
        .stdout
        .trim()
        .to_owned();
    let run = |host: &str, to: &str| {
        let command = clone(host, to);
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        world.child(
            &[
                &format!("--allow-net=good.test:{port}"),
                &format!("--allow-run={core}/git-remote-http,{core}/git,{core}/git-remote-https"),
                "--allow-read",
                "--allow-write=.,/dev/null",
                "--allow-env",
            ],
            &command,
        )
    };
    let before = served.said().len();
    run("good.test", "inside").expect_success();
    assert_eq!(project.read("inside/file"), "content\n");
    let after = served.said().len();
    assert!(after > before);
    let denied = run("evil.test", "denied");
    assert_ne!(denied.code, Some(0), "{denied:?}");
    assert_eq!(served.said().len(), after);
}

/// A web server of files.
fn serve_files(mut stream: std::net::TcpStream, root: &std::path::Path, say: &dyn Fn(String)) {
    use std::io::{BufRead, BufReader, Write};
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    while let Some(Ok(first)) = lines.next() {
        while lines
            .next()
            .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
        {}
        let target = first.split(' ').nth(1).unwrap_or("/");
        say(target.to_owned());
        let path = target.split('?').next().unwrap().trim_start_matches('/');
        let (code, body) = match std::fs::read(root.join(path)) {
            Ok(body) if !path.contains("..") => ("200 OK", body),
            _ => ("404 Not Found", Vec::new()),
        };
        let head = format!("HTTP/1.1 {code}\r\ncontent-length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(&[head.as_bytes(), &body].concat());
    }
}

#[test]
fn curl_asks_hosts_by_name_on_any_port() {
    let world = World::new();
    let good = Server::http(free(), "good");
    let evil = Server::http((good.ip(), 0).into(), "evil");
    world
        .name("good.test", good.ip())
        .name("evil.test", good.ip());
    let curl = tool("curl");
    let get = |url: &str, flags: &[&str]| {
        let mut command = vec![&*curl, "-sS", "-m", "20"];
        command.extend(flags);
        command.push(url);
        world.child(
            &[&format!("--allow-net=good.test:{}", good.port())],
            &command,
        )
    };
    let evil_url = format!("http://{}", evil.address());
    world
        .outside(&[&curl, "-sS", &evil_url])
        .expect_output("evil");
    let before = evil.hits();
    get(&format!("http://good.test:{}/", good.port()), &[]).expect_output("good");
    // Couldn't resolve, couldn't connect.
    get(&format!("http://evil.test:{}/", good.port()), &[]).expect_code(6);
    get(&format!("http://good.test:{}/", evil.port()), &[]).expect_code(7);
    get(&evil_url, &[]).expect_code(7);
    let proxy = format!("http://{}", evil.address());
    get(
        &format!("http://good.test:{}/", good.port()),
        &["-x", &proxy],
    )
    .expect_code(7);
    assert_eq!(evil.hits(), before);
}

#[test]
fn datagrams_reach_nobody_under_name_rules() {
    let world = World::new();
    let receiver = Datagrams::start(address(), 0);
    let ip = receiver.ip();
    world.name("good.test", ip);
    let script = |host: &str| {
        format!(
            r#"
            import dgram from "node:dgram";
            const socket = dgram.createSocket("udp4");
            await new Promise((resolve) => {{
              socket.on("error", () => resolve());
              socket.send("datagram", {port}, "{host}", () => resolve());
            }});
            socket.close();
            console.log("over");
            "#,
            port = receiver.port()
        )
    };
    world.bare(&script(&ip.to_string())).expect_output("over\n");
    assert_eq!(receiver.received(), 1);
    let grant = format!("--allow-net=good.test:{0},0.0.0.0:0", receiver.port());
    for host in ["good.test".to_owned(), ip.to_string()] {
        let outcome = world.run(&[&grant], &script(&host));
        assert!(outcome.code.is_some(), "{outcome:?}");
        assert_eq!(receiver.received(), 0, "{host}");
    }
    world
        .run(&["--allow-net"], &script(&ip.to_string()))
        .expect_output("over\n");
    assert_eq!(receiver.received(), 1);
}
