// SPDX-License-Identifier: MIT
//! The table of flags, row by row: each is read in every form it has, and by no command without it.

use super::*;

/// A value that every flag which takes one accepts.
fn sample(row: &FlagRow) -> &'static str {
    if let Accepts::OneOf(values) = row.accepts {
        return values[0];
    }
    match row.long {
        "allow-sys" | "deny-sys" => "uid",
        "check" => "all",
        "no-check" => "remote",
        "why" => "read:/x",
        "allow-private" => "a.test",
        "verify" => "a.test=sni",
        "dns" => "192.0.2.1",
        "upstream-proxy" => "http://a.test:1",
        "memory" => "1m",
        "report" => "report.md",
        "keep-fd" => "3",
        _ => "1",
    }
}

#[test]
fn every_row_is_read_in_every_form() {
    for row in all_rows() {
        let all_commands = ["run", "serve", "eval", "explain", "doctor"];
        for command in all_commands {
            let known = row.commands.names().any(|name| name == command)
                || (command == "explain" && row.commands.intersects(Commands::RUN));
            let mut forms = Vec::new();
            for name in std::iter::once(&row.long).chain(row.aliases) {
                if row.value != ValueForm::Required {
                    forms.push(format!("--{name}"));
                }
                if row.value == ValueForm::Required {
                    forms.push(format!("--{name} {}", sample(row)));
                }
                if row.value != ValueForm::None {
                    forms.push(format!("--{name}={}", sample(row)));
                }
            }
            if let Some(short) = row.short {
                forms.push(match row.value {
                    ValueForm::Required => format!("-{short}{}", sample(row)),
                    ValueForm::None | ValueForm::Optional => format!("-{short}"),
                });
            }
            let subject = if command == "doctor" { "" } else { "x.ts" };
            // Settings for hosts that nothing grants are refused.
            let granted = ["verify", "allow-private"].contains(&row.long) && command != "doctor";
            for form in forms {
                let form = if granted {
                    format!("-N=a.test {form}")
                } else {
                    form
                };
                check_row(row, command, known, &format!("{command} {form} {subject}"));
            }
        }
    }
}

fn check_row(row: &FlagRow, command: &str, known: bool, line: &str) {
    let result = parse_line(line);
    if !known {
        assert!(
            matches!(result, Err(ArgumentError::OtherCommand { .. })),
            "{line}: {result:?}"
        );
        return;
    }
    match row.decision {
        Decision::NotYet => assert!(
            matches!(result, Err(ArgumentError::NotYet { .. })),
            "{line}"
        ),
        Decision::Refused => {
            assert!(
                matches!(result, Err(ArgumentError::Refused { .. })),
                "{line}"
            );
        }
        Decision::NeedsNet => {
            assert!(
                matches!(result, Err(ArgumentError::NeedsNet { .. })),
                "{line}"
            );
        }
        Decision::Handled(Handler::Help) => {
            assert!(matches!(result, Ok(Invocation::Help(_))), "{line}");
        }
        Decision::Handled(Handler::Version) => {
            assert!(matches!(result, Ok(Invocation::Version(_))), "{line}");
        }
        _ if command == "doctor" => assert!(result.is_ok(), "{line}: {result:?}"),
        decision => {
            let (changed, script) = match result {
                Ok(Invocation::Run(run)) => (*run != plain(command), run.script),
                Ok(Invocation::Explain(explain)) => (
                    explain.json || explain.why.is_some() || explain.run != plain("run"),
                    explain.run.script,
                ),
                other => panic!("{line}: {other:?}"),
            };
            assert_eq!(
                script.as_deref(),
                Some("x.ts"),
                "{line} swallowed the script"
            );
            // An empty list of what is left out changes nothing.
            let same = decision == Decision::Always
                || line.contains("--watch-exclude ")
                || line.contains("--ignore ");
            assert_eq!(changed, !same, "{line}");
        }
    }
}

fn plain(command: &str) -> RunArguments {
    run(&format!("{command} x.ts"))
}

#[test]
fn every_flag_of_deno_is_in_one_command_of_deno() {
    for row in rows() {
        assert!(
            row.commands
                .intersects(Commands::PROGRAMS.or(Commands::TEST).or(Commands::CHECK)),
            "--{}",
            row.long
        );
    }
}

proptest! {
    #[test]
    fn no_line_panics(arguments in proptest::collection::vec("-{0,2}[RWNAPcLhq=/a.:,-]{0,8}|run|serve|eval|explain|doctor|--seed|.{0,6}", 0..6)) {
        let _ = parse(arguments.into_iter().map(OsString::from));
    }

    #[test]
    fn whatever_stands_behind_the_script_is_untouched(behind in proptest::collection::vec(".{0,8}", 0..5)) {
        let line = ["run", "-R", "x.ts"].into_iter().map(OsString::from);
        let parsed = parse(line.chain(behind.iter().map(OsString::from)));
        match parsed {
            Ok(Invocation::Run(run)) => prop_assert_eq!(run.script_arguments, behind),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
