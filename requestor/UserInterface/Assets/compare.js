// Runs side by side: curves over each other, and only the settings that differ.
import { h, ask, percent, loss, duration, glm, grouped, table, scrolls, short, stateWords, isGoing, middle, number, tellTrouble, setting, panel, pause, aside, line } from "./tools.js";
import { lineChart } from "./chart.js";

export default async function compare(main, { signal, query, go }) {
  const { runs } = await ask("/api/runs", { signal });
  const comparable = runs.filter((run) => run.rounds > 0);
  const wanted = query.getAll("run").filter((name) => comparable.some((run) => run.run === name)).slice(0, 8);
  const chooser = h("div", { class: "choices" });
  const answer = h("div");
  const accuracy = lineChart({ title: "Test accuracy", written: (value) => `${short(value * 100)} %`, exactly: percent, floor: 0, ceiling: 1 });
  const losses = lineChart({ title: "Test loss", exactly: loss, floor: 0 });
  const colours = ["accent", "other", "class4", "class6", "class1", "class3", "class8", "third"];

  chooser.append(...comparable.slice(0, 60).map((run) => {
    const box = h("input", { type: "checkbox", checked: wanted.includes(run.run), onchange: () => {
      if (box.checked && wanted.length >= 8) { box.checked = false; return; }
      if (box.checked) wanted.push(run.run); else wanted.splice(wanted.indexOf(run.run), 1);
      history.replaceState(null, "", `/compare?${wanted.map((name) => `run=${encodeURIComponent(name)}`).join("&")}`);
      draw();
    } });
    return h("label", { class: "choice" }, box, h("b", null, middle(run.run, 30)), h("span", null, [run.data, run.accuracy !== undefined ? percent(run.accuracy) : loss(run.loss)].filter(Boolean).join(" · ")));
  }));
  await draw();
  main.replaceChildren(aside(h("a", { href: "/" }, "Runs")), h("h1", null, "Compare runs"), answer,
    h("h2", null, "Which runs"), comparable.length ? chooser : h("p", { class: "lead" }, "There is no run with a finished round yet."));
  while (!signal.aborted) {
    await pause(2000);
    if (!signal.aborted && !document.hidden && isLive) await draw();
  }

  var isLive;
  async function draw() {
    if (wanted.length < 2) {
      answer.replaceChildren(h("p", { class: "lead" }, "Choose two to eight runs."));
      return;
    }
    try {
      const found = await ask(`/api/compare?${wanted.map((name) => `run=${encodeURIComponent(name)}`).join("&")}`, { signal });
      isLive = found.runs.some((run) => isGoing(run.state));
      show(found);
    } catch (error) { tellTrouble(answer, error, draw); }
  }

  function show({ runs, differences }) {
    const isClasses = runs.some((run) => run.accuracy != null);
    const lines = (index) => runs.map((run, position) => ({
      name: middle(run.run, 28), colour: colours[position],
      points: run.curve.map((point) => [point[0], number(point[index])]).filter((point) => Number.isFinite(point[1])),
    }));
    if (!answer.querySelector(".pair")) {
      answer.replaceChildren(h("div", { class: "pair top-gap" }, (isClasses ? [accuracy, losses] : [losses]).map((chart) => panel(chart.figure))), h("div", { class: "tables" }));
    }
    if (isClasses) accuracy.draw(lines(1));
    losses.draw(lines(2));
    const hasCost = runs.some((run) => run.cost != null);
    const key = (position) => { const sign = h("i"); sign.style.background = `var(--${colours[position]})`; return h("span", { class: "key" }, sign); };
    const result = table(["run", isClasses && "accuracy", "loss", "best", "time", "parameters", ...(hasCost ? ["cost"] : []), "state"],
      runs.map((run, position) => {
        const row = line(h("td", { class: "wrapped" }, key(position), " ", h("a", { href: `/runs/${encodeURIComponent(run.run)}` }, run.run)),
          isClasses && percent(run.accuracy), loss(run.loss), `${run.bestAccuracy == null ? loss(run.bestLoss) : percent(run.bestAccuracy)} (${run.bestRound ?? "–"})`, duration(run.seconds), grouped(run.parameters), hasCost && glm(run.cost), stateWords[run.state]);
        if (run.isFirst) row.className = "first";
        return row;
      }));
    const settings = differences.length
      ? table(["setting", ...runs.map((run, position) => h("th", { scope: "col", class: "text" }, key(position), " ", middle(run.run, 24)))],
        differences.map((difference) => line(difference.key, difference.values.map((value) => h("td", { class: "text wrapped", title: setting(value) }, difference.key === "data" ? setting(value).split("/").pop() : middle(setting(value), 90))))))
      : h("p", { class: "lead" }, "All settings are the same.");
    answer.querySelector(".tables").replaceChildren(h("h2", null, "Result"), panel(scrolls("Result", result)),
      h("h2", null, "Settings that differ"), panel(scrolls("Settings that differ", settings)));
  }
}
