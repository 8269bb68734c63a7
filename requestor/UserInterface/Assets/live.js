// What goes on in a run, drawn piece by piece: an update touches only what is different.
import { h, say, percent, loss, duration, bytes, glm, grouped, counted, clock, middle, table, scrolls, panel, wordHead, aside, line } from "./tools.js";

const stages = { start: "starting", train: "training", upload: "sending", download: "bringing back" };

/** The round that is under way, a cell for each shard. */
export function roundCells() {
  const section = h("section");
  const cells = h("div", { class: "cells" });
  let cellNodes = new Map();
  let drawnOrder = "";
  function draw(known, state) {
    const { live } = known;
    const isShown = state === "working" && live.round > 0 && live.orderCount > 0;
    section.hidden = !isShown;
    if (!isShown) return;
    if (!section.childNodes.length) section.append(h("h2"), panel(cells, aside()));
    let done = 0, working = 0;
    for (const [code] of known.clients.values()) { if (code === 2) done += 1; else if (code === 1) working += 1; }
    say(section.firstChild, `Round ${live.round} of ${live.start?.rounds ?? "?"}`);
    say(section.lastChild.lastChild, live.order ? `${done} of ${counted(live.orderCount, "shard")} done, ${working} at work` : counted(live.orderCount, "shard"));
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
  return { section, draw };
}

/** Who works, at what, how fast, for how much. */
export function workersTable() {
  const section = h("section");
  const rows = new Map();
  let body, hasCost = false;
  function draw(known) {
    if (!known.workers.size) return;
    const cost = [...known.workers.values()].some((worker) => worker.cost);
    if (!body || cost !== hasCost) {
      hasCost = cost;
      rows.clear();
      const whole = table(["worker", wordHead("now"), h("th", { scope: "col" }, h("span", { class: "unseen" }, "epochs")), "loss", "samples/s", "tasks", "failed", "examples", ...(cost ? ["cost", "an hour"] : [])], []);
      body = whole.tBodies[0];
      section.replaceChildren(h("h2", null, "Workers"), panel(scrolls("Workers", whole, "tall")));
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
  return { section, draw };
}

/** Events in words, the newest first. */
export function newsList() {
  const section = h("section");
  let drawnNews = "";
  function draw(known) {
    const last = known.notes.at(-1);
    const key = `${known.notes.length}${last?.time}${last?.text}`;
    if (key === drawnNews || !known.notes.length) return;
    drawnNews = key;
    if (!section.childNodes.length) {
      section.append(h("h2", null, "What happened"), panel(h("ul", { class: "news", tabindex: "0", "aria-label": "What happened" })));
    }
    section.querySelector("ul").replaceChildren(...known.notes.slice(-100).reverse().map((note) => h("li", null,
      h("time", null, clock(note.time)), h("span", { class: { bad: "bad-text", warning: "warn-text" }[note.level] ?? "" }, note.text))));
  }
  return { section, draw };
}

/** Every round as a row. The newest rows are there; older ones come when somebody scrolls to them. */
export function roundsTable() {
  const section = h("section");
  let roundBody, newest = 0, oldest = 0, trained = [];
  function draw(known) {
    trained = known.rounds.filter((row) => row[0] > 0);
    if (!trained.length) return;
    if (!section.childNodes.length) {
      section.append(h("details", { ontoggle: () => draw(known) }, h("summary", null, "Every round as a table")));
    }
    const holder = section.firstChild;
    if (!holder.open) return;
    const cost = trained.some((row) => row[8]);
    if (!roundBody || roundBody.withCost !== cost || trained.length < newest) {
      const whole = table(["round", "accuracy", "loss", "answers", "failed", "time", "sent", "back", ...(cost ? ["cost"] : [])], []);
      roundBody = whole.tBodies[0];
      roundBody.withCost = cost;
      const frame = scrolls("Rounds", whole, "tall");
      frame.addEventListener("scroll", () => {
        if (frame.scrollTop + frame.clientHeight > frame.scrollHeight - 600) older();
      }, { passive: true });
      holder.querySelector(".panel")?.remove();
      holder.append(panel(frame));
      newest = oldest = trained.length;
      older();
    }
    roundBody.prepend(...trained.slice(newest).reverse().map(roundRow));
    newest = trained.length;
  }

  function older() {
    const from = Math.max(0, oldest - 100);
    roundBody.append(...trained.slice(from, oldest).reverse().map(roundRow));
    oldest = from;
  }

  function roundRow(row) {
    return line(String(row[0]), percent(row[1]), loss(row[2]), grouped(row[9]), grouped(row[10]), duration(row[5]), bytes(row[6]), bytes(row[7]),
      roundBody.withCost && glm(row[8]));
  }
  return { section, draw, restart() { roundBody = undefined; } };
}
