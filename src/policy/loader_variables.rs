// SPDX-License-Identifier: MIT
//! Environment variables that make a program load code, write files, trust others or change where
//! it connects before its first line runs.
//!
//! Invariant: a variable of this table reaches the target only when `--allow-env` names it
//! literally; neither a wildcard, nor the bare flag, nor `-A` is enough. The table is data: the
//! first matching row decides, and every row has its reason.

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoaderVariable {
    /// A name, or a prefix with `*` at its end.
    pub pattern: &'static str,
    /// What the variable does to a program.
    pub reason: &'static str,
}

const fn row(pattern: &'static str, reason: &'static str) -> LoaderVariable {
    LoaderVariable { pattern, reason }
}

/// Names that fall under a row below and are harmless: they pass like any other variable.
#[rustfmt::skip]
const EXCEPTIONS: &[LoaderVariable] = &[
    row("NODE_ENV", "a mode name which programs read; the runtime does not"),
];

// Proxy variables (HTTP_PROXY and its family) are not here on purpose: they execute nothing, and
// the peer they choose is judged by the net rules like every other. TMPDIR, HOME, EDITOR and PAGER
// are not here either: they name paths and programs that the read and run rules judge.
#[rustfmt::skip]
static LOADER_VARIABLES: &[LoaderVariable] = &[
    row("LD_*", "the dynamic loader loads libraries from it"),
    row("DYLD_*", "the dynamic loader of macOS binaries and its ports"),
    row("GLIBC_TUNABLES", "changes memory checks and loader behaviour of the C library"),
    row("GCONV_PATH", "the C library loads character set modules from it"),
    row("LOCPATH", "the C library maps locale data from it"),
    row("NLSPATH", "the C library takes format strings from it"),
    row("HOSTALIASES", "the resolver renames hosts by it"),
    row("LOCALDOMAIN", "the resolver appends it to names"),
    row("RES_OPTIONS", "changes how names are resolved"),
    row("MALLOC_*", "allocator debugging; writes traces"),
    row("DENO_*", "Deno's own switches: permission broker, V8 flags, audit files, sockets, caches"),
    row("V8_*", "runtime switches of the engine"),
    row("UV_*", "runtime switches of the event loop"),
    row("NODE_*", "options, module paths, certificates and channels of Node and of Deno's Node layer"),
    row("NPM_CONFIG_*", "registry, scripts and files of npm, read in either case"),
    row("JSR_URL", "where modules are downloaded from"),
    row("BUN_*", "options and preloads of Bun"),
    row("TS_NODE_*", "options and preloads of ts-node"),
    row("ELECTRON_RUN_AS_NODE", "turns Electron programs into Node"),
    row("OTEL_*", "sends traces, with request data, to the address it names"),
    row("SSLKEYLOGFILE", "TLS session keys are written to it"),
    row("SSL_CERT_FILE", "replaces the trusted certificates"),
    row("SSL_CERT_DIR", "replaces the trusted certificates"),
    row("OPENSSL_*", "configuration and engines that OpenSSL loads"),
    row("CURL_CA_BUNDLE", "replaces the trusted certificates"),
    row("CURL_HOME", "curl takes its options from it"),
    row("REQUESTS_CA_BUNDLE", "replaces the trusted certificates"),
    row("BASH_ENV", "bash executes it at start"),
    row("BASH_FUNC_*", "function definitions that bash imports"),
    row("BASHOPTS", "shell options for every bash"),
    row("ENV", "sh executes it at start"),
    row("PROMPT_COMMAND", "bash executes it"),
    row("PS4", "expanded, commands included, by tracing shells"),
    row("SHELLOPTS", "shell options for every bash"),
    row("ZDOTDIR", "zsh executes its start files from it"),
    row("PYTHONBREAKPOINT", "Python imports and calls it"),
    row("PYTHONEXECUTABLE", "changes where Python looks for modules"),
    row("PYTHONHOME", "where Python loads its library from"),
    row("PYTHONINSPECT", "makes Python read commands after the script"),
    row("PYTHONPATH", "where Python loads modules from"),
    row("PYTHONPLATLIBDIR", "where Python loads its library from"),
    row("PYTHONPYCACHEPREFIX", "where Python loads compiled modules from"),
    row("PYTHONSTARTUP", "Python executes it at start"),
    row("PYTHONUSERBASE", "where Python loads site packages from"),
    row("PYTHONWARNINGS", "Python imports the modules it names"),
    row("PERL5DB", "Perl executes it when debugging"),
    row("PERL5LIB", "where Perl loads modules from"),
    row("PERL5OPT", "options, module loading included, of every Perl"),
    row("PERLLIB", "where Perl loads modules from"),
    row("RUBYLIB", "where Ruby loads modules from"),
    row("RUBYOPT", "options, module loading included, of every Ruby"),
    row("BUNDLE_*", "which gems Bundler loads, and from where"),
    row("GEM_HOME", "where Ruby loads gems from"),
    row("GEM_PATH", "where Ruby loads gems from"),
    row("JAVA_TOOL_OPTIONS", "options, agents included, of every Java machine"),
    row("_JAVA_OPTIONS", "options, agents included, of every Java machine"),
    row("JDK_JAVA_OPTIONS", "options, agents included, of the java launcher"),
    row("CLASSPATH", "where Java loads classes from"),
    row("MAVEN_OPTS", "options of the Java machine of Maven"),
    row("GRADLE_OPTS", "options of the Java machine of Gradle"),
    row("DOTNET_STARTUP_HOOKS", ".NET executes it at start"),
    row("DOTNET_ADDITIONAL_DEPS", ".NET loads assemblies from it"),
    row("CORECLR_*", "profilers that .NET loads"),
    row("LUA_INIT*", "Lua executes it at start"),
    row("LUA_PATH*", "where Lua loads modules from"),
    row("LUA_CPATH*", "where Lua loads libraries from"),
    row("PHPRC", "PHP takes its configuration, preloads included, from it"),
    row("PHP_INI_SCAN_DIR", "PHP takes its configuration, preloads included, from it"),
    row("MAKEFILES", "make executes it first"),
    row("MAKEFLAGS", "options, evaluation included, of every make"),
    row("GNUMAKEFLAGS", "options, evaluation included, of every make"),
    row("RUSTC_WRAPPER", "cargo executes it in place of the compiler"),
    row("RUSTC_WORKSPACE_WRAPPER", "cargo executes it in place of the compiler"),
    row("LESSOPEN", "less executes it for every file"),
    row("LESSCLOSE", "less executes it for every file"),
    row("GIT_ASKPASS", "git executes it"),
    row("GIT_CONFIG*", "git configuration, commands included"),
    row("GIT_DIR", "names the repository whose configuration and hooks git executes"),
    row("GIT_EDITOR", "git executes it"),
    row("GIT_EXEC_PATH", "where git executes its own programs from"),
    row("GIT_EXTERNAL_DIFF", "git executes it"),
    row("GIT_PAGER", "git executes it"),
    row("GIT_PROXY_COMMAND", "git executes it"),
    row("GIT_SEQUENCE_EDITOR", "git executes it"),
    row("GIT_SSH", "git executes it"),
    row("GIT_SSH_COMMAND", "git executes it"),
    row("GIT_SSL_NO_VERIFY", "switches off the certificate check of git"),
    row("GIT_TEMPLATE_DIR", "hooks copied into new repositories"),
    row("GIT_TRACE*", "git writes traces to the file it names"),
    row("SSH_ASKPASS", "ssh executes it"),
];

/// The row of `name`, or none when it passes like any other variable.
///
/// Names are case-sensitive as in the kernel's and Deno's view, except npm's, which npm itself
/// reads in either case.
pub fn loader_variable(name: &str) -> Option<&'static LoaderVariable> {
    if EXCEPTIONS.iter().any(|row| row.pattern == name) {
        return None;
    }
    LOADER_VARIABLES
        .iter()
        .find(|row| match row.pattern.strip_suffix('*') {
            Some("NPM_CONFIG_") => name
                .get(.."NPM_CONFIG_".len())
                .is_some_and(|start| start.eq_ignore_ascii_case("NPM_CONFIG_")),
            Some(prefix) => name.starts_with(prefix),
            None => name == row.pattern,
        })
}

/// Whether `name` passes only when `--allow-env` names it literally.
pub fn is_loader_variable(name: &str) -> bool {
    loader_variable(name).is_some()
}

/// All rows, for the documentation.
pub fn rows() -> &'static [LoaderVariable] {
    LOADER_VARIABLES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loader_variables_are_known() {
        for name in [
            "LD_PRELOAD",
            "LD_",
            "NODE_OPTIONS",
            "DENO_PERMISSION_BROKER_PATH",
            "DENO_V8_FLAGS",
            "npm_config_registry",
            "Npm_Config_Registry",
            "NPM_CONFIG_REGISTRY",
            "BASH_ENV",
            "BASH_FUNC_x%%",
            "ENV",
            "GIT_CONFIG_KEY_0",
            "GIT_SSH_COMMAND",
            "SSLKEYLOGFILE",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "PYTHONPATH",
        ] {
            assert!(is_loader_variable(name), "{name}");
        }
    }

    #[test]
    fn ordinary_variables_are_not() {
        for name in [
            "",
            "HOME",
            "PATH",
            "NODE_ENV",
            "ld_preload",
            "XLD_PRELOAD",
            "ENVIRONMENT",
            "GIT_AUTHOR_NAME",
            "HTTPS_PROXY",
            "AWS_SECRET_ACCESS_KEY",
            "npm_package_name",
            "né",
        ] {
            assert!(!is_loader_variable(name), "{name}");
        }
    }

    #[test]
    fn no_row_is_hidden_by_an_earlier_one() {
        for (index, row) in rows().iter().enumerate() {
            let name = row.pattern.trim_end_matches('*');
            let found = loader_variable(name).expect(name);
            assert_eq!(found.pattern, row.pattern, "row {index} never decides");
            assert!(!row.reason.is_empty());
        }
    }
}
