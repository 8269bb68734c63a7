// One run: live while it goes, its result when it has ended.
import {
  h, say, ask, Trouble, troubleBox, stateBadge, percent, loss, duration, bytes, glm, grouped, counted, clock, middle, number, isGoing, announce,
  table, scrolls, sentence, short, stateWords, plain, setting,
} from "./tools.js";
import { lineChart } from "./chart.js";

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
  const saying = h("p", { class: "note" });
  const now = h("section");
  const cells = h("div", { class: "cells" });
  const workers = h("section");
  const news = h("section");
  const result = h("section");
  const accuracy = lineChart({ title: "Test accuracy", written: (value) => `${short(value * 100)} %`, exactly: percent, floor: 0, ceiling: 1 });
  const losses = lineChart({ title: "Loss", exactly: loss, floor: 0 });
  const charts = h("div", { class: "pair" });
  const curves = h("section", { hidden: true }, h("h2", null, "Learning curve"), charts);
  const rounds = h("section");

  main.replaceChildren(
    h("p", { class: "note" }, h("a", { href: "/" }, "Runs")),
    h("div", { class: "head" }, h("div", null, h("h1", null, name), h("p", { class: "lead" }, subtitle(), " ", state)), actions),
    note, tiles, h("div", { class: "progress" }, progress, saying), curves, now, workers, news, result, rounds, about());

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
      await new Promise((resolve) => setTimeout(resolve, 400));
      try { details = await ask(base, { signal }); } catch { return; }
      drawState(known.live?.start ? known.live.state : details.card.state);
      main.querySelector(".lead").firstChild.textContent = `${subtitle()} `;
      if (details.card.state !== "preparing") {
        main.querySelector("section.about").replaceWith(about());
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
      roundBody = undefined;
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
    for (const pause of [100, 700, 2000]) {
      await new Promise((resolve) => setTimeout(resolve, pause));
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
      drawRound(state);
      drawWorkers();
    }
    drawNews();
    drawRounds();
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
      isGoing(value) && h("button", { type: "button", class: "danger", onclick: stop }, "Stop"),
      canResume && value !== "finished" && h("button", { type: "button", class: "main", onclick: () => resume() }, resumeText()),
      canResume && value === "finished" && h("button", { type: "button", onclick: more }, "More rounds"),
      details.hasModel && h("a", { class: value === "finished" ? "button main" : "button", href: `/try/${encodeURIComponent(name)}` }, "Try the model"),
      details.hasModel && !isGoing(value) && link(`${base}/model`, "Download", true),
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
      if (error.name !== "AbortError") note.replaceChildren(troubleBox(error));
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
    const field = h("input", { type: "number", min: String(details.card.of + 1), value: String(details.card.of * 2), id: "more" });
    const form = h("form", { class: "box", onsubmit: async (event) => {
      event.preventDefault();
      if (await resume(Number(field.value), form.querySelector("button"))) form.remove();
    } }, h("div", { class: "actions" }, h("label", { class: "field" }, "Rounds in all", field),
      h("button", { class: "main", type: "submit" }, details.budget ? `Go on for at most ${glm(details.budget)}` : "Go on"),
      h("button", { class: "plain", type: "button", onclick: () => form.remove() }, "Cancel")));
    note.replaceChildren(form);
    field.focus();
  }

  const tileNodes = new Map();
  function tile(key, value, text, isFirst) {
    let node = tileNodes.get(key);
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
    // A run that has not begun has nothing to show, and may never have.
    tiles.hidden = !card.of && !live?.start;
    if (tiles.hidden) return;
    const isClasses = last ? last[1] !== null && last[1] !== undefined : card.accuracy !== undefined && card.accuracy !== null;
    if (isClasses) tile("accuracy", percent(last ? last[1] : card.accuracy), last ? `test accuracy, round ${last[0]}` : "test accuracy", true);
    tile("loss", loss(last ? last[2] : card.loss), "test loss", !isClasses);
    const best = live?.best && known.rounds.find((row) => row[0] === live.best);
    if (best && isClasses) tile("best", percent(best[1]), `best model, round ${best[0]}`);
    const of = live?.start?.rounds ?? card.of;
    tile("rounds", of ? `${grouped(trained.length || card.rounds)} / ${grouped(of)}` : "–", "rounds");
    tile("time", duration(trained.length ? trained.reduce((sum, row) => sum + row[5], 0) : card.seconds || Number.NaN), "training time");
    const up = trained.reduce((sum, row) => sum + row[6], 0), down = trained.reduce((sum, row) => sum + row[7], 0);
    if (up + down || live?.start && live.start.fleet !== "simulated") tile("bytes", bytes(up + down), up + down ? `sent ${bytes(up)}, back ${bytes(down)}` : "moved");
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
    const of = isGoing(shownState?.split(",")[0]) ? known.live?.start?.rounds : 0;
    const key = `${trained.length}/${trained.at(-1)?.[0]}/${places.length}/${known.live?.best}/${of}`;
    if (key === drawnCurves || !trained.length) return;
    drawnCurves = key;
    const first = trained[0][0];
    const column = (index) => trained.filter((row) => row[index] !== null && row[index] !== undefined).map((row) => [row[0], row[index]]);
    const isClasses = column(1).length > 0;
    if (charts.childElementCount !== (isClasses ? 2 : 1)) {
      charts.replaceChildren(...(isClasses ? [accuracy, losses] : [losses]).map((chart) => h("div", { class: "panel" }, chart.figure)));
    }
    const references = (index) => places.map((place, number) => ({
      name: place.name, colour: ["other", "third"][number] ?? "muted", kind: "reference",
      points: place.curve.filter((point) => point[0] >= first).map((point) => [point[0], number_(point[index])]),
    })).filter((line) => line.points.length);
    const validation = column(3);
    if (isClasses) {
      accuracy.draw([{ name: validation.length ? "test" : "federated", colour: "accent", points: column(1) },
        ...(validation.length ? [{ name: "validation", colour: "class6", points: validation }] : []), ...references(1)], known.live?.best, of);
    }
    const training = column(4);
    losses.draw([{ name: "federated", colour: "accent", points: column(2) },
      ...(training.length ? [{ name: "in training", colour: "good", points: training }] : []), ...references(2)], known.live?.best, of);
    curves.hidden = false;
  }
  function number_(value) { return number(value); }

  let cellNodes = new Map();
  let drawnOrder = "";
  function drawRound(state) {
    const { live } = known;
    const isShown = state === "working" && live.round > 0 && live.orderCount > 0;
    now.hidden = !isShown;
    if (!isShown) return;
    if (!now.childNodes.length) now.append(h("h2"), h("div", { class: "panel" }, cells, h("p", { class: "note" })));
    let done = 0, working = 0;
    for (const [code] of known.clients.values()) { if (code === 2) done += 1; else if (code === 1) working += 1; }
    say(now.firstChild, `Round ${live.round} of ${live.start?.rounds ?? "?"}`);
    say(now.lastChild.lastChild, live.order ? `${done} of ${counted(live.orderCount, "shard")} done, ${working} at work` : counted(live.orderCount, "shard"));
    cells.hidden = !live.order;
    if (!live.order) return;
    const order = live.order.join();
    if (order !== drawnOrder) {
      drawnOrder = order;
      cellNodes = new Map(live.order.map((client) => [client, h("i", { title: `shard ${client}` }, h("b"))]));
      cells.className = live.order.length <= 12 ? "cells few" : "cells";
      cells.replaceChildren(...cellNodes.values());
    }
    for (const [client, [code, epoch, epochs]] of known.clients) {
      const node = cellNodes.get(client);
      if (!node) continue;
      const name = ["", "working", "done", "failed"][code];
      if (node.className !== name) node.className = name;
      const width = code === 2 ? "" : code === 1 ? `${Math.max(8, epochs ? epoch / epochs * 100 : 8)}%` : "0";
      if (node.firstChild.style.width !== width) node.firstChild.style.width = width;
    }
  }

  const rows = new Map();
  let body, hasCost = false;
  function drawWorkers() {
    if (!known.workers.size) return;
    const cost = [...known.workers.values()].some((worker) => worker.cost);
    if (!body || cost !== hasCost) {
      hasCost = cost;
      rows.clear();
      const whole = table(["worker", h("th", { scope: "col", class: "text" }, "now"), h("th", { scope: "col" }, h("span", { class: "unseen" }, "epochs")), "loss", "samples/s", "tasks", "failed", "examples", ...(cost ? ["cost", "an hour"] : [])], []);
      body = whole.tBodies[0];
      const frame = scrolls("Workers", whole);
      frame.classList.add("tall");
      workers.replaceChildren(h("h2", null, "Workers"), h("div", { class: "panel" }, frame));
    }
    for (const worker of known.workers.values()) {
      let row = rows.get(worker.id);
      const json = JSON.stringify(worker);
      if (row?.json === json) continue;
      if (!row) {
        const bar = h("div", { class: "bar" }, h("i"));
        bar.style.width = "84px";
        const cells = Array.from({ length: cost ? 10 : 8 }, () => h("td"));
        cells[0].className = "name";
        cells[1].className = "text";
        cells[1].style.minWidth = "118px";
        cells[2].append(bar);
        row = { node: h("tr", null, cells), cells, bar: bar.firstChild };
        rows.set(worker.id, row);
        body.append(row.node);
      }
      row.json = json;
      const { cells } = row;
      say(cells[0], middle(worker.name, 36));
      if (worker.name.length > 36) cells[0].title = worker.name;
      say(cells[1], worker.stage ? `${stages[worker.stage] ?? worker.stage} · shard ${worker.client}` : "–");
      row.bar.parentNode.style.visibility = worker.stage ? "" : "hidden";
      row.bar.style.width = worker.stage && worker.epochs ? `${worker.epoch / worker.epochs * 100}%` : "0";
      say(cells[3], loss(worker.loss));
      say(cells[4], grouped(worker.rate));
      say(cells[5], grouped(worker.tasks));
      say(cells[6], grouped(worker.failures));
      cells[6].className = worker.failures ? "bad-text" : "";
      say(cells[7], grouped(worker.examples));
      if (cost) {
        say(cells[8], glm(worker.cost));
        say(cells[9], worker.seconds ? glm(worker.cost / worker.seconds * 3600) : "–");
      }
    }
  }
  const stages = { start: "starting", train: "training", upload: "sending", download: "bringing back" };

  let drawnNews = "";
  function drawNews() {
    const last = known.notes.at(-1);
    const key = `${known.notes.length}${last?.time}${last?.text}`;
    if (key === drawnNews || !known.notes.length) return;
    drawnNews = key;
    if (!news.childNodes.length) {
      news.append(h("h2", null, "What happened"), h("div", { class: "panel" }, h("ul", { class: "news", tabindex: "0", "aria-label": "What happened" })));
    }
    news.querySelector("ul").replaceChildren(...known.notes.slice(-100).reverse().map((note) => h("li", null,
      h("time", null, clock(note.time)), h("span", { class: { bad: "bad-text", warning: "warn-text" }[note.level] ?? "" }, note.text))));
  }

  // The newest rows are there; older ones come when somebody scrolls to them.
  let roundBody, newest = 0, oldest = 0;
  function drawRounds() {
    const trained = known.rounds.filter((row) => row[0] > 0);
    if (!trained.length) return;
    if (!rounds.childNodes.length) {
      rounds.append(h("details", { ontoggle: drawRounds }, h("summary", null, "Every round as a table")));
    }
    const holder = rounds.firstChild;
    if (!holder.open) return;
    const cost = trained.some((row) => row[8]);
    if (!roundBody || roundBody.withCost !== cost || trained.length < newest) {
      const whole = table(["round", "accuracy", "loss", "answers", "failed", "time", "sent", "back", ...(cost ? ["cost"] : [])], []);
      roundBody = whole.tBodies[0];
      roundBody.withCost = cost;
      const frame = scrolls("Rounds", whole);
      frame.classList.add("tall");
      frame.addEventListener("scroll", () => {
        if (frame.scrollTop + frame.clientHeight > frame.scrollHeight - 600) older();
      }, { passive: true });
      holder.querySelector(".panel")?.remove();
      holder.append(h("div", { class: "panel" }, frame));
      newest = oldest = trained.length;
      older();
    }
    roundBody.prepend(...trained.slice(newest).reverse().map(roundRow));
    newest = trained.length;
  }

  function older() {
    const trained = known.rounds.filter((row) => row[0] > 0);
    const from = Math.max(0, oldest - 100);
    roundBody.append(...trained.slice(from, oldest).reverse().map(roundRow));
    oldest = from;
  }

  function roundRow(row) {
    return h("tr", null, [String(row[0]), percent(row[1]), loss(row[2]), grouped(row[9]), grouped(row[10]), duration(row[5]), bytes(row[6]),
      bytes(row[7]), ...(roundBody.withCost ? [glm(row[8])] : [])].map((text) => h("td", null, text)));
  }

  let drawnResult = "";
  function drawResult() {
    const { summary, places } = details;
    const key = JSON.stringify([places, summary?.metrics, details.hasReport]);
    if (key === drawnResult) return;
    drawnResult = key;
    drawnCurves = "";
    if (known.live) drawCurves();
    const parts = [];
    if (details.hasModel && summary) {
      parts.push(h("p", { class: "note formats" }, "The model also for ", [["onnx", "ONNX"], ["keras", "Keras"], ["state_dict", "PyTorch (state dictionary)"], ["module", "PyTorch (module)"]].map(([format, text], index) =>
        [index ? ", " : "", h("a", { href: `${base}/model?as=${format}`, onclick: (event) => { event.preventDefault(); fetchModel(format); } }, text)])));
    }
    if (places.length > 1) {
      const isClasses = places.every((place) => place.accuracy !== null && place.accuracy !== undefined);
      const values = places.map((place) => isClasses ? place.accuracy : number(place.loss));
      const low = Math.min(...values), high = Math.max(...values), margin = (high - low) * 0.15 || 0.01;
      parts.push(h("h2", null, "Compared with one place and one shard"), h("div", { class: "panel" }, h("div", { class: "dots" },
        places.map((place, index) => {
          const dot = h("i", { class: index ? "" : "first" });
          dot.style.left = `${(values[index] - low + margin) / (high - low + 2 * margin) * 100}%`;
          dot.style.background = index ? `var(--${["other", "third"][index - 1] ?? "third"})` : "";
          return [h("span", null, place.name), h("div", { class: "axis", "aria-hidden": "true" }, dot),
            h("b", null, isClasses ? percent(place.accuracy) : loss(place.loss)), h("span", { class: "note" }, duration(place.seconds))];
        }))), h("p", { class: "note" }, "The same model, the same number of passes over the data it sees, the same test set."));
    }
    if (summary?.agreements?.length) {
      const frame = scrolls("Agreements", table(["provider", "agreement", "tasks", "time", "billed", "paid", h("th", { scope: "col", class: "text" }, "state")],
        summary.agreements.map((one) => h("tr", null, h("td", { class: "name", title: one.provider.id }, middle(one.provider.name, 30)), h("td", { title: one.agreement }, one.agreement.slice(0, 8)),
          h("td", null, grouped(one.tasks)), h("td", null, duration(one.seconds)), h("td", null, glm(one.billed_glm)), h("td", null, glm(one.paid_glm)), h("td", { class: "text" }, one.reason ? `${one.state}: ${one.reason}` : one.state)))));
      frame.classList.add("tall");
      parts.push(h("h2", null, "Agreements"), h("div", { class: "panel" }, frame));
    }
    if (details.hasReport && summary) {
      const holder = h("details", { ontoggle: () => {
        if (holder.open && !holder.querySelector("iframe")) {
          holder.append(h("iframe", { class: "report", src: `${base}/report`, title: `Report of ${name}`, sandbox: "" }));
        }
      } }, h("summary", null, "The report: shards, confusion matrix, measures, settings"));
      parts.push(holder, h("p", { class: "note" }, h("a", { href: `${base}/report`, target: "_blank", rel: "noopener" }, "Open the report by itself")));
    }
    result.replaceChildren(...parts);
  }

  drawState(details.card.state);
  drawTiles();
  drawResult();
  follow();
  if (details.card.state === "preparing") watchBeginning();

  /** A model that cannot be written so is a sentence here, not a broken download. */
  async function fetchModel(format) {
    try {
      const response = await fetch(`${base}/model?as=${format}`, { signal });
      if (!response.ok) throw new Trouble(await response.json(), response.status);
      const url = URL.createObjectURL(await response.blob());
      h("a", { href: url, download: /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition"))?.[1] ?? name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 10_000);
    } catch (error) { if (error.name !== "AbortError") note.replaceChildren(troubleBox(error)); }
  }

  function about() {
    const { decisions, settings } = details;
    return h("section", { class: "about" },
      decisions.length > 0 && h("details", null, h("summary", null, "How the data was read"), h("div", { class: "panel" },
        h("dl", { class: "findings" }, decisions.map((decision) => [h("dt", null, decision.subject), h("dd", { class: decision.isWarning ? "warn-text" : "" }, plain(decision.text))])))),
      settings.length > 0 && h("details", null, h("summary", null, "Settings"), h("div", { class: "panel" }, scrolls("Settings", h("table", null,
        h("tbody", null, settings.map((one) => h("tr", null, h("th", { scope: "row" }, one.key), h("td", { class: "text" }, h("code", null, setting(one.value)))))))))),
      h("details", { ontoggle: async (event) => {
        const holder = event.currentTarget;
        if (!holder.open) return;
        try {
          const { text } = await ask(`${base}/log`, { signal });
          holder.querySelector("pre").textContent = text || "It was not started from the page.";
        } catch { /* the run is gone, which is said above */ }
      } }, h("summary", null, "What its process printed"), h("pre", { class: "panel mono scroll", tabindex: "0" })));
  }
}
