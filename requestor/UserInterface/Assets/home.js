// The first view: what runs are there, and three doors.
import { h, s, ask, troubleBox, tellTrouble, stateBadge, percent, loss, duration, glm, grouped, counted, ago, middle, isGoing, announce, bar, pause } from "./tools.js";
import { spark } from "./chart.js";

export default async function home(main, { signal, go }) {
  let cards = [];
  let shown = "";
  let isEmpty;
  const chosen = new Set();
  const list = h("div", { class: "cards" });
  const compare = h("button", { hidden: true, onclick: () => {
    go(`/compare?${[...chosen].map((run) => `run=${encodeURIComponent(run)}`).join("&")}`);
  } });
  const gone = h("div");

  const { runs } = await ask("/api/runs", { signal });
  draw(runs);
  repeat();

  function draw(runs) {
    gone.replaceChildren();
    const text = JSON.stringify(runs);
    if (text === shown) return;
    shown = text;
    if (isEmpty !== !runs.length) {
      isEmpty = !runs.length;
      main.replaceChildren(gone, ...(isEmpty ? empty() : full()));
    }
    const known = new Map(cards.map((card) => [card.run, card]));
    cards = runs.map((run) => {
      const old = known.get(run.run);
      const json = JSON.stringify(run);
      if (old?.json === json) return old;
      if (old && isGoing(old.state) && !isGoing(run.state)) announce(`${run.run} has ended: ${run.state}`);
      return { run: run.run, state: run.state, json, node: card(run) };
    });
    const nodes = cards.map((card) => card.node);
    if (nodes.length !== list.children.length || nodes.some((node, index) => list.children[index] !== node)) {
      const focused = document.activeElement?.closest?.(".card")?.dataset.run;
      list.replaceChildren(...nodes);
      if (focused) nodes.find((node) => node.dataset.run === focused)?.querySelector("a").focus();
    }
    tell();
  }

  function tell() {
    const count = [...chosen].filter((run) => cards.some((card) => card.run === run)).length;
    compare.hidden = count < 2;
    compare.textContent = `Compare ${count} runs`;
  }

  function full() {
    return [
      h("div", { class: "head" }, h("div", null, h("h1", null, "Runs")), h("div", { class: "actions" }, compare)),
      h("div", { class: "doors" },
        door("/train", "Train a model", "Your data or MNIST, on this machine or on rented ones"),
        door("/try", "Use a model", "Draw a digit, type a row or a prompt, drop a whole file"),
        door("/golem", "Look at the market", "Who offers machines, for how much, and what was paid")),
      h("h2", { class: "unseen" }, "All runs"), h("div", { class: "gap" }), list,
    ];
  }

  function empty() {
    const note = h("div");
    const button = h("button", { class: "main big", onclick: async () => {
      button.disabled = true;
      try {
        const { examples } = await ask("/api/examples", { signal });
        const mnist = examples[0];
        const { run } = await ask("/api/runs", {
          signal, body: { name: mnist.name, settings: { data: mnist.data, model: mnist.model, ...mnist.settings } },
        });
        go(`/runs/${encodeURIComponent(run)}`);
      } catch (error) {
        button.disabled = false;
        tellTrouble(note, error);
      }
    } }, "Train MNIST now");
    return [
      h("div", { class: "panel empty" }, h("h1", null, "Nothing is trained yet"),
        h("p", null, "Begin with 60,000 handwritten digits that come with DeML: three workers on this machine, three rounds, "
          + "some seconds. Then draw a digit and see it read."),
        button, note),
      h("div", { class: "doors" },
        door("/train", "Bring your own data", "A table, pictures, arrays: drop it, and a model is suggested"),
        door("/try", "Use a model", "One that you have: PyTorch, ONNX, Keras"),
        door("/golem", "Look at the market", "Who offers machines, and for how much")),
    ];
  }

  function door(href, title, text) {
    return h("a", { class: "door", href }, h("h2", { class: "title" }, title), h("span", null, text));
  }

  function card(run) {
    const figure = run.accuracy != null ? percent(run.accuracy) : run.loss !== undefined ? `loss ${loss(run.loss)}` : "–";
    const tail = [run.of ? `${grouped(run.rounds)} of ${counted(run.of, "round")}` : "", run.seconds ? duration(run.seconds) : "",
      run.cost != null ? glm(run.cost) : ""].filter(Boolean).join(" · ");
    const box = h("input", { type: "checkbox", checked: chosen.has(run.run), onchange: () => {
      if (box.checked) chosen.add(run.run); else chosen.delete(run.run);
      tell();
    } });
    return h("article", { class: "card", "data-run": run.run },
      h("p", { class: "sub" }, h("span", null, [run.data, run.fleet].filter(Boolean).join(" · ") || "\u00a0"), h("span", null, ago(run.changed))),
      h("h3", null, h("a", { href: `/runs/${encodeURIComponent(run.run)}`, title: run.run.length > 34 ? run.run : null }, middle(run.run, 34))),
      h("p", { class: "figure" }, h("b", null, run.state === "failed" && !run.rounds ? "–" : figure), stateBadge(run.state)),
      run.curve?.length > 1 ? spark(run.curve) : s("svg", { class: "spark", "aria-hidden": "true" }),
      bar(run.of ? run.rounds / run.of : 0),
      h("p", { class: "sub" }, h("span", null, run.state === "failed" ? run.message ?? tail : tail || "\u00a0"),
        run.rounds ? h("label", { class: "pick" }, box, "compare", h("span", { class: "unseen" }, ` ${run.run}`)) : null));
  }

  async function repeat() {
    while (!signal.aborted) {
      await pause(cards.some((card) => isGoing(card.state)) ? 1000 : 3000);
      if (signal.aborted) return;
      if (document.hidden) continue;
      try { draw((await ask("/api/runs", { signal })).runs); } catch (error) {
        if (error.name === "AbortError") return;
        if (!gone.childNodes.length) gone.replaceChildren(troubleBox(error));
        if (error.status === 401) return;
      }
    }
  }
}
