// What came of a run, and how it was asked for.
import { h, ask, Trouble, percent, loss, duration, glm, grouped, number, table, scrolls, plain, setting, panel, wordHead, aside, line, words, named } from "./tools.js";

/** What came of a run; `fail` is told what cannot be had. */
export function runResult({ name, base, fail, signal }) {
  const section = h("section");
  let drawnResult = "";
  /** Whether it is another than before. */
  function draw(details) {
    const { summary, places } = details;
    const key = JSON.stringify([places, summary?.metrics, details.hasReport]);
    if (key === drawnResult) return false;
    drawnResult = key;
    const parts = [];
    if (details.hasModel && summary) {
      parts.push(otherFormats(name, fail, signal));
    }
    if (places.length > 1) {
      const isClasses = places.every((place) => place.accuracy != null);
      const values = places.map((place) => isClasses ? place.accuracy : number(place.loss));
      const low = Math.min(...values), high = Math.max(...values), margin = (high - low) * 0.15 || 0.01;
      parts.push(h("h2", null, "Compared with one place and one shard"), panel(h("div", { class: "dots" },
        places.map((place, index) => {
          const dot = h("i", { class: index ? "" : "first" });
          dot.style.left = `${(values[index] - low + margin) / (high - low + 2 * margin) * 100}%`;
          dot.style.background = index ? `var(--${["other", "third"][index - 1] ?? "third"})` : "";
          return [h("span", null, place.name), h("div", { class: "axis", "aria-hidden": "true" }, dot),
            h("b", null, isClasses ? percent(place.accuracy) : loss(place.loss)), h("span", { class: "note" }, duration(place.seconds))];
        }))), aside("The same model, the same number of passes over the data it sees, the same test set."));
    }
    if (summary?.agreements?.length) {
      parts.push(h("h2", null, "Agreements"), panel(scrolls("Agreements", table(["provider", "agreement", "tasks", "time", "billed", "paid", wordHead("state")],
        summary.agreements.map((one) => line(named(one.provider.name, one.provider.id), h("td", { title: one.agreement }, one.agreement.slice(0, 8)), grouped(one.tasks), duration(one.seconds),
          glm(one.billed_glm), glm(one.paid_glm), words(one.reason ? `${one.state}: ${one.reason}` : one.state)))), "tall")));
    }
    if (details.hasReport && summary) {
      const holder = h("details", { ontoggle: () => {
        if (holder.open && !holder.querySelector("iframe")) {
          holder.append(h("iframe", { class: "report", src: `${base}/report`, title: `Report of ${name}`, sandbox: "" }));
        }
      } }, h("summary", null, "The report: shards, confusion matrix, measures, settings"));
      parts.push(holder, aside(h("a", { href: `${base}/report`, target: "_blank", rel: "noopener" }, "Open the report by itself")));
    }
    section.replaceChildren(...parts);
    return true;
  }
  return { section, draw };
}

/** A model for other tools; `fail` is told of one that cannot be written so: a sentence, not a broken download. */
export function otherFormats(name, fail, signal) {
  const path = `/api/models/${encodeURIComponent(name)}/export?as=`;
  async function send(event, format) {
    event.preventDefault();
    try {
      const response = await fetch(path + format, { signal });
      if (!response.ok) throw new Trouble(await response.json(), response.status);
      const url = URL.createObjectURL(await response.blob());
      h("a", { href: url, download: /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition"))?.[1] ?? name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 10_000);
    } catch (error) { if (error.name !== "AbortError") fail(error); }
  }
  return aside("The model also for ", [["onnx", "ONNX"], ["keras", "Keras"], ["state_dict", "PyTorch (state dictionary)"], ["module", "PyTorch (module)"], ["deml", "DeML"]].map(([format, text], index) =>
    [index ? ", " : "", h("a", { href: path + format, onclick: (event) => send(event, format) }, text)]));
}

/** How the data was read, the settings, and what the process printed. */
export function aboutRun(details, base, signal) {
  const { decisions, settings } = details;
  return h("section", { class: "about" },
    decisions.length > 0 && h("details", null, h("summary", null, "How the data was read"), panel(
      h("dl", { class: "findings" }, decisions.map((decision) => [h("dt", null, decision.subject), h("dd", { class: decision.isWarning ? "warn-text" : "" }, plain(decision.text))])))),
    settings.length > 0 && h("details", null, h("summary", null, "Settings"), panel(scrolls("Settings", h("table", null,
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
