// SPDX-License-Identifier: MIT
//! A task that watches: the mission's `dev`.

use super::{task, with_configuration};
use crate::support_life::assert_ends;
use crate::watching::Watching;

#[test]
fn the_missions_dev_task_starts_again_after_a_change() {
    let project = with_configuration(
        r#"{"tasks": {"dev": "deno run --watch --allow-net --allow-env src/main.ts"}}"#,
    )
    .file(
        "src/main.ts",
        "import { text } from './text.ts'; console.log('said', text, Deno.env.get('OPENAI_API_KEY')); setInterval(() => {}, 1000);",
    )
    .file("src/text.ts", "export const text = 'one';");
    let launch = task(&project, &["dev"]).env("OPENAI_API_KEY", "sk-1");
    let watching = Watching::start(&project, launch);
    let at = watching.until(0, "said one sk-1");
    project.write(
        "src/text.ts",
        "export let text = 'two'; try { Deno.readTextFileSync('/etc/passwd'); text = 'read'; } catch { }",
    );
    watching.until(at, "said two sk-1");
    let pid = watching.pid();
    drop(watching);
    assert_ends(i32::try_from(pid).unwrap(), "the task");
}
