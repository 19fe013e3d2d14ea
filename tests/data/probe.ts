// Calls the probe library: `probe.ts LIBRARY NAME:NUMBER:TEXT…`, one line `ITEM=ERRNO` for each.
const [path, ...items] = Deno.args;
const library = Deno.dlopen(path, {
  probe: { parameters: ["buffer", "i64", "buffer"], result: "i64" },
});
const text = (value: string) => new TextEncoder().encode(value + "\0");
for (const item of items) {
  const [name, number, ...rest] = item.split(":");
  const errno = library.symbols.probe(text(name), BigInt(number), text(rest.join(":")));
  console.log(`${item}=${errno}`);
}
