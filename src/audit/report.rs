// SPDX-License-Identifier: MIT
//! One run as a report: what held it, how it ended, what was denied, whom it talked to; as JSON and
//! as Markdown for the summary of a CI job.
//!
//! Invariant: nothing a program chose reaches a report as markup or control character, and memory is
//! bounded: what found no room is counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;

use serde::Serialize;

use super::summary::{object, printable};
use super::{Contact, Event, Traffic};

/// The JSON schema of a report.
pub const SCHEMA: &str = include_str!("../../policies/report.schema.json");

/// The version of the format; another one means that a key changed its meaning.
const VERSION: u32 = 1;
/// The most kinds of denial, and the most peers, that are told apart.
const REMEMBERED: usize = 1000;

/// What is known before the start.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// Stockade's version.
    pub stockade: &'static str,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// SHA-256 of what was granted and denied, in hexadecimal.
    pub policy_digest: String,
    /// The machine.
    pub host: Machine,
    /// What holds what, one line for each kind of permission.
    pub layers: Vec<Layer>,
    /// What nobody, or only Deno, holds.
    pub gaps: Vec<Open>,
}

/// The machine of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// `uname -r`.
    pub release: String,
    /// `uname -m`.
    pub machine: String,
    /// The Landlock ABI the rules are for.
    pub landlock_abi: u8,
    /// The user of the run.
    pub user: u32,
}

/// One permission and what holds it.
#[derive(Debug, Clone, Serialize)]
pub struct Layer {
    /// `files`, `network`, `programs`, `environment` or a limit.
    pub what: String,
    /// In words.
    pub held_by: String,
}

/// One gap.
#[derive(Debug, Clone, Serialize)]
pub struct Open {
    /// What is not held.
    pub what: String,
    /// Who holds it instead: `runner`, `nobody`, `refused`.
    pub held_by: String,
    /// The entry that caused it.
    pub origin: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, Default, Serialize)]
pub struct End {
    /// The exit code, unless a signal ended it.
    pub code: Option<u8>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether `--timeout` ended it.
    pub timed_out: bool,
    /// The limit that ended it.
    pub limit: Option<&'static str>,
    /// Who asked for that limit or time.
    pub by: Option<String>,
    /// Whether Stockade failed and ended it.
    pub failed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Denied {
    action: &'static str,
    object: String,
    reason: String,
    fix: Option<String>,
}

#[derive(Debug, Default)]
struct Peer {
    connections: u64,
    /// One for each connection that a relay carries; none when some are not counted.
    traffic: Option<Vec<Rc<Traffic>>>,
}

/// Collects what a report tells.
#[derive(Debug, Default)]
pub struct Report {
    denied: BTreeMap<Denied, u64>,
    peers: BTreeMap<(String, u16), Peer>,
    denials: u64,
    connections: u64,
}

#[derive(Serialize)]
struct DeniedLine<'r> {
    action: &'static str,
    object: &'r str,
    reason: &'r str,
    allow_with: Option<&'r str>,
    count: u64,
}

#[derive(Serialize)]
struct PeerLine<'r> {
    name: &'r str,
    port: u16,
    connections: u64,
    /// Unknown where the program's own socket was connected.
    sent: Option<u64>,
    received: Option<u64>,
}

#[derive(Serialize)]
struct Whole<'r> {
    version: u32,
    #[serde(flatten)]
    run: &'r Run,
    ending: &'r End,
    denials: u64,
    denied: Vec<DeniedLine<'r>>,
    connections: u64,
    contacted: Vec<PeerLine<'r>>,
}

impl Report {
    /// Takes one denial.
    pub fn denied(&mut self, event: &Event) {
        self.denials = self.denials.saturating_add(1);
        let kind = Denied {
            action: event.action.name(),
            object: object(event),
            reason: printable(&event.reason),
            fix: event.allow_with.as_deref().map(printable),
        };
        if self.denied.len() < REMEMBERED || self.denied.contains_key(&kind) {
            *self.denied.entry(kind).or_default() += 1;
        }
    }

    /// Takes one granted connection.
    pub fn contacted(&mut self, contact: Contact) {
        self.connections = self.connections.saturating_add(1);
        let name = match contact.names.first() {
            Some(name) => printable(name),
            None => contact.address.to_string(),
        };
        let key = (name, contact.port);
        if self.peers.len() >= REMEMBERED && !self.peers.contains_key(&key) {
            return;
        }
        let peer = self.peers.entry(key).or_insert_with(|| Peer {
            connections: 0,
            traffic: Some(Vec::new()),
        });
        peer.connections = peer.connections.saturating_add(1);
        match (contact.traffic, &mut peer.traffic) {
            (Some(traffic), Some(all)) => add(all, traffic),
            _ => peer.traffic = None,
        }
    }

    /// The report as JSON.
    ///
    /// # Errors
    /// When it cannot be serialised, which none is known to do.
    pub fn json(&self, run: &Run, ending: &End) -> serde_json::Result<String> {
        let whole = Whole {
            version: VERSION,
            run,
            ending,
            denials: self.denials,
            denied: self.denied_lines().collect(),
            connections: self.connections,
            contacted: self.peer_lines().collect(),
        };
        Ok(serde_json::to_string_pretty(&whole)? + "\n")
    }

    fn denied_lines(&self) -> impl Iterator<Item = DeniedLine<'_>> {
        self.denied.iter().map(|(kind, count)| DeniedLine {
            action: kind.action,
            object: &kind.object,
            reason: &kind.reason,
            allow_with: kind.fix.as_deref(),
            count: *count,
        })
    }

    fn peer_lines(&self) -> impl Iterator<Item = PeerLine<'_>> {
        self.peers.iter().map(|((name, port), peer)| {
            let sum = |part: fn(&Traffic) -> u64| {
                let all = peer.traffic.as_ref()?;
                Some(all.iter().map(|one| part(one)).sum())
            };
            PeerLine {
                name,
                port: *port,
                connections: peer.connections,
                sent: sum(|traffic| traffic.sent.get()),
                received: sum(|traffic| traffic.received.get()),
            }
        })
    }

    /// The report as Markdown.
    pub fn markdown(&self, run: &Run, ending: &End) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_markdown(&mut text, run, ending);
        text
    }

    fn write_markdown(&self, out: &mut String, run: &Run, ending: &End) -> std::fmt::Result {
        writeln!(out, "## Stockade: {}\n", ending.words())?;
        writeln!(out, "{}\n", code(&run.command.join(" ")))?;
        writeln!(out, "### Denied: {}\n", self.denials)?;
        if !self.denied.is_empty() {
            writeln!(
                out,
                "| what | times | why | what would allow it |\n|---|---|---|---|"
            )?;
        }
        for line in self.denied_lines() {
            let fix = line.allow_with.map_or_else(|| "nothing".to_owned(), code);
            writeln!(
                out,
                "| {} {} | {} | {} | {fix} |",
                line.action,
                code(line.object),
                line.count,
                code(line.reason),
            )?;
        }
        writeln!(out, "\n### Contacted: {}\n", self.connections)?;
        if !self.peers.is_empty() {
            writeln!(
                out,
                "| peer | connections | sent | received |\n|---|---|---|---|"
            )?;
        }
        for line in self.peer_lines() {
            let bytes = |count: Option<u64>| {
                count.map_or_else(|| "unknown".to_owned(), |count| format!("{count} bytes"))
            };
            let peer = code(&format!("{}:{}", line.name, line.port));
            let (sent, received) = (bytes(line.sent), bytes(line.received));
            writeln!(
                out,
                "| {peer} | {} | {sent} | {received} |",
                line.connections
            )?;
        }
        writeln!(out, "\n### Held by\n\n| what | by |\n|---|---|")?;
        for layer in &run.layers {
            writeln!(out, "| {} | {} |", cell(&layer.what), cell(&layer.held_by))?;
        }
        writeln!(
            out,
            "\n<details><summary>Not held: {}</summary>\n",
            run.gaps.len()
        )?;
        for gap in &run.gaps {
            writeln!(out, "* {}: {}", gap.held_by, cell(&gap.what))?;
        }
        writeln!(out, "\n</details>\n")?;
        let Machine {
            release,
            machine,
            landlock_abi,
            user,
        } = &run.host;
        writeln!(
            out,
            "Stockade {}, Linux {} {}, Landlock ABI {landlock_abi}, user {user}, policy {}",
            run.stockade,
            cell(release),
            cell(machine),
            code(&run.policy_digest),
        )
    }

    /// GitHub's workflow commands, one for each kind of denial, the first ones alone.
    pub fn annotations(&self) -> impl Iterator<Item = String> {
        self.denied_lines().take(ANNOTATIONS).map(|line| {
            let mut text = format!("{} {}: {}", line.action, line.object, line.reason);
            if let Some(fix) = line.allow_with {
                text.push_str(&format!("; {fix} would allow it"));
            }
            let text = text.replace('%', "%25");
            format!("::warning title=Denied by Stockade::{text}")
        })
    }
}

/// GitHub shows ten for each step.
const ANNOTATIONS: usize = 10;

/// Ended connections become one sum, so that a busy program costs no memory.
fn add(all: &mut Vec<Rc<Traffic>>, traffic: Rc<Traffic>) {
    if all.len() >= 64 {
        let sum = Traffic::default();
        all.retain(|one| {
            let ended = Rc::strong_count(one) == 1;
            if ended {
                sum.sent.set(sum.sent.get().saturating_add(one.sent.get()));
                sum.received
                    .set(sum.received.get().saturating_add(one.received.get()));
            }
            !ended
        });
        all.push(Rc::new(sum));
    }
    all.push(traffic);
}

impl End {
    fn by(&self) -> String {
        code(self.by.as_deref().unwrap_or("Stockade"))
    }

    fn words(&self) -> String {
        match (
            self.failed,
            self.timed_out,
            self.limit,
            self.signal,
            self.code,
        ) {
            (true, ..) => "Stockade failed, the run was ended".to_owned(),
            (_, true, ..) => format!("its time was over, by {}", self.by()),
            (_, _, Some(limit), ..) => format!("ended by the limit `{limit}`, by {}", self.by()),
            (_, _, _, Some(signal), _) => format!("ended by signal {signal}"),
            (_, _, _, _, Some(code)) => format!("exit code {code}"),
            _ => "not started".to_owned(),
        }
    }
}

/// Text as code in a table's cell.
fn code(text: &str) -> String {
    format!("`{}`", printable(text).replace('`', "'").replace('|', "¦"))
}

/// Text in a table's cell.
fn cell(text: &str) -> String {
    printable(text)
        .replace('|', "¦")
        .replace('<', "&lt;")
        .replace("](", "] (")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::audit::tests::event;

    fn run() -> Run {
        Run {
            stockade: "1.2.3",
            command: vec!["deno".to_owned(), "run".to_owned(), "a`|.ts".to_owned()],
            policy_digest: "00ff".to_owned(),
            host: Machine {
                release: "6.18".to_owned(),
                machine: "x86_64".to_owned(),
                landlock_abi: 7,
                user: 5,
            },
            layers: vec![Layer {
                what: "files".to_owned(),
                held_by: "Landlock".to_owned(),
            }],
            gaps: vec![Open {
                what: "names <b>".to_owned(),
                held_by: "runner".to_owned(),
                origin: None,
            }],
        }
    }

    fn contact(name: &str, traffic: Option<(u64, u64)>) -> Contact {
        Contact {
            names: vec![name.to_owned()],
            address: [203, 0, 113, 7].into(),
            port: 443,
            traffic: traffic.map(|(sent, received)| {
                let traffic = Traffic::default();
                traffic.sent.set(sent);
                traffic.received.set(received);
                Rc::new(traffic)
            }),
        }
    }

    fn ended() -> End {
        End {
            code: Some(1),
            ..End::default()
        }
    }

    #[test]
    fn the_same_denials_and_peers_are_one_line() {
        let mut report = Report::default();
        for _ in 0..3 {
            report.denied(&event());
        }
        for _ in 0..200 {
            report.contacted(contact("api.x", Some((2, 3))));
        }
        report.contacted(contact("db.x", None));
        report.contacted(contact("db.x", Some((2, 3))));
        let value: Value = serde_json::from_str(&report.json(&run(), &ended()).unwrap()).unwrap();
        assert_eq!(value["denials"], 3);
        assert_eq!(value["denied"][0]["count"], 3);
        assert_eq!(value["denied"][0]["allow_with"], "--allow-net=api.x:443");
        assert_eq!(value["contacted"][0]["sent"], 400);
        assert_eq!(value["contacted"][0]["received"], 600);
        assert_eq!(value["contacted"][0]["connections"], 200);
        // Nobody counted one of them.
        assert_eq!(value["contacted"][1]["sent"], Value::Null);
        let text = report.markdown(&run(), &ended());
        assert!(
            text.contains("| connect `api.x:443 (203.0.113.7)` | 3 |"),
            "{text}"
        );
        assert!(
            text.contains("| `db.x:443` | 2 | unknown | unknown |"),
            "{text}"
        );
        assert!(text.starts_with("## Stockade: exit code 1\n\n`deno run a'¦.ts`\n"));
        assert!(text.contains("names &lt;b>"));
    }

    #[test]
    fn what_programs_choose_is_no_markup() {
        let mut report = Report::default();
        let mut hostile = event();
        hostile.names = vec!["a`|\n::error::x\u{202e}".to_owned()];
        report.denied(&hostile);
        let text = report.markdown(&run(), &ended());
        assert!(
            !text.contains("\n::error") && !text.contains('\u{202e}'),
            "{text}"
        );
        let annotations: Vec<String> = report.annotations().collect();
        assert_eq!(annotations.len(), 1);
        assert!(!annotations[0].contains('\n'));
    }

    #[test]
    fn memory_is_bounded() {
        let mut report = Report::default();
        for number in 0..3000 {
            let mut one = event();
            one.names = vec![format!("n{number}.test")];
            report.denied(&one);
            report.contacted(contact(&format!("n{number}.test"), None));
        }
        assert_eq!(
            (report.denied.len(), report.peers.len()),
            (REMEMBERED, REMEMBERED)
        );
        assert_eq!((report.denials, report.connections), (3000, 3000));
        assert_eq!(report.annotations().count(), ANNOTATIONS);
    }

    #[test]
    fn the_schema_names_every_key() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let mut report = Report::default();
        report.denied(&event());
        report.contacted(contact("a.x", None));
        let value: Value = serde_json::from_str(&report.json(&run(), &ended()).unwrap()).unwrap();
        fn check(schema: &Value, value: &Value, at: &str) {
            match value {
                Value::Object(object) => {
                    let properties = schema["properties"].as_object().expect(at);
                    let (has, says): (BTreeSet<_>, BTreeSet<_>) =
                        (object.keys().collect(), properties.keys().collect());
                    assert_eq!(has, says, "{at}");
                    assert_eq!(schema["additionalProperties"], Value::Bool(false), "{at}");
                    for (key, value) in object {
                        check(&properties[key], value, key);
                    }
                }
                Value::Array(items) => {
                    items
                        .iter()
                        .for_each(|item| check(&schema["items"], item, at));
                }
                _ => assert!(
                    schema["type"].is_string() || schema["type"].is_array(),
                    "{at}"
                ),
            }
        }
        check(&schema, &value, "report");
        assert_eq!(schema["properties"]["version"]["const"], VERSION);
    }
}
