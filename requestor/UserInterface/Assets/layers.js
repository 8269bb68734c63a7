// A small editor of layers: each with its options, the shape behind it, its parameters, and what is wrong in its place.
import { h, say, ask, grouped, counted, pause, small, status } from "./tools.js";

/** What most models are made of; any other layer keeps its options and can be moved. */
const kinds = {
  flatten: {}, linear: { out_features: 64 }, relu: {}, dropout: { p: 0.2 },
  conv2d: { out_channels: 16, kernel_size: 3, padding: 1 }, max_pool2d: { kernel_size: 2 }, avg_pool2d: { kernel_size: 2 },
  global_avg_pool2d: {}, batch_norm: {}, layer_norm: {}, tanh: {}, sigmoid: {}, gelu: {}, silu: {}, leaky_relu: {},
};

/** Options that a form shows, beside those that a layer has. */
const shown = { linear: ["out_features"], conv2d: ["out_channels", "kernel_size", "stride", "padding"], dropout: ["p"], max_pool2d: ["kernel_size", "stride"], avg_pool2d: ["kernel_size", "stride"] };

export function layerEditor({ signal, changed }) {
  let model = { input: { shape: [1] }, layers: [], loss: "mse" };
  let rows = [];
  let asking = 0;
  const list = h("ol", { class: "layers" });
  const total = status();
  const general = h("p", { class: "bad-text", role: "alert", hidden: true });
  const add = small("Add a layer", () => {
    // Before the last layer, which has the outputs.
    const place = Math.max(0, model.layers.length - 1);
    model.layers.splice(place, 0, { type: "relu" });
    build();
    rows[place].select.focus();
    check();
  });
  const element = h("div", null, list, general, h("div", { class: "head" }, total, h("div", { class: "actions" }, add)));

  function build() {
    list.replaceChildren(h("li", { class: "layer head-row", "aria-hidden": "true" }, ["", "layer", "options", "shape", "parameters", ""].map((text, index) => h("span", { class: index === 3 || index === 4 ? "shape" : "" }, text))));
    rows = model.layers.map((layer, index) => row(layer, index));
    list.append(...rows.map((one) => one.node));
  }

  function row(layer, index) {
    const names = layer.type in kinds ? Object.keys(kinds) : [layer.type, ...Object.keys(kinds)];
    const select = h("select", { "aria-label": `Layer ${index}`, onchange: () => {
      model.layers[index] = { type: select.value, ...kinds[select.value] };
      build();
      rows[index].select.focus();
      check();
    } }, names.map((name) => h("option", { value: name, selected: name === layer.type }, name)));
    const options = h("div", { class: "options" });
    const keys = [...new Set([...(shown[layer.type] ?? []), ...Object.keys(layer).filter((key) => key !== "type" && typeof layer[key] !== "object")])];
    for (const key of keys) {
      const field = h("input", { type: "text", value: layer[key] === undefined ? "" : String(layer[key]), inputmode: "decimal", oninput: () => {
        const text = field.value.trim();
        const value = text === "" ? undefined : ["true", "false"].includes(text) ? text === "true" : Number.isNaN(Number(text)) ? text : Number(text);
        if (value === undefined) delete layer[key]; else layer[key] = value;
        check();
      } });
      options.append(h("label", null, key, field));
    }
    if (!keys.length && Object.keys(layer).length > 1) options.append(h("code", null, JSON.stringify(layer)));
    const move = (by) => {
      const target = index + by;
      if (target < 0 || target >= model.layers.length) return;
      [model.layers[index], model.layers[target]] = [model.layers[target], model.layers[index]];
      build();
      rows[target].node.querySelector(by < 0 ? ".up" : ".down").focus();
      check();
    };
    const tool = (name, sign, kind, action, disabled) => h("button", { class: `plain small ${kind}`, "aria-label": `${name} layer ${index}`, title: name, onclick: action, disabled }, sign);
    const shape = h("span", { class: "shape" }), count = h("span", { class: "count" });
    const mistake = h("p", { class: "mistake", hidden: true, role: "alert" });
    const node = h("li", { class: "layer" }, h("span", { class: "number", "aria-hidden": "true" }, String(index)), select, options, shape, count,
      h("span", { class: "tools" }, tool("Move up", "↑", "up", () => move(-1), index === 0), tool("Move down", "↓", "down", () => move(1), index === model.layers.length - 1),
        tool("Remove", "✕", "remove", () => { model.layers.splice(index, 1); build(); (rows[Math.min(index, rows.length - 1)]?.select ?? add).focus(); check(); }, model.layers.length === 1)), mistake);
    return { node, select, shape, count, mistake };
  }

  async function check() {
    asking += 1;
    const mine = asking;
    await pause(120);
    if (mine !== asking || signal.aborted) return;
    let answer;
    try { answer = await ask("/api/models/check", { body: model, signal }); } catch (error) {
      if (error.name === "AbortError" || mine !== asking) return;
      answer = { lines: [], mistake: error, layer: null };
    }
    if (mine !== asking) return;
    rows.forEach((one, index) => {
      const line = answer.lines[index];
      say(one.shape, line ? line.output.join(" × ") : "–");
      say(one.count, line ? grouped(line.parameters) : "–");
      const isWrong = answer.mistake && answer.layer === index;
      one.node.classList.toggle("wrong", Boolean(isWrong));
      one.mistake.hidden = !isWrong;
      say(one.mistake, isWrong ? words(answer.mistake) : "");
    });
    general.hidden = !answer.mistake || answer.layer != null;
    say(general, general.hidden ? "" : words(answer.mistake));
    say(total, answer.parameters == null ? "Not a whole model yet"
      : `${counted(answer.parameters, "parameter")}, ${grouped(answer.multiplyAdds)} multiply-adds an example`);
    changed(model, !answer.mistake);
  }

  const words = (mistake) => mistake.what + (mistake.hint ? ` (${mistake.hint})` : "");

  return {
    element,
    set(given) {
      model = structuredClone(given);
      build();
      check();
    },
    get: () => model,
  };
}
