// Needs no permission: runs under `stockade run examples/hello.ts`.
const whom: string = Deno.args[0] ?? "world";
console.log(`Hello, ${whom}!`);
