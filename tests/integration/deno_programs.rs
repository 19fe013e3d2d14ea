// SPDX-License-Identifier: MIT
//! Real Deno programs behave under Stockade as under bare Deno: same output, same exit.

use crate::support::{Project, compile, runner};

/// Runs the same arguments in both, in fresh directories with the same files, and compares exit
/// and output.
fn compare(files: &[(&str, &str)], arguments: &[&str], input: &[u8]) -> crate::support::Outcome {
    let project = || {
        files
            .iter()
            .fold(Project::new(), |project, (name, content)| {
                project.file(name, content)
            })
    };
    let (first, second) = (project(), project());
    let bare = first.bare(arguments).input(input).run();
    let confined = second.stockade(arguments).input(input).run();
    // Uncaught errors name the script by its address.
    let neutral = |outcome: &crate::support::Outcome, project: &Project| {
        let mut outcome = outcome.clone();
        let directory = project.directory().to_str().unwrap();
        outcome.stdout = outcome.stdout.replace(directory, "/project");
        outcome.stderr = outcome.stderr.replace(directory, "/project");
        outcome
    };
    let (bare, confined) = (neutral(&bare, &first), neutral(&confined, &second));
    confined.expect_same(&bare);
    confined
}

#[test]
fn modules_of_every_kind_load() {
    let files = [
        (
            "main.ts",
            "import { double, type Named } from './lib/double.ts';\nimport data from './data.json' with { type: 'json' };\nimport plain from './plain.js';\nimport path from 'node:path';\nconst named: Named = { name: 'n' };\nconst later = await import('./lib/later.ts');\nconsole.log(double(21), data.list.length, plain, path.basename(import.meta.url), named.name, later.default, import.meta.main);\n",
        ),
        (
            "lib/double.ts",
            "export interface Named { name: string }\nexport const double = (n: number): number => n * 2;\n",
        ),
        ("lib/later.ts", "export default 'later' as string;\n"),
        ("plain.js", "export default 'plain';\n"),
        ("data.json", "{ \"list\": [1, 2, 3] }"),
    ];
    let outcome = compare(&files, &["run", "main.ts"], b"");
    assert_eq!(outcome.stdout, "42 3 plain main.ts n later true\n");
}

#[test]
fn text_imports_work_with_a_read_grant() {
    let files = [
        (
            "main.ts",
            "import text from './note.txt' with { type: 'text' };\nconsole.log(text);\n",
        ),
        ("note.txt", "a note"),
    ];
    compare(&files, &["run", "--allow-read=note.txt", "main.ts"], b"").expect_output("a note\n");
}

#[test]
fn workers_run() {
    let files = [
        (
            "main.ts",
            "const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });\nworker.onmessage = (event) => { console.log('sum', event.data); worker.terminate(); };\nworker.postMessage([1, 2, 3]);\n",
        ),
        (
            "worker.ts",
            "self.onmessage = (event: MessageEvent<number[]>) => (self as unknown as Worker).postMessage(event.data.reduce((a, b) => a + b));\n",
        ),
    ];
    compare(&files, &["run", "--allow-read=.", "main.ts"], b"").expect_output("sum 6\n");
    let denied = compare(&files, &["run", "main.ts"], b"");
    denied
        .expect_code(1)
        .expect_error("Requires read access to");
}

#[test]
fn webassembly_runs() {
    let files = [(
        "main.ts",
        "const bytes = new Uint8Array([0,97,115,109,1,0,0,0,1,7,1,96,2,127,127,1,127,3,2,1,0,7,7,1,3,97,100,100,0,0,10,9,1,7,0,32,0,32,1,106,11]);\nconst { instance } = await WebAssembly.instantiate(bytes);\nconsole.log((instance.exports.add as (a: number, b: number) => number)(40, 2));\n",
    )];
    compare(&files, &["run", "main.ts"], b"").expect_output("42\n");
}

#[test]
fn foreign_functions_are_called() {
    let opened = "const library = Deno.dlopen(Deno.args[0], { add: { parameters: ['i32', 'i32'], result: 'i32' }, call: { parameters: ['function'], result: 'i32' } });\nconsole.log(library.symbols.add(40, 2));\n";
    let called = "const callback = new Deno.UnsafeCallback({ parameters: ['i32'], result: 'i32' }, (n: number) => n + 1);\nconsole.log(library.symbols.call(callback.pointer));\ncallback.close();\nlibrary.close();\n";
    let project = Project::new()
        .file("add.ts", opened)
        .file("call.ts", &format!("{opened}{called}"));
    let library = project.path("libadd.so");
    compile(
        "int add(int a, int b) { return a + b; }\nint call(int (*back)(int)) { return back(41) + 1; }\n",
        std::path::Path::new(&library),
        &["-shared", "-fPIC"],
    );
    let grant = format!("--allow-ffi={library}");
    // Callbacks need the bare grant, in Deno as well. It names no file: a read grant does.
    let read = format!("--allow-read={library}");
    for (arguments, output) in [
        (["run", &grant, &grant, "add.ts", &library], "42\n"),
        (
            ["run", "--allow-ffi", &read, "call.ts", &library],
            "42\n43\n",
        ),
    ] {
        let bare = project.bare(&arguments).run();
        bare.expect_output(output);
        project.stockade(&arguments).run().expect_same(&bare);
    }
    project
        .stockade(&["run", "--allow-ffi", "add.ts", &library])
        .run()
        .expect_code(1)
        .expect_error("Could not open library");
    let refused = project.stockade(&["run", "add.ts", &library]).run();
    refused.expect_same(&project.bare(&["run", "add.ts", &library]).run());
    refused
        .expect_code(1)
        .expect_error("NotCapable: Requires ffi access");
}

#[test]
fn nodes_file_api_works() {
    let files = [
        (
            "main.mjs",
            "import fs from 'node:fs';\nimport { readFile, writeFile, mkdir, rm, readdir } from 'node:fs/promises';\nfs.writeFileSync('box/a.txt', 'sync');\nawait mkdir('box/deep/er', { recursive: true });\nawait writeFile('box/deep/er/b.txt', 'async');\nfs.renameSync('box/a.txt', 'box/deep/a.txt');\nfs.writeSync(fs.openSync('box/deep/a.txt', 'a'), '+');\nconsole.log(fs.readFileSync('box/deep/a.txt', 'utf8'), await readFile('box/deep/er/b.txt', 'utf8'));\nconsole.log(await readdir('box/deep'), fs.existsSync('box/a.txt'), fs.statSync('box/deep').isDirectory());\nawait rm('box/deep', { recursive: true });\nconst stream = fs.createWriteStream('box/stream.txt');\nstream.end('streamed', () => console.log(fs.readFileSync('box/stream.txt', 'utf8')));\ntry { fs.readFileSync('/etc/hostname'); } catch (error) { console.log(error.name); }\n",
        ),
        ("box/keep", ""),
    ];
    let outcome = compare(
        &files,
        &["run", "--allow-read=box", "--allow-write=box", "main.mjs"],
        b"",
    );
    assert!(
        outcome.stdout.starts_with("sync+ async\n"),
        "{}",
        outcome.stdout
    );
}

#[test]
fn child_processes_run() {
    let files = [
        (
            "node.mjs",
            "import { execFileSync, spawn, exec } from 'node:child_process';\nconsole.log(execFileSync('sh', ['-c', 'echo sync']).toString().trim());\nconst child = spawn('cat');\nchild.stdout.on('data', (data) => console.log(String(data)));\nchild.on('close', (code) => { console.log('closed', code); exec('exit 7', (error) => console.log('shell', error.code)); });\nchild.stdin.end('piped');\n",
        ),
        (
            "deno.ts",
            "const child = new Deno.Command('sh', { args: ['-c', 'cat; echo err >&2; exit 3'], stdin: 'piped', stdout: 'piped', stderr: 'piped' }).spawn();\nconst writer = child.stdin.getWriter();\nawait writer.write(new TextEncoder().encode('through'));\nawait writer.close();\nconst { code, stdout, stderr } = await child.output();\nconst text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);\nconsole.log(code, text(stdout), text(stderr));\nconst sleeper = new Deno.Command('sleep', { args: ['600'] }).spawn();\nsleeper.kill('SIGTERM');\nconsole.log((await sleeper.status).signal);\n",
        ),
    ];
    // node:child_process asks for the whole environment first, so both take `--allow-env`.
    compare(
        &files,
        &["run", "--allow-run", "--allow-env", "node.mjs"],
        b"",
    )
    .expect_output("sync\npiped\nclosed 0\nshell 7\n");
    compare(&files, &["run", "--allow-run", "deno.ts"], b"")
        .expect_output("3 through err\n\nSIGTERM\n");
    compare(&files, &["run", "--allow-run=sh,cat,sleep", "deno.ts"], b"").expect_success();
}

#[test]
fn servers_serve() {
    let files = [
        (
            "main.ts",
            "const server = Deno.serve({ port: 0, onListen() {} }, async (request) => new Response((await request.text()).toUpperCase(), { headers: { 'x-path': new URL(request.url).pathname } }));\nconst response = await fetch(`http://127.0.0.1:${server.addr.port}/deep/path`, { method: 'POST', body: 'shout' });\nconsole.log(response.status, response.headers.get('x-path'), await response.text());\nawait server.shutdown();\n",
        ),
        (
            "node.mjs",
            "import http from 'node:http';\nconst server = http.createServer((request, response) => response.end('node ' + request.url));\nserver.listen(0, async () => { console.log(await (await fetch(`http://localhost:${server.address().port}/x`)).text()); server.close(); });\n",
        ),
    ];
    compare(&files, &["run", "--allow-net", "main.ts"], b"")
        .expect_output("200 /deep/path SHOUT\n");
    compare(&files, &["run", "--allow-net", "node.mjs"], b"").expect_output("node /x\n");
}

#[test]
fn sqlite_works() {
    let files = [
        (
            "main.ts",
            "import { DatabaseSync } from 'node:sqlite';\nfor (const where of [':memory:', 'box/file.db']) {\n  const database = new DatabaseSync(where);\n  database.exec('create table t (k integer primary key, v text)');\n  const insert = database.prepare('insert into t (v) values (?)');\n  for (const v of ['a', 'b', 'c']) insert.run(v);\n  console.log(where, database.prepare('select count(*) as n, max(v) as m from t').get());\n  database.close();\n}\n",
        ),
        ("box/keep", ""),
    ];
    let outcome = compare(
        &files,
        &["run", "--allow-read=box", "--allow-write=box", "main.ts"],
        b"",
    );
    outcome.expect_success();
    assert_eq!(outcome.stdout.lines().count(), 2);
}

#[test]
fn standard_input_comes_in() {
    let files = [(
        "main.ts",
        "let bytes = 0;\nfor await (const chunk of Deno.stdin.readable) bytes += chunk.length;\nconsole.log(bytes);\nexport {};\n",
    )];
    compare(&files, &["run", "main.ts"], &vec![b'x'; 3_000_000]).expect_output("3000000\n");
    compare(&files, &["run", "main.ts"], b"").expect_output("0\n");
}

#[test]
fn fifty_megabytes_come_out() {
    let files = [(
        "main.ts",
        "const chunk = new TextEncoder().encode('0123456789abcdef'.repeat(65536));\nfor (let i = 0; i < 50; i++) { let done = 0; while (done < chunk.length) done += await Deno.stdout.write(chunk.subarray(done)); }\n",
    )];
    let project = Project::new().file(files[0].0, files[0].1);
    let confined = project.stockade(&["run", "main.ts"]).run();
    confined.expect_success();
    assert_eq!(confined.stdout.len(), 50 * 1024 * 1024);
    assert!(confined.stdout.ends_with("89abcdef"));
    // And through a waiter, from a child.
    let outcome = project
        .start(
            &["--allow-run=sh"],
            &[
                "sh",
                "-c",
                "i=0; while [ $i -lt 2000 ]; do echo 0123456789; i=$((i+1)); done",
            ],
        )
        .run();
    outcome.expect_success();
    assert_eq!(outcome.stdout.len(), 22_000);
}

#[test]
fn exits_are_the_programs_own() {
    for code in [0, 1, 3, 42, 124, 125, 126, 127, 255] {
        let script = format!("console.log('before'); Deno.exit({code});");
        compare(&[("main.ts", &script)], &["run", "main.ts"], b"").expect_code(code);
    }
    compare(
        &[(
            "main.ts",
            "process.exitCode = 9;\nimport process from 'node:process';\n",
        )],
        &["run", "main.ts"],
        b"",
    )
    .expect_code(9);
    // A waiter beside the program passes them on, too.
    for code in [0, 3, 125, 255] {
        let script = format!("console.log('before'); Deno.exit({code});");
        compare(
            &[("main.ts", &script)],
            &["run", "--allow-run=sh", "main.ts"],
            b"",
        )
        .expect_code(code);
    }
}

#[test]
fn uncaught_errors_read_the_same() {
    for script in [
        "throw new Error('thrown');\n",
        "const f = () => { throw new TypeError('deep'); };\nf();\n",
        "await Promise.reject(new Error('rejected', { cause: new Error('because') }));\n",
        "Promise.reject(new Error('unhandled'));\nawait new Promise(() => {});\n",
        "JSON.parse('{');\n",
        "const undefinedCall = undefined as unknown as () => void;\nundefinedCall();\n",
        "throw 'a string';\n",
        "await new Promise(() => {});\n",
        "console.error('to stderr'); console.log('to stdout');\n",
        "export const x = ;\n",
        "import './absent.ts';\n",
        "import 'no-such-package-mapped';\n",
    ] {
        for flags in [&["run"][..], &["run", "--allow-run=sh"]] {
            let mut arguments = flags.to_vec();
            arguments.push("main.ts");
            compare(&[("main.ts", script)], &arguments, b"");
        }
    }
}

#[test]
fn local_storage_lasts_per_program() {
    let count = "const seen = Number(localStorage.getItem('seen') ?? 0) + 1;\nlocalStorage.setItem('seen', String(seen));\nconsole.log(seen);\n";
    let project = Project::new().file("one.ts", count).file("two.ts", count);
    for expected in ["1\n", "2\n", "3\n"] {
        project
            .stockade(&["run", "one.ts"])
            .run()
            .expect_output(expected);
    }
    project
        .stockade(&["run", "two.ts"])
        .run()
        .expect_output("1\n");
    // An edit of the program keeps its data.
    project.write("one.ts", &format!("// edited\n{count}"));
    project
        .stockade(&["run", "one.ts"])
        .run()
        .expect_output("4\n");
    let other = Project::new().file("one.ts", count);
    other
        .stockade(&["run", "one.ts"])
        .run()
        .expect_output("1\n");
}

#[test]
fn evaluated_code_runs_confined() {
    let project = Project::new().file("note.txt", "note");
    let code = "const n: number = 21; console.log(n * 2, Deno.args.length); try { console.log(Deno.readTextFileSync('note.txt')); } catch (error) { console.log((error as Error).name); }";
    project
        .bare(&["eval", code])
        .run()
        .expect_output("42 0\nnote\n");
    project
        .stockade(&["eval", code])
        .run()
        .expect_output("42 0\nNotCapable\n");
    project
        .stockade(&["eval", "--allow-read=note.txt", code])
        .run()
        .expect_output("42 0\nnote\n");
    project
        .stockade(&["eval", "-p", "6 * 7"])
        .run()
        .expect_output("42\n");
    let network = "try { await Deno.connect({ port: 1 }); } catch (error) { console.log((error as Error).name); }";
    project
        .stockade(&["eval", network])
        .run()
        .expect_output("NotCapable\n");
}

#[test]
fn scripts_without_extension_run_by_their_first_line() {
    let project = Project::new();
    let body = "const word: string = 'typed';\nconsole.log(word, Deno.args);\n";
    project.write_program(
        "tool",
        &format!("#!/usr/bin/env -S deno run --ext=ts\n{body}"),
    );
    let bare = project
        .bare(&["run", "--ext=ts", "tool", "-x", "--allow-all"])
        .run();
    bare.expect_output("typed [ \"-x\", \"--allow-all\" ]\n");
    project
        .stockade(&["run", "--ext=ts", "tool", "-x", "--allow-all"])
        .run()
        .expect_same(&bare);
    // As an interpreter: the kernel starts Stockade for the script.
    project.write_program(
        "shebang",
        &format!(
            "#!{} run --ext=ts\n{body}",
            crate::support::stockade_binary().display()
        ),
    );
    // One argument is all `#!` passes without `env -S`.
    let directory = std::env::join_paths(
        [
            runner().parent().unwrap(),
            crate::support::stockade_binary().parent().unwrap(),
        ]
        .into_iter()
        .map(std::path::Path::to_path_buf)
        .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    )
    .unwrap();
    project.write_program(
        "shebang",
        &format!("#!/usr/bin/env -S stockade run --ext=ts\n{body}"),
    );
    project
        .launch(std::path::Path::new(&project.path("shebang")), &["arg"])
        .env("PATH", &directory)
        .run()
        .expect_output("typed [ \"arg\" ]\n");
    project.write("plain", "console.log('no line, no extension');\n");
    let bare = project.bare(&["run", "plain"]).run();
    project.stockade(&["run", "plain"]).run().expect_same(&bare);
}

#[test]
fn a_program_of_many_features_runs() {
    let files = [(
        "main.ts",
        "const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode('x'));\nconsole.log(new Uint8Array(digest)[0]);\nconsole.log(structuredClone({ a: [1, { b: 2 }] }));\nconst stream = new Blob(['squeezed']).stream().pipeThrough(new CompressionStream('gzip')).pipeThrough(new DecompressionStream('gzip'));\nconsole.log(await new Response(stream).text());\nsetTimeout(() => console.log('later'), 5);\nconst channel = new BroadcastChannel('c');\nchannel.close();\nconsole.log([...'ab'].length);\n",
    )];
    let outcome = compare(&files, &["run", "main.ts"], b"");
    assert!(
        outcome.stdout.contains("squeezed\n2\nlater\n"),
        "{}",
        outcome.stdout
    );
}

#[test]
fn a_script_from_standard_input_is_confined() {
    let project = Project::new().file("note.txt", "note");
    let script = b"const word: string = 'from stdin'; console.log(word, Deno.args); console.log(Deno.readTextFileSync('note.txt'));";
    let arguments = ["run", "--allow-read=note.txt", "-", "x"];
    let bare = project.bare(&arguments).input(script).run();
    bare.expect_output("from stdin [ \"x\" ]\nnote\n");
    project
        .stockade(&arguments)
        .input(script)
        .run()
        .expect_output(&bare.stdout);
    project
        .stockade(&["run", "-", "x"])
        .input(script)
        .run()
        .expect_code(1)
        .expect_error("NotCapable: Requires read access to \"note.txt\"");
}
