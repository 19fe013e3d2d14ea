// SPDX-License-Identifier: MIT
//! The command line and the environment the confined program's Deno is started with.
//!
//! Invariant: pure. Nothing is downloaded, prompted for or written to the project by a Deno that is
//! started with these arguments, and its permissions are the Policy's, never more.

use std::path::Path;

use super::Version;
use super::permissions;
use super::prepare::{Modules, registry_variables};
use crate::plan::{Variable, VariableSource};
use crate::policy::{Origin, Policy};

/// Why the arguments cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgumentError {
    /// The runner is too old for a flag.
    #[error("`{flag}` needs Deno {needed} or newer; the runner is Deno {version}")]
    NeedsNewer {
        /// The flag, with its value where the value is what is new.
        flag: String,
        /// The first version that has it.
        needed: Version,
        /// The runner's version.
        version: Version,
    },
    /// Deno has no way to write this value.
    #[error("`{flag}={value}` cannot be passed to Deno {version}: {reason}")]
    NotExpressible {
        /// The flag.
        flag: &'static str,
        /// The value as typed.
        value: String,
        /// The runner's version.
        version: Version,
        /// What is in the way.
        reason: &'static str,
    },
    /// A path of our own is not UTF-8, and Deno's arguments and the Plan are text.
    #[error("the path `{path}` is not valid UTF-8")]
    NotText {
        /// The path, with replacement characters.
        path: String,
    },
}

impl ArgumentError {
    /// What would help.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NeedsNewer { needed, .. } => {
                format!("leave out --runner to use the embedded Deno, or give one from {needed} on")
            }
            Self::NotExpressible { flag, .. } if flag.ends_with("-net") => {
                "give the addresses one by one, or the whole flag without a list".to_owned()
            }
            Self::NotExpressible { flag, .. } if flag.ends_with("-sys") => {
                format!("leave it out, give `{flag}` without a list, or another Deno with --runner")
            }
            Self::NotExpressible { .. } => "grant the directory above it, or rename it".to_owned(),
            Self::NotText { .. } => "set STOCKADE_CACHE to a path in UTF-8".to_owned(),
        })
    }
}

/// What Deno is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program<'a> {
    /// `run SCRIPT`: the script as typed.
    Run(&'a str),
    /// `serve SCRIPT`.
    Serve(&'a str),
    /// `test FILES`: every file, so that the runner looks for none.
    Test(&'a [String]),
    /// `eval CODE`.
    Eval {
        /// The code.
        code: &'a str,
        /// Its language: `ts` (also none), `js`, `tsx`, `jsx`, by `--ext`.
        extension: Option<&'a str>,
        /// `--print`: the value of the code is printed.
        print: bool,
    },
}

/// Everything the command line is made from.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// What is run.
    pub program: Program<'a>,
    /// Deno's other flags, already checked against the table in `cli`.
    pub passed: &'a [String],
    /// The program's own arguments.
    pub arguments: &'a [String],
    /// The directory of the run: relative grants are compared in it.
    pub directory: &'a Path,
    /// Where the program's modules come from.
    pub modules: &'a Modules,
    /// Its cache of compiled code would be opened for nothing.
    pub idle_code_cache: bool,
    /// Variables that are not granted are undefined instead of forbidden.
    pub env_missing_undefined: bool,
}

/// Flags of every run. `--no-check` because checking is prepare's work.
const FIXED: [&str; 3] = ["--no-prompt", "--cached-only", "--no-check"];

/// Flags of a run of local files. `--cached-only` without a list of import hosts allows all of them
/// (Deno `cli/args`, `implicit_allow_import`), so `--no-remote` stands beside it; `--no-lock` because
/// the lock file would be written beside `deno.json`. `--node-modules-dir=manual` keeps Deno from
/// installing packages; `--no-npm` would also make it ignore `package.json`, whose
/// `"type": "commonjs"` decides how `.js` files are run.
const LOCAL: [&str; 3] = ["--no-remote", "--node-modules-dir=manual", "--no-lock"];

/// The flag for a run without a cache of compiled code.
pub const NO_CODE_CACHE: &str = "--no-code-cache";

/// Flags of a run with downloaded modules.
fn module_flags(policy: &Policy, modules: &Modules) -> Vec<String> {
    let Some(lock) = &modules.lock else {
        let mut flags: Vec<String> = LOCAL.map(str::to_owned).into();
        flags.retain(|flag| modules.imports.is_empty() || flag != "--no-remote");
        return flags;
    };
    let directory = if modules.node_modules {
        "manual"
    } else {
        "none"
    };
    let mut flags = vec![
        format!("--node-modules-dir={directory}"),
        format!("--lock={}", lock.display()),
        "--frozen".to_owned(),
    ];
    // The hosts of what is there: without a list `--cached-only` would allow every one.
    if modules.imports.is_empty() {
        flags.push("--no-remote".to_owned());
    } else if policy.all.is_none() && policy.import.allow.is_empty() {
        flags.push(format!("--allow-import={}", modules.imports.join(",")));
    }
    flags
}

/// Builds Deno's arguments, the zeroth included.
///
/// `eval` becomes `run` of a `data:` URL, since `deno eval` ignores permission flags and always
/// runs with all of them (seen in 2.9.6). Relative imports do not work there.
///
/// # Errors
/// The policy says something this version of Deno has no flag for.
pub fn build(
    policy: &Policy,
    version: Version,
    line: &Line<'_>,
) -> Result<Vec<String>, ArgumentError> {
    let (subcommand, entries) = match line.program {
        Program::Run(script) => ("run", vec![script.to_owned()]),
        Program::Serve(script) => ("serve", vec![script.to_owned()]),
        Program::Test(files) => ("test", files.to_vec()),
        Program::Eval {
            code,
            extension,
            print,
        } => ("run", vec![data_url(code, extension, print)]),
    };
    let mut arguments = vec!["deno".to_owned(), subcommand.to_owned()];
    arguments.extend(FIXED.map(str::to_owned));
    // Nobody lists what is loaded from a `node_modules`, and without a record of what was laid out there
    // nobody sees it change: code that a program had left in its cache for one of these files would run
    // after the file was mended. Tests have no such cache.
    let asked = line.passed.iter().any(|flag| flag == NO_CODE_CACHE);
    let unseen = line.modules.node_modules && !line.modules.recorded;
    let without = unseen || line.idle_code_cache;
    if without && !asked && !matches!(line.program, Program::Test(_)) {
        arguments.push(NO_CODE_CACHE.to_owned());
    }
    arguments.extend(module_flags(policy, line.modules));
    arguments.extend(permissions::render(policy, version, line.directory)?);
    let all = policy.all.is_some() || policy.env.allow.all.is_some();
    if line.env_missing_undefined && !all {
        arguments.push(permissions::missing_env(version)?);
    }
    arguments.extend(line.passed.iter().cloned());
    // A script whose name starts with a dash would be read as a flag.
    arguments.extend(
        entries
            .into_iter()
            .map(|entry| match entry.starts_with('-') {
                true => format!("./{entry}"),
                false => entry,
            }),
    );
    if matches!(line.program, Program::Test(_)) && !line.arguments.is_empty() {
        arguments.push("--".to_owned());
    }
    arguments.extend(line.arguments.iter().cloned());
    Ok(arguments)
}

/// The code of `eval` as an URL: everything but letters, digits and a few marks is percent-encoded.
pub fn data_url(code: &str, extension: Option<&str>, print: bool) -> String {
    use std::fmt::Write;
    let kind = match extension {
        Some("js" | "mjs" | "cjs") => "text/javascript",
        Some("jsx") => "text/jsx",
        Some("tsx") => "text/tsx",
        _ => "application/typescript",
    };
    let code = if print {
        format!("console.log({code})")
    } else {
        code.to_owned()
    };
    let mut url = format!("data:{kind},");
    for byte in code.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'();:@&=+$,/".contains(&byte) {
            url.push(char::from(byte));
        } else {
            // NOTE(unwrap): writing to a String cannot fail, so the result carries nothing.
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url
}

/// The variables the runner itself needs; `color` is false when the output is no terminal.
/// `registries` are those its packages came from.
///
/// # Errors
/// The directory is not UTF-8.
pub fn environment(
    deno_dir: &Path,
    registries: &[(String, String)],
    color: bool,
) -> Result<Vec<Variable>, ArgumentError> {
    let directory = deno_dir.to_str().ok_or_else(|| ArgumentError::NotText {
        path: deno_dir.to_string_lossy().into_owned(),
    })?;
    let variable = |name: &str, value: &str, reason: &'static str| Variable {
        name: name.to_owned(),
        source: VariableSource::Set(value.to_owned()),
        origin: Origin::Runner {
            reason: reason.into(),
        },
    };
    let mut variables = vec![
        variable(
            "DENO_DIR",
            directory,
            "the private directory of this program",
        ),
        variable("DENO_NO_PROMPT", "1", "nothing is prompted for"),
        variable(
            "DENO_NO_UPDATE_CHECK",
            "1",
            "Deno would connect to its update host",
        ),
    ];
    for (name, url) in registry_variables(registries) {
        variables.push(variable(&name, &url, "where its packages came from"));
    }
    if !color {
        variables.push(variable("NO_COLOR", "1", "the output is no terminal"));
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    static LOCAL_MODULES: Modules = Modules {
        lock: None,
        imports: Vec::new(),
        node_modules: false,
        recorded: false,
        registries: Vec::new(),
    };

    fn line<'a>(program: Program<'a>, passed: &'a [String], arguments: &'a [String]) -> Line<'a> {
        Line {
            program,
            passed,
            arguments,
            directory: Path::new("/w"),
            modules: &LOCAL_MODULES,
            idle_code_cache: false,
            env_missing_undefined: false,
        }
    }

    #[test]
    fn flags_stand_before_the_script_and_arguments_behind() {
        let (passed, arguments) = (["--seed=1".to_owned()], ["--allow-all".to_owned()]);
        let line = line(Program::Run("-x.ts"), &passed, &arguments);
        let built = build(&Policy::default(), Version::new(2, 9, 6), &line).unwrap();
        assert_eq!(
            built.join(" "),
            "deno run --no-prompt --cached-only --no-check --no-remote --node-modules-dir=manual --no-lock \
             --seed=1 ./-x.ts --allow-all"
        );
    }

    #[test]
    fn downloaded_modules_come_with_their_lock_and_their_hosts() {
        let modules = Modules {
            lock: Some("/c/l.lock".into()),
            imports: vec!["a.test:443".to_owned()],
            ..LOCAL_MODULES.clone()
        };
        let flags = |policy: &Policy| module_flags(policy, &modules).join(" ");
        assert_eq!(
            flags(&Policy::default()),
            "--node-modules-dir=none --lock=/c/l.lock --frozen --allow-import=a.test:443"
        );
        let all = Policy {
            all: Some(Origin::flag("--allow-all", None)),
            ..Policy::default()
        };
        assert!(!flags(&all).contains("import"));
    }

    #[test]
    fn eval_becomes_a_data_url() {
        let url = |code, extension, print| {
            let program = Program::Eval {
                code,
                extension,
                print,
            };
            build(
                &Policy::default(),
                Version::new(2, 9, 6),
                &line(program, &[], &[]),
            )
            .unwrap()
            .pop()
        };
        assert_eq!(
            url("1 + \"#%\"\n", None, false).unwrap(),
            "data:application/typescript,1%20+%20%22%23%25%22%0A"
        );
        assert_eq!(
            url("a", Some("js"), true).unwrap(),
            "data:text/javascript,console.log(a)"
        );
    }

    #[test]
    fn colour_is_for_terminals() {
        let names = |color| -> Vec<String> {
            environment(Path::new("/d"), &[], color)
                .unwrap()
                .into_iter()
                .map(|v| v.name)
                .collect()
        };
        assert_eq!(
            names(true),
            ["DENO_DIR", "DENO_NO_PROMPT", "DENO_NO_UPDATE_CHECK"]
        );
        assert_eq!(names(false).last().unwrap(), "NO_COLOR");
    }
}
