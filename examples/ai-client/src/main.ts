import OpenAI from "openai";

// Everything is said here: the package would ask the environment for what is missing.
const client = new OpenAI({
  apiKey: Deno.env.get("OPENAI_API_KEY"),
  baseURL: "https://api.openai.com/v1",
  organization: null,
  project: null,
});

const answer = await client.chat.completions.create({
  model: "gpt-4o-mini",
  messages: [{ role: "user", content: Deno.args[0] ?? "Say hello." }],
});

console.log(answer.choices[0].message.content);
