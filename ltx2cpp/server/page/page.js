// The page of the server: a form, a queue that follows the events, and the finished clips.
// Texts of clients reach the page as text nodes only.

const PAGE = 24;
const POLL_MS = 5000;
const ACTIVE = new Set(["queued", "in_progress"]);
const $ = (id) => document.getElementById(id);
const videos = new Map(); // id -> video object
const cards = new Map(); // id -> list item
let models = [];
let references = []; // {file, kind, frame}
let key = sessionStorage.getItem("key") ?? "";
let lastEvent = "";
let oldest = null;

// Talking to the server.

async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  if (key) headers.set("authorization", `Bearer ${key}`);
  const answer = await fetch(path, { ...options, headers });
  if (answer.status === 401) $("key-form").hidden = false;
  if (!answer.ok) {
    const body = await answer.json().catch(() => null);
    throw new Error(body?.error?.message ?? `The server answered ${answer.status}.`);
  }
  return answer;
}

const read = async (path, options) => (await ask(path, options)).json();
const send = (path, value) =>
  read(path, {
    method: "POST",
    headers: value && { "content-type": "application/json" },
    body: value && JSON.stringify(value),
  });

// Elements cannot show a key; with one, their files come through `ask`.
async function source(path) {
  return key ? URL.createObjectURL(await (await ask(path)).blob()) : path;
}

// Making elements.

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

const button = (text, about, action) => {
  const made = element("button", { type: "button", textContent: text, onclick: guarded(action) });
  made.setAttribute("aria-label", `${text}: ${about}`);
  return made;
};

function guarded(action) {
  return async (event) => {
    try {
      await action(event);
    } catch (error) {
      tell(error.message, true);
    }
  };
}

function tell(text, isProblem = false) {
  $("news").textContent = text;
  $("problem").hidden = !isProblem;
  if (isProblem) $("problem").textContent = text;
}

const short = (text) => (text.length > 60 ? `${text.slice(0, 57)}…` : text);

function inWords(seconds) {
  if (seconds == null) return "";
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

// The form.

const model = () => models.find((each) => each.id === $("model").value) ?? models[0];

function fill(select, choices) {
  const chosen = select.value;
  select.replaceChildren(...choices.map(([value, text]) => element("option", { value, textContent: text })));
  if (choices.some(([value]) => value === chosen)) select.value = chosen;
}

function fillForModel() {
  const { default_size: size, default_num_frames: frames, default_fps: fps, ...facts } = model();
  const [width, height] = size.split("x").map(Number);
  const area = Math.sqrt(width * height);
  const side = (share) => Math.max(1, Math.round((area * Math.sqrt(share)) / 64)) * 64;
  const of = (share) => `${side(share)}x${side(1 / share)}`;
  const own = ["", `as usual (${size.replace("x", " × ")})`];
  const shapes = [
    ["wide", 16 / 9],
    ["square", 1],
    ["upright", 9 / 16],
    ["cinema", 21 / 9],
  ].map(([name, share]) => [of(share), `${name} (${of(share).replace("x", " × ")})`]);
  fill($("shape"), facts.has_one_size ? [own] : [own, ...shapes]);
  const usual = ["", `as usual (${(frames / fps).toFixed(1)} s)`];
  const lengths = [
    ["1", "a moment (1 second)"],
    ["3", "short (3 seconds)"],
    ["5", "medium (5 seconds)"],
    ["10", "long (10 seconds)"],
    ["20", "very long (20 seconds)"],
  ];
  fill($("length"), facts.has_one_size ? [usual] : [usual, ...lengths]);
  const qualities = [
    ["normal", "normal"],
    ["draft", "a quick draft"],
    ["high", "high, takes longer"],
  ];
  fill($("quality"), facts.has_one_size ? qualities.slice(0, 1) : qualities);
  $("sound").checked = facts.has_sound;
  $("guidance").disabled = $("negative").disabled = !facts.is_guided;
  $("loras-field").hidden = !facts.offered_loras.length;
  $("loras-hint").textContent = `There are ${facts.offered_loras.join(", ")}; “name:0.5” is half as strong.`;
  $("hint").hidden = !facts.has_one_size;
  $("hint").textContent =
    "The demo model knows moving shapes: “a red circle moves right on a blue background”.";
  planSoon();
}

function fields() {
  const chosen = {
    prompt: $("prompt").value.trim(),
    model: $("model").value,
    size: $("size").value || $("shape").value,
    seconds: $("length").value,
    quality: $("quality").value === "normal" ? "" : $("quality").value,
    seed: $("seed").value,
    num_inference_steps: $("steps").value,
    step_cache: $("cache").value,
    guidance_scale: $("guidance").disabled ? "" : $("guidance").value,
    loras: $("loras-field").hidden ? "" : $("loras").value.replaceAll(" ", ""),
    negative_prompt: $("negative").disabled ? "" : $("negative").value,
    generate_sound: model().has_sound || $("sound").checked ? String($("sound").checked) : "",
  };
  return Object.fromEntries(Object.entries(chosen).filter(([, value]) => value !== ""));
}

let planning;
function planSoon() {
  clearTimeout(planning);
  planning = setTimeout(plan, 400);
}

async function plan() {
  const badge = $("fit");
  if (!$("prompt").value.trim()) {
    badge.textContent = "";
    return;
  }
  try {
    const found = await send("/v1/plans", fields());
    badge.className = "badge good";
    const memory = (found.peak_bytes / 2 ** 30).toFixed(1);
    badge.textContent = `Fits: ${found.size.replace("x", " × ")}, ${found.num_frames} frames, ${memory} GiB`;
    if (found.seconds_estimate) badge.textContent += `, about ${inWords(found.seconds_estimate)}`;
  } catch (error) {
    badge.className = "badge bad";
    badge.textContent = error.message;
  }
}

async function takeFiles(files) {
  for (const file of files) {
    const kind = file.type.split("/")[0];
    if (kind === "video" && (await tookSettings(file))) continue;
    const shown = references.filter((each) => each.kind !== "audio").length;
    references.push({ file, kind, frame: shown ? -1 : 0 });
  }
  showReferences();
}

async function tookSettings(file) {
  const form = new FormData();
  form.append("video", file);
  const settings = await read("/v1/settings", { method: "POST", body: form }).catch(() => null);
  if (settings === null) return false;
  putSettings(settings);
  tell("The settings of the clip were taken.");
  return true;
}

function putSettings(settings) {
  $("prompt").value = settings.prompt ?? "";
  $("negative").value = settings.negative_prompt ?? "";
  $("seed").value = settings.seed ?? "";
  $("size").value = settings.size ?? "";
  $("steps").value = settings.num_inference_steps ?? "";
  const cache = settings.step_cache ?? "";
  if (![...$("cache").options].some((each) => each.value === cache)) {
    $("cache").append(element("option", { value: cache, textContent: `are forecast (${cache})` }));
  }
  $("cache").value = cache;
  $("length").value = "";
  document.querySelector("details").open = true;
  $("prompt").focus();
  planSoon();
}

function showReferences() {
  $("references").replaceChildren(
    ...references.map((each, index) => {
      const about = `file ${index + 1}`;
      const frame = element("input", { type: "number", value: each.frame, id: `frame-${index}` });
      frame.onchange = () => (each.frame = Number(frame.value));
      const label = element("label", { htmlFor: frame.id, textContent: "at frame (−1: the last)" });
      const picture = each.kind === "image" ? element("img", { alt: "", src: URL.createObjectURL(each.file) }) : null;
      const remove = button("Remove", about, () => {
        references.splice(index, 1);
        showReferences();
      });
      const place = each.kind === "audio" ? [] : [label, frame];
      return element("li", {}, picture, element("span", { textContent: each.file.name }), ...place, remove);
    }),
  );
}

async function submit(event) {
  event.preventDefault();
  const form = new FormData();
  for (const [name, value] of Object.entries(fields())) form.append(name, value);
  const frames = [];
  for (const { file, kind, frame } of references) {
    form.append(kind === "audio" ? "audio_reference" : "input_reference", file);
    if (kind !== "audio") frames.push(frame);
  }
  if (frames.length) form.append("reference_frames", frames.join(","));
  $("start").disabled = true;
  try {
    show(await read("/v1/videos", { method: "POST", body: form }));
    tell("The clip waits in the queue.");
    references = [];
    showReferences();
  } finally {
    $("start").disabled = false;
  }
}

// The lists.

function show(video) {
  const before = videos.get(video.id);
  videos.set(video.id, video);
  if (before?.status !== video.status || before?.state !== video.state || !cards.has(video.id)) {
    cards.get(video.id)?.remove();
    const card = ACTIVE.has(video.status) ? activeCard(video) : finishedCard(video);
    cards.set(video.id, card);
    place(video, card);
    if (before && video.status === "completed") tell(`Finished: ${short(video.prompt)}`);
    if (before && video.status === "failed") tell(`Failed: ${short(video.prompt)}`);
  }
  if (ACTIVE.has(video.status)) update(video);
  $("idle").hidden = $("queue").children.length > 0;
  $("empty").hidden = $("clips").children.length > 0;
}

function place(video, card) {
  card.created = video.created_at;
  const list = ACTIVE.has(video.status) ? $("queue") : $("clips");
  const isQueue = list === $("queue");
  const next = [...list.children].find((each) =>
    isQueue ? each.created > card.created : each.created <= card.created,
  );
  list.insertBefore(card, next ?? null);
}

function forget(id) {
  cards.get(id)?.remove();
  cards.delete(id);
  videos.delete(id);
}

function act(video, action) {
  return async () => show(await send(`/v1/videos/${video.id}/${action}`));
}

function remove(video) {
  return async () => {
    await ask(`/v1/videos/${video.id}`, { method: "DELETE" });
    forget(video.id);
    tell("Deleted.");
    $("gallery").focus();
  };
}

function activeCard(video) {
  const about = short(video.prompt);
  const bar = element("progress", { max: 100 });
  bar.setAttribute("aria-label", `Progress: ${about}`);
  const paused = video.state === "paused";
  return element(
    "li",
    {},
    element("p", { textContent: video.prompt }),
    element("img", { hidden: true, alt: `Preview: ${about}` }),
    bar,
    element("p", { className: "quiet" }),
    element(
      "div",
      { className: "actions" },
      paused ? button("Go on", about, act(video, "resume")) : button("Pause", about, act(video, "pause")),
      button("Cancel", about, act(video, "cancel")),
    ),
  );
}

function update(video) {
  const card = cards.get(video.id);
  card.querySelector("progress").value = video.progress;
  const words = [video.state === "running" ? (video.phase ?? "starting") : video.state];
  if (video.steps && video.step) words.push(`step ${video.step} of ${video.steps}`);
  if (video.queue_position) words.push(`${video.queue_position} before it`);
  if (video.eta_s != null) words.push(`${inWords(video.eta_s)} left`);
  card.querySelector(".quiet").textContent = `${video.progress} %: ${words.join(", ")}`;
  if (video.preview_url && !card.preview) showPreview(video.id, video.step);
}

async function showPreview(id, step) {
  const card = cards.get(id);
  const picture = card?.querySelector("img");
  if (!picture || !ACTIVE.has(videos.get(id).status)) return;
  card.preview = step;
  const answer = await ask(`/v1/videos/${id}/preview`, { cache: "no-store" });
  if (answer.status !== 200) return;
  const old = picture.src;
  picture.src = URL.createObjectURL(await answer.blob());
  picture.hidden = false;
  if (old) URL.revokeObjectURL(old);
}

function finishedCard(video) {
  const about = short(video.prompt);
  const card = element("li", {});
  if (video.status === "completed") {
    const view = element("video", { controls: true, preload: "none", loop: true, playsInline: true });
    view.setAttribute("aria-label", about);
    card.append(view);
    load(video, view, card);
  }
  card.append(element("p", { textContent: video.prompt }));
  const facts = [video.size.replace("x", " × "), `${Number(video.seconds).toFixed(1)} s`, `seed ${video.seed}`];
  card.append(element("p", { className: "quiet", textContent: facts.join(", ") }));
  if (video.error) card.append(element("p", { className: "problem", textContent: video.error.message }));
  const actions = element("div", { className: "actions" });
  if (video.status === "failed") actions.append(button("Try again", about, act(video, "retry")));
  else {
    actions.append(
      button("Download", about, () => download(video)),
      button("Extend", about, () => extend(video)),
    );
  }
  actions.append(
    button("Again", about, () => again(video)),
    button("Change", about, () => putSettings(video)),
    button("Delete", about, remove(video)),
  );
  card.append(actions);
  return card;
}

async function load(video, view, card) {
  const base = `/v1/videos/${video.id}/content`;
  if (!key) {
    view.poster = `${base}?variant=thumbnail`;
    view.src = base;
    return;
  }
  view.poster = await source(`${base}?variant=thumbnail`);
  const watcher = new IntersectionObserver(async ([entry]) => {
    if (!entry.isIntersecting) return;
    watcher.disconnect();
    view.src = await source(base);
  });
  watcher.observe(card);
}

async function download(video) {
  const link = element("a", { href: await source(`/v1/videos/${video.id}/content`), download: `${video.id}.mp4` });
  link.click();
}

async function again(video) {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const made = await send(`/v1/videos/${video.id}/remix`, { prompt: video.prompt, seed });
  show(made);
  tell("The same with another seed waits in the queue.");
}

async function extend(video) {
  const body = { prompt: $("prompt").value.trim() || video.prompt, seconds: "2", video: { id: video.id } };
  show(await send("/v1/videos/extensions", body));
  tell("Two more seconds wait in the queue.");
}

async function listOlder() {
  const after = oldest ? `&after=${oldest}` : "";
  const page = await read(`/v1/videos?limit=${PAGE}${after}`);
  oldest = page.last_id ?? oldest;
  $("more").hidden = !page.has_more;
  // The oldest first, so that those of one second stand in their order.
  page.data.reverse().forEach(show);
}

// Events, read from a stream, since the element for them shows no key.

async function follow() {
  const headers = lastEvent ? { "last-event-id": lastEvent } : {};
  const answer = await ask("/v1/videos/events", { headers });
  $("connection").textContent = "Connected";
  if (!lastEvent) {
    // Listed only now: what happens after the list was made comes as an event.
    oldest = null;
    await listOlder();
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value.replaceAll("\r\n", "\n")).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) await hear(block);
  }
}

async function hear(block) {
  const event = Object.fromEntries(
    block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]),
  );
  if (!event.data) return;
  lastEvent = event.id;
  const data = JSON.parse(event.data);
  const known = videos.get(data.id);
  if (event.event === "deleted") forget(data.id);
  else if (event.event === "preview") await showPreview(data.id, data.step);
  else if (event.event === "progress" && known) show({ ...known, ...data });
  else if (event.event === "status") await refresh(data.id);
}

async function refresh(id) {
  const video = await read(`/v1/videos/${id}`).catch(() => null);
  if (video) show(video);
}

async function start() {
  models = (await read("/v1/models")).data;
  $("key-form").hidden = true;
  fill($("model"), models.map((each) => [each.id, each.id]));
  fillForModel();
  for (;;) {
    try {
      await follow();
    } catch (error) {
      $("connection").textContent = `Not connected: ${error.message}`;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

$("make").addEventListener("submit", guarded(submit));
$("make").addEventListener("input", planSoon);
$("model").addEventListener("change", fillForModel);
$("files").addEventListener("change", guarded(async (event) => {
  await takeFiles(event.target.files);
  event.target.value = "";
}));
$("more").addEventListener("click", guarded(listOlder));
$("key-form").addEventListener("submit", guarded(async (event) => {
  event.preventDefault();
  key = $("key").value;
  sessionStorage.setItem("key", key);
  await start();
}));
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, guarded(async (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop") await takeFiles(event.dataTransfer.files);
  }));
}
start().catch((error) => ($("connection").textContent = error.message));
