// What all parts of the page use: elements, requests, figures as people write them.

/** An element; text is always text, never markup. Properties that begin with "on" are listeners. */
export function h(tag, properties, ...children) {
  const node = document.createElement(tag);
  if (tag === "button") node.type = tag;
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else if (name in node && typeof value !== "string") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** A control with its name. */
export const field = (text, control) => h("label", { class: "field" }, text, control);

export const panel = (...children) => h("div", { class: "panel" }, ...children);

/** What is said in small letters. */
export const aside = (...children) => h("p", { class: "note" }, ...children);

/** The same, told to whoever hears the page when it changes. */
export const status = (...children) => h("p", { class: "note", role: "status" }, ...children);

/** A small button. */
export const small = (text, onclick, kind = "") => h("button", { class: `small ${kind}`, onclick }, text);

/** A list to choose from: values and their texts. */
export const choice = (values, chosen, properties) =>
  h("select", properties, values.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));

/** A bar that is full at 1. */
export function bar(share = 0) {
  const node = h("div", { class: "bar", "aria-hidden": "true" }, h("i"));
  node.firstChild.style.width = `${share * 100}%`;
  return node;
}

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const svgSpace = "http://www.w3.org/2000/svg";

export function s(tag, attributes, ...children) {
  const node = document.createElementNS(svgSpace, tag);
  for (const [name, value] of Object.entries(attributes ?? {})) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Sets a text only where it differs, so that an update does not touch what is the same. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** What somebody who hears the page is told. */
export function announce(text) {
  document.getElementById("said").textContent = text;
}

/** What went wrong: what, where, what to do. */
export class Trouble extends Error {
  constructor({ what, where, hint, problems }, status) {
    super(what);
    Object.assign(this, { what, where, hint, problems: problems ?? [], status });
  }
}

/** Asks the server; throws a Trouble that can be shown. `events`: by their names, who is told them as they come. */
export async function ask(path, { body, method, signal, raw, events } = {}) {
  const options = { signal, method: method ?? (body === undefined ? "GET" : "POST"), headers: {} };
  if (raw !== undefined) options.body = raw;
  else if (body !== undefined || options.method !== "GET") {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body ?? {});
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble({
      what: "deml ui does not answer", hint: "Is it still running in its terminal? Runs go on without it.",
    }, 0);
  }
  if (response.ok) return events ? follow(response, events) : response.json();
  let told = {};
  try { told = await response.json(); } catch { /* not ours */ }
  throw new Trouble({ ...told, what: told.what ?? `the server answers ${response.status}` }, response.status);
}

/** Reads server-sent events to their end. */
async function follow(response, events) {
  let rest = "";
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const [, name, data] = /^event: (.*)\ndata: (.*)/.exec(block) ?? [];
      if (name === "trouble") throw new Trouble(JSON.parse(data), 200);
      if (name) events[name]?.(JSON.parse(data));
    }
  }
}

/** Streams a file up and tells how much has gone. */
export function send(path, file, progress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", path);
    request.upload.onprogress = (event) => progress(event.loaded);
    request.onload = () => {
      let told = {};
      try { told = JSON.parse(request.responseText); } catch { /* not ours */ }
      if (request.status < 300) resolve(told);
      else reject(new Trouble({ ...told, what: told.what ?? `the server answers ${request.status}` }, request.status));
    };
    request.onerror = () => reject(new Trouble({ what: "the file could not be sent", hint: "Is deml ui still running?" }, 0));
    signal?.addEventListener("abort", () => { request.abort(); reject(new DOMException("", "AbortError")); });
    request.send(file);
  });
}

/** A box that says what is wrong, where, and what to do. */
export function troubleBox(error, retry) {
  const box = h("div", { class: "box bad", role: "alert" },
    h("p", { class: "what" }, sentence(error.what ?? String(error.message ?? error))));
  if (error.where) box.append(aside(error.where.replace(/\S*\.uploads\/\w{16}\//, "")));
  for (const problem of error.problems ?? []) box.append(h("p", null, h("code", null, problem.key), " ", problem.message));
  if (error.hint) box.append(h("p", null, sentence(error.hint)));
  if (retry) box.append(h("p", null, small("Try again", retry)));
  return box;
}

/** Shows what went wrong; that a question was given up is nothing wrong. */
export function tellTrouble(place, error, retry) {
  if (error.name !== "AbortError") place.replaceChildren(troubleBox(error, retry));
}

/** What was decided, without the options of the terminal, for which there are fields here. */
export const plain = (text) => text.replace(/ \(([^()]*)\)/g, (whole, inner) => {
  const parts = inner.split(";").filter((part) => !part.includes("--"));
  return parts.length ? ` (${parts.join(";").trim()})` : "";
});

/** Begins as sentences do, unless it begins with a command. */
export const sentence = (text) => /^(deml|export|yagna|make|apt-get)\b/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1);

/** The value of a setting as one would write it; a model as its layers. */
export function setting(text) {
  let value;
  try { value = JSON.parse(text); } catch { return text; }
  if (value === null) return "–";
  if (typeof value === "string") return value;
  if (!value?.layers) return text;
  return [value.input?.shape?.join("×"), ...value.layers.map((layer) => [layer.type, layer.out_features ?? layer.out_channels].filter(Boolean).join(" "))].join(" → ");
}

// MARK: Figures, as requestor/Reports/Figures.swift writes them

/** NaN and infinities come as texts. */
export const number = (value) => (typeof value === "number" ? value : Number.NaN);

export const percent = (share, digits = 2) =>
  Number.isFinite(number(share)) ? `${(share * 100).toFixed(digits)} %` : "–";

export function loss(value) {
  value = number(value);
  if (!Number.isFinite(value)) return "–";
  return Math.abs(value) >= 1000 ? value.toPrecision(3) : value.toFixed(Math.abs(value) >= 10 ? 2 : 4);
}

export function duration(seconds) {
  seconds = number(seconds);
  if (!Number.isFinite(seconds) || seconds < 0) return "–";
  if (seconds < 59.995) return `${seconds.toFixed(seconds < 9.995 ? 2 : 1)} s`;
  const whole = Math.round(seconds);
  const two = (value) => String(value).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

export function bytes(count) {
  count = number(count);
  if (!Number.isFinite(count)) return "–";
  if (Math.abs(count) < 1000) return `${count} B`;
  let unit = "";
  for (const next of ["kB", "MB", "GB", "TB"]) {
    if (Math.abs(count) >= 999.5 || unit === "") { count /= 1000; unit = next; }
  }
  return `${count.toFixed(Math.abs(count) < 9.995 ? 2 : Math.abs(count) < 99.95 ? 1 : 0)} ${unit}`;
}

const groups = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
export const grouped = (value) => (Number.isFinite(number(value)) ? groups.format(value) : "–");

/** GLM without digits nobody needs. */
export function glm(value) {
  value = number(typeof value === "string" ? Number(value) : value);
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0 GLM";
  return `${value < 0.0001 ? value.toPrecision(2) : String(Number(value.toFixed(value < 1 ? 4 : 2)))} GLM`;
}

export const short = (value) => (Number.isFinite(number(value)) ? String(Number(value.toPrecision(6))) : "–");

/** A number at an axis, where there is little room. */
export const tick = (value) => (Math.abs(value) >= 1e5 ? value.toExponential(2) : short(value));

export const counted = (count, noun) => `${grouped(count)} ${noun}${count === 1 ? "" : noun.endsWith("s") ? "es" : "s"}`;

export function ago(seconds) {
  const passed = Date.now() / 1000 - seconds;
  if (passed < 60) return "just now";
  if (passed < 3600) return `${Math.floor(passed / 60)} min ago`;
  if (passed < 86400) return `${Math.floor(passed / 3600)} h ago`;
  return new Date(seconds * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
}

export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");

/** A long name with its middle left out. */
export function middle(text, most = 40) {
  if (text.length <= most) return text;
  const half = Math.floor((most - 1) / 2);
  return `${text.slice(0, half)}…${text.slice(-half)}`;
}

export const stateWords = {
  preparing: "starting", working: "training", finished: "finished", interrupted: "paused", failed: "failed", stopped: "stopped",
};

export const isGoing = (state) => state === "working" || state === "preparing";

export function stateBadge(state) {
  return h("span", { class: `state ${state}` }, stateWords[state] ?? state);
}

/** Grey pixels 0…255 on a canvas of their own size. */
export function picture(frame, description) {
  const canvas = h("canvas", { width: frame.width, height: frame.height, role: "img", "aria-label": description });
  paint(canvas, frame);
  return canvas;
}

export function paint(canvas, frame) {
  canvas.width = frame.width;
  canvas.height = frame.height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(frame.width, frame.height);
  frame.values.forEach((value, index) => image.data.set([value, value, value, 255], index * 4));
  context.putImageData(image, 0, 0);
}

export function table(heads, rows, properties = {}) {
  return h("table", properties,
    h("thead", null, h("tr", null, heads.map((head) => typeof head === "string" ? h("th", { scope: "col" }, head) : head))),
    h("tbody", null, rows));
}

/** The head of a column of words. */
export const wordHead = (text) => h("th", { scope: "col", class: "text" }, text);

/** A row; what is no cell yet becomes one, and false none. */
export const line = (...cells) => h("tr", null, cells.flat().filter((one) => one !== false).map((one) => one?.tagName ? one : h("td", null, one)));

/** A cell of words; one with a name that may be long. */
export const words = (...children) => h("td", { class: "text" }, ...children);
export const named = (text, title, most = 30) => h("td", { class: "name", title }, middle(text, most));

/** A part of the page that scrolls on its own, for hands and keys. `kind`: "tall" where it may have many rows. */
export const scrolls = (name, child, kind = "") =>
  h("div", { class: `scroll ${kind}`, tabindex: "0", role: "group", "aria-label": name }, child);

/** What machines cost now: to be known before a button that spends can be clicked, and `changed` is told when it is. Where
 * nobody offers any, one may go on without. Asking spends nothing. */
export function marketPrice(signal, changed) {
  const text = status();
  const again = small("Ask the market again", listen);
  const without = small("Go on without a price", () => tell("Reckon with the worst case.", true));
  const price = { element: h("div", { class: "actions" }, again, without, text), isKnown: false, survey };
  let wish = [], asking;
  signal.addEventListener("abort", () => asking?.abort());

  function tell(words, isKnown, isOver) {
    say(text, words);
    price.isKnown = isKnown;
    without.hidden = isKnown || !isOver;
    changed();
  }

  function survey(...asked) {
    if (wish.join() === asked.join()) return;
    wish = asked;
    listen();
  }

  async function listen() {
    asking?.abort();
    const mine = asking = new AbortController(), [machines, hours] = wish;
    let words = "Nobody offers such a machine now", isKnown = false;
    const take = ({ expected, usable }) => {
      isKnown = expected != null;
      if (isKnown) words = `About ${glm(expected)}${hours === 1 ? " an hour" : ""} with the cheapest ${machines > 1 ? machines : "machine"}`;
      tell(isKnown ? `${words} so far. Listening …` : `Listening … ${usable ?? 0} offers of use`, isKnown);
    };
    again.disabled = true;
    tell("Listening …", false);
    try {
      await ask(`/api/golem/offers?machines=${machines}&hours=${hours}`, { signal: mine.signal, events: { progress: take, offers: take } });
    } catch (error) {
      if (!isKnown) words = sentence(error.what) + (error.hint ? `: ${error.hint}` : "");
    }
    if (mine.signal.aborted) return;
    again.disabled = false;
    tell(`${words}.`, isKnown, true);
  }
  return price;
}

// MARK: Files

/** A place where files are dropped or chosen; `take` gets a list of {file, name}. */
export function dropZone({ text, folders, take, label }) {
  const input = h("input", { type: "file", hidden: true, multiple: folders, onchange: () => {
    if (input.files.length) take([...input.files].map((file) => ({ file, name: file.webkitRelativePath || file.name })));
    input.value = "";
  } });
  const zone = h("div", { class: "drop" }, h("p", null, text),
    h("button", { onclick: () => input.click() }, label ?? "Choose a file"), input);
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = entries.length ? (await Promise.all(entries.map((entry) => filesOf(entry, entries.length > 1)))).flat()
      : [...event.dataTransfer.files].map((file) => ({ file, name: file.name }));
    if (files.length) take(folders ? files : files.slice(0, 1));
  });
  zone.input = input;
  return zone;
}

async function filesOf(entry, isOneOfSeveral, path = "") {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ file, name: path + file.name }];
  }
  const reader = entry.createReader();
  const children = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) break;
    children.push(...some);
  }
  // The outermost folder is the upload itself.
  const inner = path === "" && !isOneOfSeveral ? "" : `${path}${entry.name}/`;
  const from = inner === "" ? "\0" : inner;
  const all = await Promise.all(children.map((child) => filesOf(child, true, from === "\0" ? "" : from)));
  return all.flat();
}

/** Sends files as one upload; its name as data. */
export async function upload(files, progress, signal) {
  const { id } = await ask("/api/uploads", { method: "POST", body: {}, signal });
  const total = files.reduce((sum, { file }) => sum + file.size, 0);
  let done = 0;
  for (const { file, name } of files) {
    await send(`/api/uploads/${id}?name=${encodeURIComponent(name)}`, file, (sent) => progress(done + sent, total), signal);
    done += file.size;
    progress(done, total);
  }
  return `upload:${id}`;
}
