// Make a clip and follow its events: node client.mjs [ADDRESS]
import { writeFile } from "node:fs/promises";

const address = process.argv[2] ?? "http://127.0.0.1:8225";
const made = await fetch(`${address}/v1/videos`, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ prompt: "a red circle moves right on a blue background", seed: 7 }),
});
const video = await made.json();
if (!made.ok) throw new Error(video.error.message);

const events = await fetch(`${address}/v1/videos/${video.id}/events`);
for await (const text of events.body.pipeThrough(new TextDecoderStream())) process.stdout.write(text);

const clip = await fetch(`${address}/v1/videos/${video.id}/content`);
await writeFile("clip.mp4", Buffer.from(await clip.arrayBuffer()));
