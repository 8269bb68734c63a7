// One run: live while it goes, its result when it has ended.
import { h, say, ask, troubleBox, tellTrouble, stateBadge, percent, loss, duration, bytes, glm, grouped, number, isGoing, announce, sentence, short, stateWords, field, panel, pause, aside } from "./tools.js";
import { lineChart } from "./chart.js";
import { roundCells, workersTable, newsList, roundsTable } from "./live.js";
import { runResult, aboutRun } from "./result.js";

export default async function run(main, { signal, parameters: [name], go }) {
  const base = `/api/runs/${encodeURIComponent(name)}`;
  let details = await ask(base, { signal });
  // What is known of the run, told by the server piece by piece.
  const known = { rounds: [], workers: new Map(), clients: new Map(), notes: [], live: null };

  const state = h("span");
  const actions = h("div", { class: "actions" });
  const note = h("div");
  const tiles = h("div", { class: "tiles" });
  const progress = h("div", { class: "bar thick", role: "progressbar", "aria-label": "Progress of the run", "aria-valuemin": "0", "aria-valuemax": "100" }, h("i"));
  const saying = aside();
  const cells = roundCells(), workers = workersTable(), news = newsList(), rounds = roundsTable();
  const result = runResult({ name, base, signal, fail: (error) => tellTrouble(note, error) });
  const accuracy = lineChart({ title: "Test accuracy", written: (value) => `${short(value * 100)} %`, exactly: percent, floor: 0, ceiling: 1 });
  const losses = lineChart({ title: "Loss", exactly: loss, floor: 0 });
  const charts = h("div", { class: "pair" });
  const curves = h("section", { hidden: true }, h("h2", null, "Learning curve"), charts);

  // Shown when it is known what there is, so that nothing is pushed away; or soon.
  const below = h("div", { hidden: true }, curves, cells.section, workers.section, news.section, result.section, rounds.section, aboutRun(details, base, signal));
  const reveal = () => { below.hidden = false; };
  pause(1000).then(reveal);

  main.replaceChildren(
    aside(h("a", { href: "/" }, "Runs")),
    h("div", { class: "head" }, h("div", null, h("h1", null, name), h("p", { class: "lead" }, subtitle(), " ", state)), actions),
    note, tiles, h("div", { class: "progress" }, progress, saying), below);

  function subtitle() {
    const { card } = details;
    return [card.data, card.fleet && { local: "on this machine", simulated: "simulated on this machine", golem: "on Golem" }[card.fleet],
      card.parameters && `${grouped(card.parameters)} parameters`].filter(Boolean).join(" · ");
  }

  // MARK: What comes from the server

  function follow() {
    let source, ended = false;
    const open = () => {
      source = new EventSource(`${base}/live`);
      source.onmessage = (event) => {
        if (ended) note.replaceChildren();
        ended = false;
        take(JSON.parse(event.data));
      };
      source.addEventListener("trouble", (event) => {
        source.close();
        note.replaceChildren(troubleBox(JSON.parse(event.data), () => { note.replaceChildren(); open(); }));
      });
      source.onerror = async () => {
        if (signal.aborted || document.hidden) return;
        try { await ask(base, { signal }); } catch (error) {
          if (error.name === "AbortError") return;
          ended = true;
          note.replaceChildren(troubleBox(error, error.status === 401 ? undefined : () => { source.close(); open(); }));
          if (error.status === 401 || error.status === 404) source.close();
        }
      };
    };
    open();
    // A page that nobody looks at asks nothing; a browser has few connections for one place.
    const visible = () => { if (document.hidden) source.close(); else if (source.readyState === 2) open(); };
    document.addEventListener("visibilitychange", visible);
    signal.addEventListener("abort", () => { source.close(); document.removeEventListener("visibilitychange", visible); });
  }

  /** A run whose process is only beginning has no journal yet. */
  async function watchBeginning() {
    while (!signal.aborted && details.card.state === "preparing") {
      await pause(400);
      try { details = await ask(base, { signal }); } catch { return; }
      drawState(known.live?.start ? known.live.state : details.card.state);
      main.querySelector(".lead").firstChild.textContent = `${subtitle()} `;
      if (details.card.state !== "preparing") {
        main.querySelector("section.about").replaceWith(aboutRun(details, base, signal));
        drawTiles();
        drawResult();
        if (known.live) draw();
      }
    }
  }

  let isAsked = false;
  const frame = () => { isAsked = false; draw(); };

  function take(update) {
    if (update.whole) {
      Object.assign(known, { rounds: [], notes: [] });
      rounds.restart();
      known.workers.clear();
      known.clients.clear();
    }
    const before = known.live;
    known.rounds.push(...update.rounds.map((row) => row.map((value) => value === null ? null : number(value))));
    for (const worker of update.workers) known.workers.set(worker.id, worker);
    if (before && before.round !== update.round) known.clients.clear();
    for (const [id, client] of Object.entries(update.clients)) known.clients.set(Number(id), client);
    known.notes.push(...update.notes);
    known.notes.splice(0, Math.max(0, known.notes.length - 200));
    known.live = update;
    known.clock = Date.now() / 1000 - update.now;
    if (before && isGoing(before.state) && !isGoing(update.state)) {
      announce(`The run has ended: ${stateWords[update.state]}`);
      refresh();
    }
    if (!isAsked) { isAsked = true; requestAnimationFrame(frame); }
  }

  async function refresh() {
    // The report is written a moment after the last event.
    for (const time of [100, 700, 2000]) {
      await pause(time);
      try { details = await ask(base, { signal }); } catch { return; }
      drawState(known.live?.state ?? details.card.state);
      drawTiles();
      drawResult();
      if (details.hasReport && !isGoing(details.card.state)) return;
    }
  }

  // MARK: Drawing

  function draw() {
    if (signal.aborted) return;
    const { live } = known;
    const state = live.start || !isGoing(details.card.state) ? (details.card.state === "preparing" && !live.atWork ? "preparing" : live.start ? live.state : details.card.state) : details.card.state;
    drawState(state);
    drawTiles();
    drawProgress(state);
    drawCurves();
    // What was under way in the past is of no interest, and there may be much of it.
    if (!live.catchingUp) {
      cells.draw(known, state);
      workers.draw(known);
    }
    news.draw(known);
    rounds.draw(known);
    if (!live.catchingUp) reveal();
  }

  let shownState;
  function drawState(value) {
    const canResume = !isGoing(value) && details.card.of > 0;
    const key = [value, details.hasModel, details.hasReport, canResume, known.rounds.length > 0].join();
    if (shownState === key) return;
    const hadFocus = actions.contains(document.activeElement);
    shownState = key;
    state.replaceChildren(stateBadge(value));
    const link = (href, text, download) => h("a", { class: "button", href, download: download ? "" : null }, text);
    actions.replaceChildren(...[
      isGoing(value) && h("button", { class: "danger", onclick: stop }, "Stop"),
      canResume && value !== "finished" && h("button", { class: "main", onclick: () => resume() }, resumeText()),
      canResume && h("button", { onclick: more }, "More rounds"),
      details.hasModel && h("a", { class: value === "finished" ? "button main" : "button", href: `/try/${encodeURIComponent(name)}` }, "Try the model"),
      details.hasModel && !isGoing(value) && link(`${base}/model`, "Download", true),
      details.hasModel && link(`/compare?run=${encodeURIComponent(name)}`, "Compare"),
    ].filter(Boolean));
    if (hadFocus) actions.querySelector("button, a")?.focus({ preventScroll: true });
    if (value === "failed" && details.card.message) {
      note.replaceChildren(failure(details.card.message));
    } else if (value !== "failed" && !note.querySelector("[role=alert]")) note.replaceChildren();
  }

  const resumeText = () => (details.budget ? `Resume for at most ${glm(details.budget)}` : "Resume");

  function failure(message) {
    const [what, ...rest] = message.split("\n");
    return h("div", { class: "box bad" }, h("p", { class: "what" }, sentence(what)), rest.map((line) => h("p", null, line.trim())));
  }

  async function act(button, path, body) {
    button.disabled = true;
    try {
      await ask(`${base}/${path}`, { body, signal });
      details = await ask(base, { signal });
      shownState = undefined;
      drawState(details.card.state);
      if (details.card.state === "preparing") watchBeginning();
      return true;
    } catch (error) {
      tellTrouble(note, error);
      return false;
    } finally { button.disabled = false; }
  }

  async function stop(event) {
    const button = event.currentTarget;
    if (await act(button, "stop", {})) {
      for (const other of actions.querySelectorAll(".danger")) { other.disabled = true; other.textContent = "Stopping …"; }
    }
  }

  async function resume(count, button = actions.querySelector("button")) {
    shownState = undefined;
    return act(button, "resume", { rounds: count, agreedGLM: details.budget });
  }

  function more() {
    const count = h("input", { type: "number", min: String(details.card.of + 1), value: String(details.card.of * 2), id: "more" });
    const form = h("form", { class: "box", onsubmit: async (event) => {
      event.preventDefault();
      if (await resume(Number(count.value), form.querySelector("button"))) form.remove();
    } }, h("div", { class: "actions" }, field("Rounds in all", count),
      h("button", { class: "main", type: "submit" }, details.budget ? `Go on for at most ${glm(details.budget)}` : "Go on"),
      h("button", { class: "plain", onclick: () => form.remove() }, "Cancel")));
    note.replaceChildren(form);
    count.focus();
  }

  const tileNodes = new Map();
  /** Without a value it is taken away. */
  function tile(key, value, text, isFirst) {
    let node = tileNodes.get(key);
    if (value === null) { node?.remove(); tileNodes.delete(key); return; }
    if (!node) {
      node = h("div", { class: "tile" }, h("b"), h("span"));
      tileNodes.set(key, node);
      // Each has its place, whichever comes first.
      tiles.append(node);
      const order = ["accuracy", "best", "loss", "rounds", "time", "bytes", "cost", "audits"];
      tiles.replaceChildren(...order.filter((name) => tileNodes.has(name)).map((name) => tileNodes.get(name)));
    }
    node.classList.toggle("first", Boolean(isFirst));
    say(node.firstChild, value);
    say(node.lastChild, text);
    if (node.firstChild.title !== value) node.firstChild.title = value;
  }

  function drawTiles() {
    const trained = known.rounds.filter((row) => row[0] > 0);
    const last = known.rounds.at(-1);
    const { card, summary } = details;
    const { live } = known;
    // One that has failed before it began has nothing to show; one that is about to has all its places, so that nothing moves.
    tiles.hidden = !card.of && !live?.start && !isGoing(card.state);
    if (tiles.hidden) return;
    const isClasses = last ? last[1] != null : Number.isFinite(card.accuracy) || !Number.isFinite(card.loss);
    tile("accuracy", isClasses ? percent(last ? last[1] : card.accuracy) : null, last ? `test accuracy, round ${last[0]}` : "test accuracy", true);
    tile("loss", loss(last ? last[2] : card.loss), "test loss", !isClasses);
    const best = known.rounds.find((row) => row[0] === live?.best);
    tile("best", isClasses ? percent(best?.[1]) : loss(best?.[2]), best ? `best model, round ${best[0]}` : "best model");
    const of = live?.start?.rounds ?? card.of;
    tile("rounds", of ? `${grouped(trained.length || card.rounds)} / ${grouped(of)}` : "–", "rounds");
    tile("time", duration(trained.length ? trained.reduce((sum, row) => sum + row[5], 0) : card.seconds || Number.NaN), "training time");
    const up = trained.reduce((sum, row) => sum + row[6], 0), down = trained.reduce((sum, row) => sum + row[7], 0);
    tile("bytes", up + down || (live?.start?.fleet ?? card.fleet) !== "simulated" ? bytes(up + down) : null, up + down ? `sent ${bytes(up)}, back ${bytes(down)}` : "moved");
    if ((live?.start?.fleet ?? card.fleet) === "golem") {
      const cost = trained.reduce((sum, row) => sum + (row[8] ?? 0), 0);
      tile("cost", glm(summary?.cost_glm ?? cost), details.budget ? `of at most ${glm(details.budget)}` : "cost");
    }
    const audits = summary?.audits;
    if (audits) tile("audits", `${grouped(audits.audited)} / ${grouped(audits.answers)}`, audits.mismatches ? `checked, ${audits.mismatches} wrong` : "answers checked, all right");
  }

  function share() {
    const { live } = known;
    if (!live?.start) return 0;
    const done = known.rounds.filter((row) => row[0] > 0).length;
    let part = 0;
    if (live.round > done && live.orderCount) {
      for (const [code, epoch, epochs] of known.clients.values()) part += code >= 2 ? 1 : code === 1 && epochs ? epoch / epochs : 0;
      part /= live.orderCount;
    }
    return Math.min(1, (done + part) / Math.max(1, live.start.rounds));
  }

  function drawProgress(state) {
    const { live } = known;
    const portion = state === "finished" ? 1 : share();
    progress.parentNode.hidden = !isGoing(state);
    progress.firstChild.style.width = `${portion * 100}%`;
    progress.setAttribute("aria-valuenow", String(Math.round(portion * 100)));
    const trained = known.rounds.filter((row) => row[0] > 0);
    const recent = trained.slice(-10);
    const left = recent.length && live.start ? (live.start.rounds - trained.length) * recent.reduce((sum, row) => sum + row[5], 0) / recent.length : Number.NaN;
    let text = "";
    if (!live.start && details.card.state === "preparing") text = "Reading the data …";
    else if (live.catchingUp) text = "Reading what has happened …";
    else if (!live.start || state === "preparing") text = "Reading the data …";
    else if (live.comparing) text = `To compare: the same model ${live.comparing}`;
    else if (live.renting) text = `Renting: ${live.renting}`;
    else if (Number.isFinite(left) && left > 0) text = `About ${roughly(left)} left`;
    say(saying, text || "\u00a0");
  }

  function roughly(seconds) {
    return seconds < 60 ? `${Math.max(1, Math.round(seconds))} s` : duration(seconds);
  }

  let drawnCurves = "";
  function drawCurves() {
    const trained = known.rounds.some((row) => row[0] > 0) ? known.rounds.filter((row) => row[0] > 0) : known.rounds;
    const places = details.places.slice(1);
    const isOn = isGoing(shownState?.split(",")[0]), of = isOn ? known.live?.start?.rounds : 0;
    const key = `${trained.length}/${trained.at(-1)?.[0]}/${places.length}/${known.live?.best}/${of}`;
    if (key === drawnCurves || !trained.length && !isOn) return;
    drawnCurves = key;
    const first = trained[0]?.[0] ?? 1;
    const column = (index) => trained.filter((row) => row[index] != null).map((row) => [row[0], row[index]]);
    const isClasses = trained.length ? column(1).length > 0 : tileNodes.has("accuracy");
    if (charts.childElementCount !== (isClasses ? 2 : 1)) {
      charts.replaceChildren(...(isClasses ? [accuracy, losses] : [losses]).map((chart) => panel(chart.figure)));
    }
    const references = (index) => places.map((place, position) => ({
      name: place.name, colour: ["other", "third"][position] ?? "muted", kind: "reference",
      points: place.curve.filter((point) => point[0] >= first).map((point) => [point[0], number(point[index])]),
    })).filter((line) => line.points.length);
    const validation = column(3);
    if (isClasses) {
      accuracy.draw([{ name: validation.length ? "test" : "federated", colour: "accent", points: column(1) },
        ...(validation.length ? [{ name: "validation", colour: "validation", points: validation }] : []), ...references(1)], known.live?.best, of);
    }
    const training = column(4);
    losses.draw([{ name: "federated", colour: "accent", points: column(2) },
      ...(training.length ? [{ name: "in training", colour: "good", points: training }] : []), ...references(2)], known.live?.best, of);
    curves.hidden = false;
  }

  function drawResult() {
    if (!result.draw(details)) return;
    drawnCurves = "";
    if (known.live) drawCurves();
  }

  drawState(details.card.state);
  drawTiles();
  drawCurves();
  drawResult();
  follow();
  if (details.card.state === "preparing") watchBeginning();
}
