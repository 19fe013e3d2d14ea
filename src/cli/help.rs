// SPDX-License-Identifier: MIT
//! The help text, made by clap from the flag tables.
//!
//! Invariant: off the path of a run; building the commands costs more than everything else the
//! command line does.

use clap::builder::{StyledStr, ValueRange};
use clap::{Arg, ArgAction, Command};
use clap_mangen::Man;

use super::deno_flags::{
    Commands, Decision, FlagRow, Handler, ValueForm, all_rows, own_rows, rows,
};

/// The version line.
pub fn version() -> String {
    format!("stockade {}\n", env!("CARGO_PKG_VERSION"))
}

/// The text of `stockade --help`.
pub fn overview() -> String {
    rendered(command())
}

/// The text of `stockade COMMAND --help`; none for an unknown command.
pub fn of_command(name: &str) -> Option<String> {
    let mut root = command();
    root.build();
    root.find_subcommand(name).cloned().map(rendered)
}

/// The text of `stockade help man`: the man page, section 1, with the flags of `run`.
pub fn manual() -> String {
    let mut root = command();
    root.build();
    let run = root.find_subcommand("run").cloned().unwrap_or_default();
    let (page, options) = (Man::new(root), Man::new(run));
    let mut text = Vec::new();
    // Writing to memory cannot fail.
    let _ = page.render_title(&mut text);
    let _ = page.render_name_section(&mut text);
    let _ = page.render_synopsis_section(&mut text);
    let _ = page.render_description_section(&mut text);
    let _ = page.render_subcommands_section(&mut text);
    let _ = options.render_options_section(&mut text);
    let _ = page.render_extra_section(&mut text);
    let _ = page.render_version_section(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn rendered(mut command: Command) -> String {
    let text: StyledStr = command.render_help();
    text.to_string()
}

/// The whole command line as a clap command, for the help texts and the man page.
pub fn command() -> Command {
    let program = |name, about, commands, subject: &'static str, subject_help| {
        with_flags(Command::new(name).about(about), commands)
            .arg(
                Arg::new("subject")
                    .value_name(subject)
                    .required(true)
                    .help(subject_help),
            )
            .arg(arguments_of_program())
    };
    // A fixed width: the same arguments give the same text, whatever the terminal.
    Command::new("stockade").term_width(100)
        .about("Runs TypeScript programs under Deno's permission flags, enforced by the Linux kernel")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .after_help(
            "Without a command, a first argument that is a flag or looks like a path means `run`.\n\n\
             Exit codes: the program's own, or its signal; 123 when --output-size and 124 when \
             --timeout ended it; 125 when Stockade refused or failed and the program was never \
             started; 126 and 127 when the command of `exec` cannot be executed or was not found; 137 \
             when its supervisor failed later and the run was ended.\n\n\
             `stockade help man` prints the man page, `stockade help audit-schema` the JSON schema of \
             --audit.",
        )
        .subcommand(program(
            "run",
            "Run a program",
            Commands::RUN,
            "SCRIPT",
            "The script; `-` reads it from standard input",
        ))
        .subcommand(program(
            "serve",
            "Run a server, the default export of a module",
            Commands::SERVE,
            "SCRIPT",
            "The module",
        ))
        .subcommand(program("eval", "Run code given as argument", Commands::EVAL, "CODE", "The code"))
        .subcommand(with_files(
            "test",
            "Run tests: the named files, or those below the named or the current directory",
            Commands::TEST,
            "stockade test [FLAGS] [FILES]... [-- ARGUMENTS...]",
        ))
        .subcommand(with_files(
            "check",
            "Check the types of modules; nothing is run",
            Commands::CHECK,
            "stockade check [FLAGS] [FILES]...",
        ))
        .subcommand(with_files(
            "cache",
            "Download what modules need; nothing is run",
            Commands::CACHE,
            "stockade cache [FLAGS] FILES...",
        ))
        .subcommand(
            program(
                "exec",
                "Run any command: it may read the system, its libraries and the working directory, start \
                 programs, and write to a home and a TMPDIR of its own; everything else needs a grant",
                Commands::EXEC,
                "COMMAND",
                "The command, looked up in PATH unless there is a `/` in it",
            )
            .override_usage("stockade exec [FLAGS] [--] COMMAND [ARGUMENTS]..."),
        )
        .subcommand(
            with_flags(
                Command::new("task")
                    .about(
                        "Run a task of deno.json or a script of package.json: its line runs inside walls, and each \
                         `deno run` of it as a run of its own with the flags of the line",
                    )
                    .override_usage("stockade task [FLAGS] [TASK] [ARGUMENTS]..."),
                Commands::TASK,
            )
            .arg(Arg::new("subject").value_name("TASK").help("The task, `*` for any text; without one they are listed"))
            .arg(arguments_of_program()),
        )
        .subcommand(
            with_flags(
                Command::new("explain")
                    .about("Print what each rule becomes, which layer holds it, and what nobody holds")
                    .override_usage("stockade explain [--json] [--why=KIND:VALUE] [run|serve|eval|exec|task] [FLAGS] [SCRIPT] [ARGUMENTS]..."),
                Commands::RUN.or(Commands::EXPLAIN),
            )
            .arg(Arg::new("subject").value_name("SCRIPT").help("The script"))
            .arg(arguments_of_program()),
        )
        .subcommand(
            Command::new("policy")
                .about("Read policy files as code: check them, show what sources add up to, print the schema")
                .override_usage(
                    "stockade policy check FILE...\n       \
                     stockade policy show [--format=text|yaml|deno-json|json] [FLAGS OF run] [SCRIPT]\n       \
                     stockade policy schema",
                )
                .after_help(
                    "check reads policy files, presets and deno.json, and tells everything that is wrong; its \
                     code is 0 when nothing is, else 1. show prints what flags, -P and --policy grant and deny \
                     together, with the origin of every entry, or as a file that says the same. schema prints \
                     the JSON schema of policy files.",
                )
                .disable_help_flag(true)
                .disable_version_flag(true),
        )
        .subcommand(with_flags(
            Command::new("doctor").about("Print what this kernel can hold"),
            Commands::DOCTOR,
        ))
}

/// A command that takes files.
fn with_files(
    name: &'static str,
    about: &'static str,
    commands: Commands,
    usage: &'static str,
) -> Command {
    with_flags(Command::new(name).about(about), commands)
        .override_usage(usage)
        .arg(
            Arg::new("files")
                .value_name("FILES")
                .num_args(0..)
                .help("Files, directories or patterns"),
        )
}

fn arguments_of_program() -> Arg {
    Arg::new("arguments")
        .value_name("ARGUMENTS")
        .num_args(0..)
        .trailing_var_arg(true)
        .allow_hyphen_values(true)
        .help("Arguments of the program; flags behind the script belong to it")
}

/// Headings in the order they are printed.
const HEADINGS: [&str; 4] = ["Permissions", "Stockade", "Deno", "Deno, unstable"];

fn with_flags(command: Command, commands: Commands) -> Command {
    let command = command
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true);
    HEADINGS.into_iter().fold(command, |command, section| {
        let flags = all_rows().filter(|row| row.commands.intersects(commands));
        let flags = flags.filter(|row| heading(row) == section);
        flags.fold(command, |command, row| command.arg(argument(row)))
    })
}

fn heading(row: &FlagRow) -> &'static str {
    let [permissions, stockade, deno, unstable] = HEADINGS;
    if row.decision == Decision::Permission {
        permissions
    } else if own_rows().iter().any(|own| own.long == row.long) {
        stockade
    } else if row.long.starts_with("unstable") {
        unstable
    } else {
        deno
    }
}

fn value_name(row: &FlagRow) -> &'static str {
    match row.long.rsplit('-').next() {
        Some("read" | "write" | "ffi") => "PATHS",
        Some("net" | "import" | "private") => "HOSTS",
        Some("env") => "NAMES",
        Some("run") => "PROGRAMS",
        Some("sys") => "KINDS",
        Some("file" | "runner" | "config" | "map" | "cert" | "audit" | "report") => "FILE",
        Some("dns") => "ADDRESSES",
        Some("proxy") => "URL",
        Some("verify") => "HOST=CHECK",
        Some("cwd") => "DIRECTORY",
        Some("jobs") => "NUMBER",
        Some("timeout" | "time") => "DURATION",
        Some("memory" | "size") => "SIZE",
        Some("processes" | "files" | "fd") => "NUMBER",
        Some("uid" | "gid") => "ID",
        Some("why") => "KIND:VALUE",
        Some("set") => "NAME",
        Some("policy" | "ceiling") => "FILE",
        _ => "VALUE",
    }
}

fn argument(row: &'static FlagRow) -> Arg {
    let argument = Arg::new(row.long)
        .long(row.long)
        .aliases(row.aliases.iter().copied())
        .help(row.reason)
        .help_heading(heading(row))
        .hide(matches!(
            row.decision,
            Decision::Refused | Decision::NotYet | Decision::Ignored
        ));
    let argument = match row.short {
        Some(short) => argument.short(short),
        None => argument,
    };
    match (row.decision, row.value) {
        (Decision::Handled(Handler::Help), _) => argument.action(ArgAction::HelpLong),
        (Decision::Handled(Handler::Version), _) => argument.action(ArgAction::SetTrue),
        (_, ValueForm::None) => argument.action(ArgAction::SetTrue),
        (_, ValueForm::Optional) => argument
            .action(ArgAction::Append)
            .value_name(value_name(row))
            .num_args(ValueRange::new(0..=1))
            .require_equals(true),
        (_, ValueForm::Required) => argument
            .action(ArgAction::Append)
            .value_name(value_name(row)),
    }
}

/// The table of Deno's flags as markdown, for the documentation.
pub fn markdown_table() -> String {
    let mut text = String::from("| flag | commands | what happens | |\n|---|---|---|---|\n");
    for row in rows() {
        let short = row
            .short
            .map(|short| format!("`-{short}` "))
            .unwrap_or_default();
        let commands: Vec<_> = row
            .commands
            .names()
            .filter(|name| ["run", "serve", "eval"].contains(name))
            .collect();
        let commands = commands.join(", ");
        let line = format!(
            "| {short}`--{}` | {commands} | {} | {} |\n",
            row.long, row.decision, row.reason
        );
        text.push_str(&line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_visible_flag_is_in_the_help() {
        for (name, commands) in [
            ("run", Commands::RUN),
            ("serve", Commands::SERVE),
            ("eval", Commands::EVAL),
        ] {
            let text = of_command(name).unwrap();
            for row in all_rows().filter(|row| row.commands.intersects(commands)) {
                let hidden = matches!(
                    row.decision,
                    Decision::Refused | Decision::NotYet | Decision::Ignored
                );
                let shown = text.contains(&format!("--{}", row.long));
                assert!(shown || hidden, "{name} --help lacks --{}", row.long);
            }
        }
        assert!(of_command("nothing").is_none());
        assert!(overview().contains("doctor"));
        assert!(markdown_table().contains("| `-R` `--allow-read` | run, serve, eval | policy |"));
    }

    /// clap reads what the parser reads, where their grammars meet.
    #[test]
    fn clap_knows_the_same_flags() {
        for row in all_rows().filter(|row| row.commands.intersects(Commands::RUN)) {
            if matches!(
                row.decision,
                Decision::Handled(Handler::Help | Handler::Version)
            ) {
                continue;
            }
            let flag = match row.value {
                ValueForm::None | ValueForm::Optional => row.flag(),
                ValueForm::Required => format!("{}=1", row.flag()),
            };
            let parsed =
                command().try_get_matches_from(["stockade", "run", &flag, "x.ts", "--flag"]);
            assert!(parsed.is_ok(), "{flag}: {}", parsed.unwrap_err());
        }
    }
}
