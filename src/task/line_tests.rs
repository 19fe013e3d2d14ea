// SPDX-License-Identifier: MIT
//! Lines that are read, and lines that are refused.

use super::*;

/// A reader that knows `run [-flags] SCRIPT`.
fn read(words: &[String]) -> Result<Meaning, Misread> {
    if words.first().map(String::as_str) != Some("run") {
        return Err(Misread::Refused {
            why: "not run".to_owned(),
            hint: None,
        });
    }
    let script = words
        .iter()
        .skip(1)
        .position(|word| !word.starts_with('-'))
        .ok_or_else(|| Misread::Incomplete {
            what: "no script".to_owned(),
        })?;
    let taken = script + 2;
    Ok(Meaning {
        arguments: words[..taken].to_vec(),
        taken,
        reads_on: false,
    })
}

fn parse(text: &str) -> Result<Line, LineError> {
    Line::parse(text, &read)
}

fn words(line: &Line) -> Vec<String> {
    line.siblings
        .iter()
        .map(|sibling| sibling.words.join(" "))
        .collect()
}

#[test]
fn names_are_collected_everywhere() {
    let line = parse(
        "A=$X git status | grep \"$Y\" > out.txt && (make -C \"$(pwd)\" & cd sub); \
         export Z=$(./tool.sh 2>&1) || ! xargs -0 -d x tar x",
    )
    .unwrap();
    let programs: Vec<_> = line.programs.iter().map(String::as_str).collect();
    assert_eq!(programs, ["./tool.sh", "git", "grep", "make", "tar"]);
    let variables: Vec<_> = line.variables.iter().map(String::as_str).collect();
    assert_eq!(variables, ["X", "Y"]);
    assert!(line.writes && line.changes_directory);
    let quiet = parse("cat a | head -2 > /dev/null; echo $? ~").unwrap();
    assert!(!quiet.writes && !quiet.changes_directory && quiet.programs.is_empty());
    assert_eq!(quiet.variables.len(), 1, "only HOME, for `~`");
    assert!(parse("cp a b").unwrap().writes);
    assert!(parse("echo x >> log").unwrap().writes);
}

#[test]
fn siblings_are_found_everywhere() {
    let line = parse(
        "deno run -R a.ts $X && echo $(deno run b.ts \"$(deno run c.ts)\") | xargs -0 stockade run \
         '--allow-net=x y' d.ts & (A=1 deno run -N={e,f} e.ts)",
    );
    assert!(
        matches!(line, Err(LineError::Expansion { .. })),
        "braces: {line:?}"
    );
    let line = parse(
        "deno run -R a.ts $X && echo $(deno run b.ts \"$(deno run c.ts)\") | xargs -0 stockade run \
         '--allow-net=x y' d.ts & (A=1 deno run --allow-env=AWS_* e.ts *.txt)",
    )
    .unwrap();
    assert_eq!(
        words(&line),
        [
            "run -R a.ts",
            "run c.ts",
            "run b.ts",
            "run --allow-net=x y d.ts",
            "run --allow-env=AWS_* e.ts",
        ]
    );
    assert!(line.programs.is_empty());
}

#[test]
fn nothing_is_expanded_before_a_script() {
    for (text, word) in [
        ("deno run $FLAGS a.ts", "$FLAGS"),
        ("deno run \"$FLAGS\" a.ts", "$FLAGS"),
        ("deno run -R $(echo a.ts)", "$(…)"),
        ("deno run -R ~/a.ts", "~/a.ts"),
        ("deno run {-A,a.ts}", "{-A,a.ts}"),
        ("deno run --allow-net=$HOST a.ts", "--allow-net=$HOST"),
        ("deno run -R *.ts", "*.ts"),
        ("deno $CMD a.ts", "$CMD"),
    ] {
        let error = parse(text).unwrap_err();
        let expansion = matches!(&error, LineError::Expansion { word: found, .. } if found == word);
        let refused = matches!(&error, LineError::Sibling { .. }) && text.starts_with("deno $");
        assert!(expansion || refused, "{text}: {error:?}");
        assert!(
            parse(&format!("echo 1 | (cat && echo $({text}))")).is_err(),
            "{text}"
        );
    }
    assert!(parse("deno run -R a.ts $FLAGS *.txt ~ $(ls)").is_ok());
    let missing = parse("find . | xargs deno run -A").unwrap_err();
    assert!(matches!(missing, LineError::Sibling { .. }), "{missing:?}");
}

#[test]
fn command_names_are_literal() {
    for text in [
        "$CMD x",
        "\"$A\"b",
        "$(echo rm) x",
        "*.sh",
        "'' x",
        "xargs $X",
        "{a,b}",
    ] {
        assert!(matches!(parse(text), Err(LineError::Name { .. })), "{text}");
    }
    assert!(parse("'git' sta\"tus\"").unwrap().programs.contains("git"));
}

#[test]
fn npm_scripts_are_tasks() {
    let line = parse("npm run build $X && npm ci && npm run --workspaces x").unwrap();
    assert_eq!(words(&line), ["run build"]);
    assert_eq!(line.siblings[0].meaning.arguments, ["task", "build"]);
    assert!(line.programs.contains("npm"));
    assert!(parse("npm run $X").is_err());
}

#[test]
fn a_command_is_the_sibling_it_begins_with() {
    let line = parse("deno run -R a.ts; deno run a.ts b; deno run -R a.ts b").unwrap();
    let found = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        line.sibling("deno", &words).map(|(index, _)| index)
    };
    assert_eq!(found(&["run", "a.ts", "z"]), Some(1));
    assert!(matches!(found(&["run", "-R", "a.ts"]), Some(0 | 2)));
    assert_eq!(found(&["run", "-A", "a.ts"]), None);
    assert_eq!(found(&["run"]), None);
    assert_eq!(
        line.sibling("stockade", &["run".into(), "a.ts".into()]),
        None
    );
}

#[test]
fn arguments_are_quoted() {
    let arguments = ["x".to_owned(), "it's $HOME".to_owned()];
    assert_eq!(
        with_arguments("echo", &arguments),
        r#"echo 'x' 'it'"'"'s $HOME'"#
    );
    let line = parse(&with_arguments("deno run a.ts", &arguments)).unwrap();
    assert!(line.variables.is_empty());
    assert_eq!(with_arguments(" ls ", &[]), "ls");
}

#[test]
fn syntax_errors_say_where() {
    for text in ["echo 'x", "&& x", "a | | b", ""] {
        let error = parse(text).unwrap_err();
        assert!(
            matches!(error, LineError::Syntax { .. }),
            "{text}: {error:?}"
        );
    }
}
