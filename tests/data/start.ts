// Starts a program and passes its output and exit code on: `start.ts PROGRAM ARGUMENT…`.
const [program, ...args] = Deno.args;
const { code, stdout, stderr } = await new Deno.Command(program, { args, stdin: "null" }).output();
await Deno.stdout.write(stdout);
await Deno.stderr.write(stderr);
Deno.exit(code);
