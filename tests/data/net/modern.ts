// SPDX-License-Identifier: MIT
// HTTP/2 and WebSocket over TLS: arguments ADDRESS PORT CERTIFICATES. Prints its port, then one line
// for each request; a line on standard input is printed back.
const [hostname, port, directory] = Deno.args;
Deno.serve({
  hostname,
  port: Number(port),
  cert: Deno.readTextFileSync(`${directory}/good.pem`),
  key: Deno.readTextFileSync(`${directory}/good.key`),
  onListen: ({ port }) => console.log(port),
}, (request) => {
  const url = new URL(request.url);
  console.log(`request ${url.hostname} ${url.pathname}`);
  if (request.headers.get("upgrade") === "websocket") {
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.onmessage = ({ data }) => socket.send(`back ${data}`);
    return response;
  }
  return new Response(`modern ${url.hostname} ${url.pathname}`);
});
for await (const chunk of Deno.stdin.readable) {
  await Deno.stdout.write(chunk);
}
