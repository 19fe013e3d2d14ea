// SPDX-License-Identifier: MIT
//! Registries and web servers of the tests' own, on a loopback port: npm packages, JSR packages and
//! plain modules, with a record of everything that was asked for.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// What is served, by path.
type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// One server. It answers until the test process ends.
pub(crate) struct Registry {
    address: SocketAddr,
    files: Files,
    said: Arc<Mutex<Vec<String>>>,
    versions: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
}

impl Registry {
    /// Listens; nothing is served yet.
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (files, said) = (Files::default(), Arc::new(Mutex::new(Vec::new())));
        let (served, heard) = (Arc::clone(&files), Arc::clone(&said));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, said) = (Arc::clone(&served), Arc::clone(&heard));
                std::thread::spawn(move || answer(stream, &files, &said));
            }
        });
        Self {
            address,
            files,
            said,
            versions: BTreeMap::new(),
        }
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Its URL, with a slash at the end.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Serves a file.
    pub(crate) fn file(&mut self, path: &str, content: impl Into<Vec<u8>>) -> &mut Self {
        self.files
            .lock()
            .unwrap()
            .insert(path.to_owned(), content.into());
        self
    }

    /// What is served under a path.
    pub(crate) fn served(&self, path: &str) -> Option<Vec<u8>> {
        self.files.lock().unwrap().get(path).cloned()
    }

    /// Publishes an npm package with these files beside its `package.json`.
    pub(crate) fn package(
        &mut self,
        name: &str,
        version: &str,
        members: serde_json::Value,
        files: &[(&str, &str)],
    ) -> &mut Self {
        self.package_with(name, version, members, files, &[])
    }

    /// The same with further entries of the tarball under names that are taken as they are.
    pub(crate) fn package_with(
        &mut self,
        name: &str,
        version: &str,
        members: serde_json::Value,
        files: &[(&str, &str)],
        odd: &[(&str, &str)],
    ) -> &mut Self {
        let mut manifest = serde_json::json!({"name": name, "version": version});
        for (key, value) in members.as_object().unwrap() {
            manifest[key] = value.clone();
        }
        let text = manifest.to_string();
        let mut entries = vec![("package/package.json".to_owned(), text)];
        for (path, content) in files {
            entries.push((format!("package/{path}"), (*content).to_owned()));
        }
        for (path, content) in odd {
            entries.push(((*path).to_owned(), (*content).to_owned()));
        }
        let tarball = tarball(&entries);
        let path = format!("/{name}/-/{version}.tgz");
        manifest["dist"] = serde_json::json!({
            "tarball": format!("http://{}{path}", self.address),
            "integrity": format!("sha512-{}", sha512(&tarball)),
        });
        self.file(&path, tarball);
        let versions = self.versions.entry(name.to_owned()).or_default();
        versions.insert(version.to_owned(), manifest);
        let document = serde_json::json!({
            "name": name,
            "versions": versions,
            "dist-tags": {"latest": version},
        });
        self.file(&format!("/{name}"), document.to_string())
    }

    /// Every request so far: its first line and its headers.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, files: &Files, said: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(1..) if line.trim().is_empty() => break,
                Ok(1..) => head.push_str(&line),
                _ => return,
            }
        }
        said.lock().unwrap().push(head.clone());
        let path = head.split_whitespace().nth(1).unwrap_or_default();
        let path = path.replace("%2f", "/").replace("%2F", "/");
        let found = files.lock().unwrap().get(&path).cloned();
        let (status, body) = match found {
            Some(body) => ("200 OK", body),
            None => ("404 Not Found", b"{}".to_vec()),
        };
        let kind = match path.rsplit('.').next() {
            Some("ts") => "application/typescript",
            Some("js") => "text/javascript",
            Some("tgz") => "application/octet-stream",
            _ => "application/json",
        };
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(&body))
            .is_err()
        {
            return;
        }
    }
}

/// A gzipped tar archive with these names, whatever they are.
fn tarball(entries: &[(String, String)]) -> Vec<u8> {
    const SCRIPT: &str = r#"
import io, json, sys, tarfile
with tarfile.open(fileobj=sys.stdout.buffer, mode="w|gz") as archive:
    for name, content in json.load(sys.stdin):
        entry = tarfile.TarInfo(name)
        entry.size = len(content.encode())
        entry.mode = 0o755
        archive.addfile(entry, io.BytesIO(content.encode()))
"#;
    filter(
        "python3",
        &["-c", SCRIPT],
        &serde_json::to_vec(entries).unwrap(),
    )
}

/// SHA-512 as registries write it.
fn sha512(bytes: &[u8]) -> String {
    let digest = filter("openssl", &["dgst", "-sha512", "-binary"], bytes);
    let text = filter("openssl", &["base64", "-A"], &digest);
    String::from_utf8(text).unwrap()
}

fn filter(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} is needed by these tests: {error}"));
    child.stdin.take().unwrap().write_all(input).unwrap();
    let mut output = Vec::new();
    let mut pipe = child.stdout.take().unwrap();
    pipe.read_to_end(&mut output).unwrap();
    assert!(child.wait().unwrap().success(), "{program} failed");
    output
}
