// From data to a run that goes.
import {
  h, say, ask, troubleBox, tellTrouble, grouped, counted, glm, picture, dropZone, upload, sentence, bytes, table, scrolls, middle, short, plain, field, panel, choice, bar, pause, wordHead, aside, small, line, words, named, marketPrice, status,
} from "./tools.js";
import { layerEditor } from "./layers.js";

export default async function train(main, { signal, go }) {
  const { examples } = await ask("/api/examples", { signal });
  const { folder } = await ask("/api/place", { signal });
  // What is asked for so far.
  const wish = { data: null, name: "run", options: {}, settings: {}, fleet: "local", budget: 5, weights: null };
  let look, isModelGood = false, cost = null, hasFiles;

  // MARK: 1. Data

  const dataNote = h("div");
  const dataAnswer = h("div");
  const path = h("input", { type: "text", id: "path", placeholder: "data/iris.csv", autocomplete: "off", spellcheck: "false" });
  const zone = dropZone({
    text: "Drop a table, a text, arrays or a folder of pictures here", label: "Choose files", folders: true,
    take: async (files) => {
      const gauge = h("div", { class: "bar thick", role: "progressbar", "aria-label": "Upload" }, h("i"));
      const text = aside("Sending …");
      dataNote.replaceChildren(gauge, text);
      dataAnswer.replaceChildren();
      try {
        const data = await upload(files, (done, total) => {
          gauge.firstChild.style.width = `${total ? done / total * 100 : 100}%`;
          say(text, `${bytes(done)} of ${bytes(total)}`);
        }, signal);
        await choose(data, files.length === 1 ? files[0].name : files[0].name.split("/")[0]);
      } catch (error) { tellTrouble(dataNote, error); }
    },
  });
  const dataPart = h("section", null, h("h2", null, "Data"),
    h("div", { class: "pair" }, zone, panel(
      h("p", null, "Or something that is here:"),
      h("div", { class: "actions" }, h("button", { onclick: () => choose("mnist", "mnist") }, "MNIST digits"),
        examples.some((example) => example.data === "fashion-mnist" && example.isHere) && h("button", { onclick: () => choose("fashion-mnist", "fashion-mnist") }, "Fashion-MNIST")),
      h("form", { class: "actions path", onsubmit: (event) => { event.preventDefault(); if (path.value.trim()) choose(path.value.trim(), path.value.trim().split("/").pop()); } },
        field(`A file or folder in ${middle(folder, 44)}`, path), h("button", { type: "submit" }, "Look"))))
    , dataNote, dataAnswer);

  async function choose(data, name) {
    wish.data = data;
    wish.name = name.replace(/\.[a-z0-9]+(\.gz)?$/i, "") || "run";
    wish.options = {};
    wish.isText = /\.txt$/i.test(name);
    await examine(true);
  }

  let looking = 0;
  async function examine(isNew) {
    looking += 1;
    const mine = looking;
    dataNote.replaceChildren(status("Reading …"));
    if (isNew) { dataAnswer.replaceChildren(); rest.hidden = true; look = undefined; }
    try {
      const found = await ask("/api/data/look", { body: { data: wish.data, ...wish.options }, signal });
      if (mine !== looking) return;
      look = found;
      if (isNew) hasFiles = look.hasClients;
      dataNote.replaceChildren();
      wish.isText ||= Boolean(look.text);
      showData();
      rest.hidden = false;
      useModel(look.model, look.settings, isNew);
    } catch (error) {
      if (error.name === "AbortError" || mine !== looking) return;
      if (wish.options.partition) {
        // Nobody can be told apart so.
        delete wish.options.partition;
        wish.settings.partition = "iid";
        await examine(false);
        return partitionNote.replaceChildren(troubleBox(error));
      }
      rest.hidden = true;
      dataNote.replaceChildren(troubleBox(error), decide(error));
    }
  }

  /** How a text is cut into examples. */
  function textForm() {
    const { tokens, block } = wish.options.text ?? look?.text ?? { tokens: "characters", block: 64 };
    const unit = choice([["characters", "characters"], ["bytes", "bytes"]], tokens);
    const length = h("input", { type: "number", min: "1", step: "1", value: String(block) });
    unit.onchange = length.onchange = () => { wish.options.text = { tokens: unit.value, block: Number(length.value) }; examine(false); };
    return h("div", { class: "fields top-gap" }, field("Tokens", unit), field("Tokens of an example", length), fractionField());
  }

  function fractionField() {
    const fraction = h("input", { type: "number", min: "0.05", max: "0.5", step: "0.05", value: String(wish.options.test_fraction ?? 0.2), onchange: () => { wish.options.test_fraction = Number(fraction.value); examine(false); } });
    return field("Part to test with", fraction);
  }

  /** The question that cannot be answered by looking at the data. */
  function decide() {
    if (wish.isText) return dataAnswer.childElementCount ? "" : panel(textForm());
    const column = h("input", { type: "text", value: wish.options.label_column ?? "", autocomplete: "off" });
    const decimal = choice([["", "found out"], ["point", "point"], ["comma", "comma"]], wish.options.decimal ?? "");
    const header = choice([["", "found out"], ["true", "names"], ["false", "values"]], String(wish.options.header ?? ""));
    const labels = choice([["", "found out"], ["classes", "classes"], ["numbers", "numbers to predict"]], wish.options.labels ?? "");
    return h("form", { class: "panel", onsubmit: (event) => {
      event.preventDefault();
      wish.options = { ...wish.options, label_column: column.value.trim() || undefined, decimal: decimal.value || undefined, header: header.value ? header.value === "true" : undefined, labels: labels.value || undefined };
      examine(false);
    } }, h("div", { class: "fields" }, field("Label column: its name or number", column), field("Decimal mark", decimal), field("What the label holds", labels), field("First line", header)),
    h("p", null), h("button", { type: "submit", class: "main" }, "Read it so"));
  }

  function showData() {
    const facts = [counted(look.train, "training example"), look.test ? counted(look.test, "test example") : "no test set",
      look.kind === "table" ? counted(look.columnCount, "column") : look.input.join(" × "),
      look.kind === "texts" ? `${grouped(look.outputs)} different tokens` : look.classes ? counted(look.outputs, "class") : counted(look.outputs, "number") + " to predict"];
    const parts = [h("h3", null, middle(wish.name, 60)), h("p", { class: "lead" }, facts.join(" · "))];
    if (look.pictures.length) {
      parts.push(h("div", { class: "samples" }, look.pictures.map((frame, index) => picture(frame, `training example ${index}`))), h("p", null));
    }
    if (look.findings.length) {
      parts.push(h("dl", { class: "findings" }, look.findings.map((finding) => [h("dt", null, finding.subject), h("dd", { class: finding.warning ? "warn-text" : "" }, plain(finding.text))])));
    }
    if (look.kind === "table") parts.push(tableForm());
    if (look.text) parts.push(textForm());
    if (look.classes && look.kind !== "texts") {
      const most = Math.max(...look.classes.map((one) => one.count), 1);
      parts.push(h("details", { open: look.classes.length <= 10 && look.kind === "table" }, h("summary", null, counted(look.classes.length, "class")),
        h("div", { class: "odds" }, look.classes.slice(0, 30).map((one) => {
          return [h("span", { title: one.name }, one.name), bar(one.count / most), h("span", { class: "share" }, grouped(one.count))];
        }))));
    }
    dataAnswer.replaceChildren(h("div", { class: "panel top-gap" }, parts));
  }

  /** The columns, and what may be decided otherwise. */
  function tableForm() {
    const names = [...look.label, ...look.columns.map((column) => column.name), ...(wish.options.ignore_columns ?? [])];
    const label = h("select", { onchange: () => { wish.options.label_column = label.value; examine(false); } },
      [...new Set(names)].map((name) => h("option", { value: name, selected: look.label.includes(name) }, name)));
    const standardize = choice([["true", "standardised"], ["false", "as they are"]], String(wish.options.standardize !== false), { onchange: () => { wish.options.standardize = standardize.value === "true"; examine(false); } });
    const toggle = (list, name, isOn) => {
      const now = new Set(wish.options[list] ?? []);
      if (isOn) now.add(name); else now.delete(name);
      wish.options[list] = [...now];
      examine(false);
    };
    const rows = look.columns.map((column) => {
      const kind = h("select", { "aria-label": `Kind of ${column.name}`, onchange: () => {
        wish.options.ignore_columns = (wish.options.ignore_columns ?? []).filter((name) => name !== column.name);
        toggle(kind.value === "ignore" ? "ignore_columns" : "category_columns", column.name, kind.value !== "number");
      } }, [["number", "number"], ["category", "category"], ["ignore", "leave out"]].map(([value, text]) =>
        h("option", { value, selected: value === column.kind, disabled: value === "number" && column.kind === "category" && !(wish.options.category_columns ?? []).includes(column.name) }, text)));
      const values = column.kind === "number" ? `mean ${short(Number(column.mean?.toPrecision(4)))}, deviation ${short(Number(column.deviation?.toPrecision(4)))}`
        : [column.values.map((value) => h("span", { class: "tag" }, value)), column.count > column.values.length ? ` and ${column.count - column.values.length} more` : ""];
      return line(named(column.name, column.name, 99), h("td", { class: "text kind" }, kind), words(values), words(column.missing ? "some missing" : ""));
    });
    const left = (wish.options.ignore_columns ?? []).map((name) => small(`Take ${name} again`, () => toggle("ignore_columns", name, false)));
    const frame = scrolls("Columns", table(["column", ...["kind", "values", "missing"].map(wordHead)], rows), "tall");
    return h("div", null, h("div", { class: "fields top-gap" }, field("What is learned", label), field("Numbers", standardize), fractionField()),
      h("details", { open: look.columnCount <= 12 }, h("summary", null, counted(look.columnCount, "column")), frame, left.length > 0 && h("div", { class: "actions" }, left)));
  }

  // MARK: 2. Model

  const modelNote = h("div");
  let file = "";
  const editor = layerEditor({ signal, changed: (model, isGood) => { isModelGood = isGood; tell(); if (isGood && wish.weights) match(); } });

  let isMatched = true;
  /** Which tensor of a file is which of the model. With weights that are none of it nothing can begin. */
  async function match() {
    const { weights } = wish;
    let node;
    try {
      const { summary } = await ask("/api/models/match", { body: { weights, model: editor.get() }, signal });
      isMatched = true;
      node = aside(`Training goes on from the weights in ${file}: ${summary}.`);
    } catch (error) {
      if (error.name === "AbortError") return;
      isMatched = false;
      node = troubleBox(Object.assign(error, { hint: "change the layers, or leave the weights out" }));
      node.append(small("Leave the weights out", () => { wish.weights = null; modelNote.replaceChildren(); tell(); }));
    }
    if (weights === wish.weights) { modelNote.replaceChildren(node); tell(); }
  }
  const models = h("div", { class: "actions" });
  const modelFile = dropZone({
    text: "Or drop a model: weights (safetensors, .pt, .pth), PyTorch (.pt2), ONNX, Keras, or a description (YAML, JSON)", label: "Choose a model", folders: true,
    take: async (files) => {
      try {
        const data = await upload(files, () => {}, signal);
        const found = await ask("/api/models/read", { body: { model: data }, signal });
        wish.weights = found.weights ?? null;
        file = files[0].name;
        // Weights alone are for the layers that are there.
        if (!found.model) { modelNote.replaceChildren(); return match(); }
        modelNote.replaceChildren(aside(found.weights ? `Training goes on from the weights in ${file}.` : `The model of ${file}.`));
        // What a description leaves out, the data says.
        const last = found.model.layers?.findLast((layer) => layer.type === "linear");
        if (last && last.out_features === undefined) last.out_features = look.outputs;
        editor.set({ loss: look.model.loss, ...found.model, input: { ...look.model.input, ...(found.model.input ?? {}) } });
      } catch (error) { tellTrouble(modelNote, error); }
    },
  });
  const modelPart = h("section", null, h("h2", null, "Model"), models, modelNote, h("div", { class: "panel top-gap" }, editor.element), h("div", { class: "top-gap" }, modelFile));

  function useModel(model, settings, isNew) {
    const fitting = examples.filter((example) => example.model.input.shape.join() === look.input.join() && example.data === wish.data);
    models.replaceChildren(small("Suggested for this data", () => { wish.weights = null; modelNote.replaceChildren(); editor.set(look.model); setSettings(look.settings); }),
      ...fitting.map((example) => small(example.title, () => {
        wish.weights = null;
        modelNote.replaceChildren(aside(example.about));
        editor.set(example.model);
        setSettings({ ...look.settings, ...example.settings });
      })));
    modelNote.replaceChildren();
    wish.weights = null;
    if (isNew && fitting.length) {
      editor.set(fitting[0].model);
      setSettings({ ...look.settings, fleet: "local", ...fitting[0].settings });
    } else {
      editor.set(model);
      if (isNew) setSettings(settings); else { showPartitions(); asked(); }
    }
  }

  // MARK: 3. Training

  const fields = {};
  const numberField = (key, text, step = "1", min = "1") => {
    fields[key] = h("input", { type: "number", step, min, placeholder: "none", oninput: () => { if (fields[key].value) wish.settings[key] = Number(fields[key].value); else delete wish.settings[key]; asked(); } });
    return field(text, fields[key]);
  };
  const choiceField = (key, text, values) => {
    fields[key] = choice(values, "", { onchange: () => { wish.settings[key] = fields[key].value; asked(); } });
    return field(text, fields[key]);
  };
  const trainingNote = h("div"), partitionNote = h("div");
  const trainingPart = h("section", null, h("h2", null, "Training"), panel(h("div", { class: "fields" },
    numberField("workers", "Workers"), numberField("rounds", "Rounds"), numberField("local_epochs", "Epochs a round"), numberField("batch_size", "Batch"),
    choiceField("optimizer", "Optimiser", ["adam", "adamw", "sgd", "rmsprop", "lion"].map((name) => [name, name])), numberField("learning_rate", "Learning rate", "any", "0"),
    field("Who has what", fields.partition = choice([], "", { onchange: divide })),
    numberField("seed", "Seed", "1", "0"), numberField("validation_fraction", "Part to validate with", "0.05", "0"), numberField("patience", "Patience in rounds")), partitionNote, trainingNote));

  const isNatural = () => /^by_/.test(wish.settings.partition);
  /** Where the data says who has what, it says how many there are. */
  const workers = () => isNatural() ? Number(look.settings.workers) : wish.settings.workers;

  function divide() {
    const value = wish.settings.partition = fields.partition.value, before = wish.options.partition;
    partitionNote.replaceChildren();
    wish.options.partition = isNatural() ? value : undefined;
    // The column that says whose a row is teaches nothing.
    if (wish.options.partition !== before) examine(false); else asked();
  }

  /** The ways in which this data can be divided. */
  function showPartitions() {
    const { partition } = wish.settings;
    const ways = [["iid", "drawn at random"], ["quantity:0.5", "different amounts"]];
    // Tastes are for classes, and files for several of them.
    if (look.classes && look.kind !== "texts") ways.splice(1, 0, ["dirichlet:0.5", "different tastes"], ["dirichlet:0.1", "very different tastes"], ["pathological:2", "two classes each"]);
    if (hasFiles) ways.push(["by_file", "a file each"]);
    const columns = look.kind === "texts" ? ["role"] : look.columns.map((column) => column.name);
    ways.push(...columns.map((name) => [`by_column:${name}`, `by ${middle(name)}`]));
    if (!ways.some(([value]) => value === partition)) ways.push([partition, isNatural() ? `by ${middle(partition.slice(10))}` : partition]);
    fields.partition.replaceChildren(...choice(ways).children);
    fields.partition.value = partition;
    fields.workers.disabled = isNatural();
    fields.workers.value = String(workers() ?? "");
  }

  function setSettings(settings) {
    wish.settings = { partition: "iid", seed: 0, ...settings };
    if (wish.options.partition) wish.settings.partition = wish.options.partition;
    const fleet = wish.settings.fleet ?? "local";
    delete wish.settings.fleet;
    for (const [key, field] of Object.entries(fields)) {
      const value = wish.settings[key] ?? "";
      if (field.tagName === "SELECT" && ![...field.options].some((option) => option.value === String(value))) field.append(h("option", { value }, String(value)));
      field.value = String(value);
    }
    showPartitions();
    setFleet(fleet === "golem" ? "local" : fleet);
  }

  // MARK: 4. Where

  const budget = h("input", { type: "number", min: "0.01", step: "any", value: "5", oninput: () => { wish.budget = Number(budget.value); asked(); } });
  const golem = h("div", { class: "panel top-gap", hidden: true });
  const golemWords = h("div");
  const price = marketPrice(signal, tell);
  golem.append(h("div", { class: "fields" }, field("GLM that it may cost in all", budget)), golemWords, price.element);
  const places = [["local", "This machine", "A process for each worker, as on other machines"], ["simulated", "Simulated here", "Threads of one process: hundreds of workers on one machine"], ["golem", "Golem", "Rented machines of strangers, who see their part of the data"]];
  const radios = places.map(([value, title, text]) => {
    const radio = h("input", { type: "radio", name: "fleet", value, onchange: () => setFleet(value) });
    return { radio, node: h("label", { class: "choice" }, radio, h("b", null, title), h("span", null, text)) };
  });
  const wherePart = h("section", null, h("h2", null, "Where"), h("div", { class: "choices", role: "radiogroup", "aria-label": "Where" }, radios.map((one) => one.node)), golem);

  function setFleet(value) {
    wish.fleet = value;
    for (const { radio } of radios) radio.checked = radio.value === value;
    golem.hidden = value !== "golem";
    asked();
  }

  // MARK: Start

  const startText = h("p", { role: "status" });
  const startNote = h("div");
  const start = h("button", { class: "main big", onclick: begin }, "Train");
  const startPart = h("div", { class: "start" }, startText, start);
  const rest = h("div", { hidden: true, class: "steps-rest" });
  const steps = h("div", { class: "steps" });

  const request = () => ({
    name: wish.name,
    settings: {
      ...wish.settings, workers: workers(), data: wish.data, model: editor.get(), fleet: wish.fleet, ...dataOptions(),
      ...(wish.weights ? { initial_weights: wish.weights } : {}), ...(wish.fleet === "golem" ? { golem: { budget: wish.budget } } : {}),
    },
  });
  const dataOptions = () => Object.fromEntries(Object.entries(wish.options).filter(([, value]) => value !== undefined && !(Array.isArray(value) && !value.length)));

  let checking = 0;
  async function asked() {
    tell();
    if (!look) return;
    checking += 1;
    const mine = checking;
    await pause(150);
    if (mine !== checking || signal.aborted) return;
    try {
      const found = await ask("/api/settings/check", { body: request(), signal });
      if (mine !== checking) return;
      cost = found;
      if (found.machines) price.survey(found.machines, 1);
      trainingNote.replaceChildren();
      for (const field of Object.values(fields)) field.removeAttribute("aria-invalid");
      if (found.notice) golemWords.replaceChildren(...found.notice.map((line) => h("p", null, sentence(line))), ...(found.problems ?? []).map((line) => h("p", { class: "bad-text" }, line)));
      problems = null;
    } catch (error) {
      if (error.name === "AbortError" || mine !== checking) return;
      problems = error;
      for (const [key, field] of Object.entries(fields)) {
        if ([error.where, ...error.problems.map((problem) => problem.key)].includes(key)) field.setAttribute("aria-invalid", "true"); else field.removeAttribute("aria-invalid");
      }
      // What is wrong with the model stands at its layer.
      const isModel = !isModelGood && (error.where === "model" || error.problems.every((problem) => problem.key === "model") && error.problems.length);
      trainingNote.replaceChildren(...(isModel ? [] : [troubleBox(error)]));
    }
    tell();
  }
  let problems = null;

  function tell() {
    const isGolem = wish.fleet === "golem";
    const amount = isGolem ? cost?.budget ?? wish.budget : null;
    say(start, isGolem ? `Rent and train for at most ${glm(amount)}` : "Train");
    const isOdd = wish.weights && !isMatched;
    start.disabled = !look || !isModelGood || isOdd || Boolean(problems) || (isGolem && !(cost?.budget === wish.budget && price.isKnown));
    say(startText, !isModelGood ? "The model is not whole yet." : isOdd ? "The weights are not those of the model." : problems ? "Some settings are wrong." : `${wish.name} · ${counted(workers() ?? 0, "worker")} · ${counted(wish.settings.rounds ?? 0, "round")}`
      + (isGolem && cost?.worst != null ? ` · worst case ${glm(cost.worst)} in the first hour, never more than ${glm(amount)}${price.isKnown ? "" : " · the button waits for the market's price"}` : ""));
  }

  async function begin() {
    start.disabled = true;
    startNote.replaceChildren();
    try {
      const { run } = await ask("/api/runs", { body: { ...request(), agreedGLM: wish.fleet === "golem" ? cost.budget : undefined }, signal });
      go(`/runs/${encodeURIComponent(run)}`);
    } catch (error) {
      tellTrouble(startNote, error);
      tell();
    }
  }

  rest.append(modelPart, trainingPart, wherePart, startNote, startPart);
  steps.append(dataPart, rest);
  main.replaceChildren(h("h1", null, "Train a model"), h("p", { class: "lead" }, "Data, a model, a place. What is found out is shown, and may be changed."), steps);
}
