// A model at work: a drawing, a picture, a row, a prompt, a whole file.
import { otherFormats } from "./result.js";
import { h, say, ask, troubleBox, tellTrouble, percent, grouped, short, paint, dropZone, upload, table, scrolls, counted, middle, bytes, glm, duration, field, panel, choice, bar, pause, wordHead, aside, small, line as row, words, marketPrice, status } from "./tools.js";

export default async function tryModel(main, { signal, parameters: [name], go }) {
  const { runs } = await ask("/api/runs", { signal });
  const usable = runs.filter((run) => run.rounds > 0);
  if (name === undefined) {
    if (!usable.length) {
      main.replaceChildren(h("div", { class: "panel empty" }, h("h1", null, "There is no model yet"), h("p", null, "A model is there after the first round of a run."), h("a", { class: "button main", href: "/" }, "To the runs")),
        h("h2", null, "Or one that you have"), modelFile());
      return;
    }
    return go(`/try/${encodeURIComponent(usable[0].run)}`, true);
  }
  const base = `/api/models/${encodeURIComponent(name)}`;
  const isUpload = name.startsWith("upload:");
  const inputs = await ask(`${base}/inputs`, { signal });
  const chooser = h("select", { "aria-label": "Model", onchange: () => go(`/try/${encodeURIComponent(chooser.value)}`) },
    [...new Set([name, ...usable.map((run) => run.run)])].map((run) => h("option", { value: run, selected: run === name }, run.startsWith("upload:") ? "the dropped model" : middle(run, 50))));
  const odds = h("div", { class: "odds" });
  const verdict = h("p", { class: "verdict" }, "\u00a0");
  const hint = aside();
  const trouble = h("div");
  const seen = h("div", { class: "seen", hidden: true }, h("canvas", { role: "img", "aria-label": "What the model sees" }), aside());
  const said = h("div", { class: "unseen", role: "status" });

  const parts = [aside(isUpload ? "\u00a0" : h("a", { href: `/runs/${encodeURIComponent(name)}` }, "The run")),
    h("div", { class: "head" }, h("div", null, h("h1", null, "Try the model"), h("p", { class: "lead" }, subtitle())), h("div", { class: "actions chooser" }, chooser))];
  const result = panel(verdict, hint, odds, trouble, said);
  if (inputs.kind === "pictures") parts.push(h("div", { class: "try top-gap" }, h("div", null, drawing(), seen), result));
  else if (inputs.columns.length) parts.push(h("div", { class: "try wide top-gap" }, rowForm(), result));
  else if (inputs.kind === "tokens") parts.push(h("div", { class: "try wide top-gap" }, typing(), result));
  else if (inputs.kind === "text") parts.push(writing());
  // What follows each token of a whole file is for nobody to read.
  if (inputs.kind !== "text") parts.push(h("h2", null, "A whole file"), wholeFile());
  const exportNote = h("div");
  if (isUpload) parts.push(otherFormats(name, (error) => tellTrouble(exportNote, error), signal), exportNote);
  parts.push(h("h2", null, "Another model"), modelFile());
  main.replaceChildren(...parts);

  function subtitle() {
    if (inputs.kind === "text") return `${isUpload ? "A dropped model" : middle(name, 60)} · writes on, ${inputs.tokens} after ${inputs.tokens}, by the last ${grouped(inputs.shape[0])}`;
    const answer = inputs.classes ? `${grouped(inputs.classes.length)} classes: ${inputs.classes.slice(0, 10).join(", ")}${inputs.classes.length > 10 ? " …" : ""}` : `predicts ${inputs.targets.join(", ") || "numbers"}`;
    return `${isUpload ? "A dropped model" : middle(name, 60)} · takes ${inputs.columns.length ? counted(inputs.columns.length, "column") : inputs.kind === "tokens" ? `${grouped(inputs.shape[0])} ${inputs.tokens === "numbers" ? "tokens" : inputs.tokens}` : inputs.shape.join(" × ")} · ${answer}`;
  }

  function show(answer) {
    trouble.replaceChildren();
    const row = answer.rows[0];
    if (row.predicted != null) {
      say(verdict, row.predicted);
      say(hint, `${percent(row.probability, 1)} sure`);
      if (odds.childElementCount !== row.outputs.length * 3) {
        odds.replaceChildren(...row.outputs.flatMap(() => [h("span"), bar(), h("span", { class: "share" })]));
      }
      // In the order of their names, so that bars grow and shrink where they are.
      const order = inputs.classes && inputs.classes.length <= 12 ? [...row.outputs].sort((a, b) => inputs.classes.indexOf(a.name) - inputs.classes.indexOf(b.name)) : row.outputs;
      order.forEach((output, index) => {
        const [label, gauge, share] = [0, 1, 2].map((part) => odds.children[index * 3 + part]);
        say(label, output.name);
        label.className = output.name === row.predicted ? "best" : "";
        gauge.firstChild.style.width = `${output.value * 100}%`;
        say(share, percent(output.value, 1));
      });
      say(said, `${row.predicted}, ${percent(row.probability, 0)}`);
    } else {
      say(verdict, row.outputs.map((output) => short(Number(output.value.toPrecision(5)))).join("  "));
      say(hint, inputs.targets.join(", "));
      odds.replaceChildren();
    }
    if (answer.seen) {
      seen.hidden = false;
      paint(seen.querySelector("canvas"), answer.seen);
      const note = answer.notes.find(([subject]) => subject === "picture");
      say(seen.querySelector("p"), note ? `What the model sees: ${note[1].replace(/ \(.*/, "")}.` : "What the model sees.");
    }
  }

  function nothing() {
    say(verdict, "\u00a0"); say(hint, "What the model says will stand here."); odds.replaceChildren(); seen.hidden = true; trouble.replaceChildren();
  }

  function fail(error) { tellTrouble(trouble, error); }

  /** Weights that somebody has, from here or from elsewhere. */
  function modelFile() {
    const note = h("div");
    return h("div", null, dropZone({ text: "Drop a model: safetensors, PyTorch (.pt2), ONNX or Keras; weights alone (.pt, .pth) together with a description (YAML)", label: "Choose files", folders: true, take: async (files) => {
      const text = status("Sending …");
      note.replaceChildren(text);
      try {
        const id = await upload(files, (done, total) => say(text, `${bytes(done)} of ${bytes(total)}`), signal);
        // Looked at first, so that what is no model is said here.
        await ask(`/api/models/${encodeURIComponent(id)}/inputs`, { signal });
        go(`/try/${encodeURIComponent(id)}`);
      } catch (error) {
        if (/nothing of the layers|no deml.model/.test(error.what)) error.hint = "drop it together with a description of its layers (YAML)";
        tellTrouble(note, error);
      }
    } }), note);
  }

  // MARK: Pictures

  function drawing() {
    const size = 560;
    const pad = h("canvas", { class: "pad", width: size, height: size, tabindex: "0", role: "img", "aria-label": "Draw here with the pointer, or drop a picture" });
    const context = pad.getContext("2d");
    let last, asking = false, again = false;
    const clear = () => {
      context.fillStyle = "#fff";
      context.fillRect(0, 0, size, size);
      context.fillStyle = "#b3b7bd";
      context.font = "26px system-ui, sans-serif";
      context.textAlign = "center";
      context.fillText(inputs.digits ? "Draw a digit" : "Draw here", size / 2, size / 2 + 8);
      isBlank = true;
      nothing();
    };
    let isBlank = true;
    const at = (event) => {
      const box = pad.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width * size, (event.clientY - box.top) / box.height * size];
    };
    const line = (from, to) => {
      context.strokeStyle = "#111";
      context.lineWidth = size * 0.075;
      context.lineCap = context.lineJoin = "round";
      context.beginPath();
      context.moveTo(...from);
      context.lineTo(to[0] + 0.01, to[1]);
      context.stroke();
    };
    pad.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      pad.setPointerCapture(event.pointerId);
      if (isBlank) { context.fillStyle = "#fff"; context.fillRect(0, 0, size, size); isBlank = false; }
      last = at(event);
      line(last, last);
      look();
    });
    pad.addEventListener("pointermove", (event) => {
      if (!last) return;
      // Between two frames the pointer may have been in many places, or, as a program moves it, in none that is told.
      for (const step of [...(event.getCoalescedEvents?.() ?? []), event]) { const point = at(step); line(last, point); last = point; }
      look();
    });
    for (const kind of ["pointerup", "pointercancel"]) pad.addEventListener(kind, () => { if (last) look(); last = undefined; });

    /** One question at a time; the newest drawing is asked about when the answer is there. */
    async function look() {
      if (asking) { again = true; return; }
      asking = true;
      do {
        again = false;
        const picture = await new Promise((resolve) => pad.toBlob(resolve, "image/png"));
        await read(picture);
      } while (again && !signal.aborted);
      asking = false;
    }
    async function read(picture) {
      try { const answer = await ask(`${base}/predict/picture`, { method: "POST", raw: picture, signal }); if (!isBlank) show(answer); } catch (error) { fail(error); }
    }
    const zone = dropZone({ text: "Or drop a picture", label: "Choose a picture", folders: false, take: async ([{ file }]) => {
      // As the browser shows it, laid on white; what the model takes of it is decided in one place, by deml.
      try {
        const image = await createImageBitmap(file);
        context.fillStyle = "#fff";
        context.fillRect(0, 0, size, size);
        const scale = Math.min(size / image.width, size / image.height);
        context.imageSmoothingEnabled = scale < 1;
        context.drawImage(image, (size - image.width * scale) / 2, (size - image.height * scale) / 2, image.width * scale, image.height * scale);
        isBlank = false;
      } catch { return fail({ what: "this is no picture that the browser knows", hint: "PNG and JPEG are" }); }
      const whole = Math.max(file.size, 1) < 30e6 && /png$/.test(file.type) ? file : await new Promise((resolve) => pad.toBlob(resolve, "image/png"));
      await read(whole);
    } });
    clear();
    return h("div", null, pad, h("div", { class: "actions top-gap" }, h("button", { onclick: clear }, "Clear"), zone.querySelector("button"), zone.input));
  }

  // MARK: A row

  function rowForm() {
    const fields = inputs.columns.map((column) => column.kind === "category"
      ? h("select", null, column.values.map((value) => h("option", { value }, value)))
      : h("input", { type: "text", inputmode: "decimal", value: column.usual == null ? "" : short(Number(column.usual.toPrecision(4))) }));
    const read = latest(() => ask(`${base}/predict/row`, { body: { values: inputs.columns.map((column, index) => [column.name, fields[index].value]) }, signal }), show, fail);
    for (const field of fields) field.addEventListener("input", read);
    read();
    return panel(h("h2", { class: "title" }, "A row"), h("div", { class: "fields" }, inputs.columns.map((column, index) => field(middle(column.name, 28), fields[index]))));
  }

  /** Asks when nothing more comes for a moment; only the newest answer counts. */
  function latest(question, take, fail) {
    let asked = 0;
    return async () => {
      asked += 1;
      const mine = asked;
      await pause(120);
      if (mine !== asked || signal.aborted) return;
      try { const answer = await question(); if (mine === asked) take(answer); } catch (error) { if (mine === asked) fail(error); }
    };
  }

  // MARK: A text

  /** What is said of a text as it is typed. */
  function typing() {
    const text = h("textarea", { rows: "5", spellcheck: "false", oninput: () => read() });
    const note = aside("\u00a0");
    const pick = (title, values) => { const select = choice(values, "", { onchange: () => read() }); return [select, field(title, select)]; };
    const [end, endField] = pick("A shorter text is filled", [["behind", "at its end"], ["front", "at its front"]]);
    const [filler, fillerField] = pick("With", [["", "token 0"], ["blanks", "blanks"]]);
    const [unit, unitField] = pick("A token is", [["", "a number"], ["bytes", "a byte"]]);
    const isWords = inputs.tokens === "words" || inputs.tokens === "numbers";
    if (inputs.tokens === "numbers" && inputs.tokenCount === 256) unit.value = "bytes";
    const read = latest(() => text.value ? ask(`${base}/predict/text`, { body: { text: text.value, filled: end.value, blanks: filler.value !== "", bytes: unit.value !== "" }, signal }) : null, (answer) => {
      if (answer) { show(answer); say(note, answer.notes.find(([subject]) => subject === "text")?.[1] ?? "\u00a0"); return; }
      nothing(); say(note, "\u00a0");
    }, fail);
    nothing();
    return panel(h("h2", { class: "title" }, "A text"), field({ words: "Words, with blanks between them", numbers: "Type here" }[inputs.tokens] ?? "Type here", text), note,
      h("div", { class: "fields" }, inputs.tokens === "numbers" && unitField, endField, !isWords && fillerField));
  }

  // MARK: A prompt

  /** Writes on from what is typed, shown as it is written. */
  function writing() {
    const prompt = h("textarea", { rows: "3", spellcheck: "false", oninput: () => { begin.disabled = !prompt.value; likely(); } });
    const entry = (text, properties) => { const input = h("input", { type: "number", ...properties }); return [input, field(text, input)]; };
    const [tokens, tokensField] = entry(`Length in ${inputs.tokens}`, { value: "300", min: "1", max: "10000", step: "1", required: true });
    const [temperature, temperatureField] = entry("Temperature: 0 takes the likeliest", { value: "0.8", min: "0", max: "1000", step: "any", required: true });
    const [among, amongField] = entry("Draw among so many", { min: "1", step: "1", placeholder: "all" });
    const [seed, seedField] = entry("Seed", { value: "0", min: "0", step: "1", required: true });
    const begin = h("button", { class: "main", type: "submit", disabled: true }, "Write on");
    const stop = h("button", { class: "danger", hidden: true, onclick: () => stopping.abort() }, "Stop");
    const note = status();
    const text = document.createTextNode("");
    const beginning = h("span", { class: "lead" });
    const written = h("div", { class: "panel written top-gap", tabindex: "0", role: "group", "aria-label": "The text", hidden: true }, beginning, text);
    let stopping;
    signal.addEventListener("abort", () => stopping?.abort());
    const form = h("form", { class: "panel top-gap", onsubmit: (event) => { event.preventDefault(); write(); } },
      field("Begin with", prompt), h("div", { class: "fields top-gap" }, tokensField, temperatureField, amongField, seedField),
      h("div", { class: "actions top-gap" }, begin, stop, note), trouble, hint, odds);

    /** What may come next, as one types. */
    const likely = latest(() => prompt.value ? ask(`${base}/next`, { body: { prompt: prompt.value }, signal }) : { tokens: [] }, (found) => {
      trouble.replaceChildren();
      say(hint, found.tokens.length ? "What comes next:" : "");
      odds.replaceChildren(...found.tokens.flatMap(({ token, probability }, index) => {
        return [h("span", { class: index ? "" : "best" }, { " ": "blank", "\n": "end of line", "\t": "tab" }[token] ?? token), bar(probability), h("span", { class: "share" }, percent(probability, 1))];
      }));
    }, (error) => { say(hint, ""); odds.replaceChildren(); fail(error); });

    async function write() {
      stopping = new AbortController();
      begin.disabled = true; stop.hidden = false; written.hidden = false;
      trouble.replaceChildren();
      say(note, "Writing …");
      say(beginning, prompt.value);
      text.data = "";
      try {
        await ask(`${base}/generate`, { signal: stopping.signal, body: { prompt: prompt.value, tokens: Number(tokens.value), temperature: Number(temperature.value),
          seed: Number(seed.value), ...(among.value ? { topK: Number(among.value) } : {}) }, events: {
          text: (piece) => text.appendData(piece.text),
          done: (end) => say(note, `${counted(end.characters, "character")} in ${duration(end.seconds)}. The same beginning and the same numbers give the same text.`),
        } });
      } catch (error) {
        say(note, error.name === "AbortError" ? "Stopped." : "");
        if (!text.data) written.hidden = true;
        fail(error);
      }
      begin.disabled = !prompt.value; stop.hidden = true;
    }
    return h("div", null, form, written);
  }

  // MARK: A file

  function wholeFile() {
    const answer = h("div");
    const budget = h("input", { type: "number", min: "0.01", step: "any", value: "5", oninput: () => tell() });
    const price = h("p", { role: "status" }), market = marketPrice(signal, tell);
    const golem = h("div", { class: "panel top-gap", hidden: true }, h("div", { class: "fields" }, field("GLM that it may cost in all", budget)),
      aside("Rented machines see the rows and the model. A part of what they send is computed here again; who lies is not paid."), price, market.element);
    let fleet = "here", data, file, cost;
    const places = [["here", "Here", "In this program, at once"], ["local", "Processes here", "As on other machines"], ["golem", "Golem", "Rented machines of strangers"]];
    const choices = h("div", { class: "choices", role: "radiogroup", "aria-label": "Where" }, places.map(([value, title, text]) =>
      h("label", { class: "choice" }, h("input", { type: "radio", name: "place", value, checked: value === fleet, onchange: () => { fleet = value; golem.hidden = value !== "golem"; estimate(); } }), h("b", null, title), h("span", null, text))));
    const begin = h("button", { class: "main", hidden: true, onclick: () => predict() });
    const amount = () => Number(budget.value);
    function tell() {
      begin.hidden = !data || fleet === "here" && !answer.querySelector(".again");
      say(begin, fleet === "golem" ? `Rent and predict for at most ${glm(amount())}` : `Predict ${middle(file ?? "", 30)}`);
      begin.disabled = fleet === "golem" && !(cost && amount() > 0 && market.isKnown);
      say(price, cost ? `${counted(cost.rows, "row")} for ${counted(cost.machines, "machine")}: likely below ${glm(cost.likely)} (${duration(cost.seconds)} of slow ones at the highest price allowed), worst case ${glm(cost.worst)} in the first hour, never more than ${glm(amount())}.${market.isKnown ? "" : " The button waits for the market's price."}` : "");
    }

    async function estimate() {
      tell();
      if (!data || fleet !== "golem" || cost) return;
      try {
        cost = await ask(`${base}/predict/cost`, { body: { data }, signal });
        tell();
        market.survey(cost.machines, cost.seconds / 3600);
      } catch (error) { tellTrouble(answer, error); }
    }
    const zone = dropZone({ text: inputs.kind === "table" ? "Drop a table with the same columns, with labels or without" : "Drop a file of examples: arrays, IDX, a table, pictures", label: "Choose a file", folders: true, take: async (files) => {
      const text = status("Sending …");
      answer.replaceChildren(text);
      data = cost = undefined;
      tell();
      try {
        data = await upload(files, (done, total) => say(text, `${bytes(done)} of ${bytes(total)}`), signal);
        file = files[0].name;
        text.remove();
        // What costs nothing needs no other click.
        if (fleet === "here") await predict(); else await estimate();
      } catch (error) { tellTrouble(answer, error); }
    } });

    async function predict() {
      begin.hidden = true;
      const text = status("Predicting …");
      answer.replaceChildren(text);
      try {
        if (fleet === "here") {
          const found = await ask(`${base}/predict/file`, { body: { data }, signal });
          answer.replaceChildren(predictions(found, file));
          return;
        }
        const { job } = await ask(`${base}/predict/elsewhere`, { body: { data, fleet, ...(fleet === "golem" ? { budget: amount(), agreedGLM: amount() } : {}) }, signal });
        // A reload, and whoever gets the address, sees the same.
        history.replaceState(null, "", `#${job}`);
        await watch(job);
      } catch (error) { tellTrouble(answer, error); tell(); }
    }

    async function watch(job) {
      const bar = h("div", { class: "bar thick", role: "progressbar", "aria-label": "Predictions" }, h("i"));
      const text = status("Starting …");
      const lines = h("pre", { class: "mono scroll", tabindex: "0" });
      const stop = small("Stop", async () => { stop.disabled = true; try { await ask(`/api/predictions/${job}/stop`, { body: {}, signal }); } catch { /* it has ended */ } }, "danger");
      answer.replaceChildren(h("div", { class: "panel top-gap" }, bar, h("div", { class: "head" }, text, stop), lines));
      while (!signal.aborted) {
        const found = await ask(`/api/predictions/${job}`, { signal });
        say(lines, found.lines.join("\n"));
        if (found.rows) {
          bar.firstChild.style.width = `${found.done / found.rows * 100}%`;
          say(text, `${grouped(found.done)} of ${counted(found.rows, "row")}`);
        }
        if (found.state === "finished") {
          bar.remove();
          stop.replaceWith(downloads(found.download));
          const summary = found.summary ?? {};
          say(text, [counted(summary.rows ?? found.rows ?? 0, "prediction"), summary.seconds && `in ${duration(summary.seconds)}`, summary.cost_glm && `for ${glm(summary.cost_glm)}`,
            summary.right != null && `${grouped(summary.right)} right`].filter(Boolean).join(", "));
          return;
        }
        if (found.state !== "working") {
          answer.append(troubleBox({ what: found.state === "interrupted" ? "it was stopped" : (found.message ?? "it has failed").split("\n")[0], hint: "What is done is kept: the same question goes on with it." }));
          stop.remove();
          answer.append(h("span", { class: "again", hidden: true }));
          tell();
          return;
        }
        await pause(500);
      }
    }
    if (/^#[0-9a-f]{16}$/.test(location.hash)) {
      data = `upload:${location.hash.slice(1)}`;
      file = "the file";
      watch(location.hash.slice(1)).catch((error) => tellTrouble(answer, error));
    }
    return h("div", null, zone, h("div", { class: "top-gap" }, choices), golem, h("p", { class: "actions top-gap" }, begin), answer);
  }

  /** Everything that `deml predict` writes. */
  function downloads(path) {
    const pick = (label, values) => choice(values, "", { "aria-label": label, onchange: () => set() });
    const form = pick("Format", [["csv", "CSV"], ["npz", "npz (numpy)"], ["safetensors", "safetensors"], ["jsonl", "JSON lines"]]);
    const contents = pick("What of each row", [["all", "all probabilities"], ["classes", "the likeliest class"], ["top", "the likeliest three"]]);
    const link = h("a", { class: "button main", download: "" }, "Download predictions");
    const set = () => { link.href = `${path}?as=${form.value}&contents=${contents.value}`; };
    set();
    return h("div", { class: "actions downloads" }, form, inputs.classes && contents, link);
  }

  function predictions(found, file) {
    const isClasses = found.rows[0]?.predicted != null;
    const hasTruth = found.rows.some((one) => one.truth != null);
    const rows = found.rows.map((one) => row(String(one.example), isClasses ? [words(one.predicted), percent(one.probability, 1)] : one.outputs.map((output) => short(Number(output.value.toPrecision(6)))).join("  "),
      hasTruth && h("td", { class: `text ${isClasses && one.truth !== one.predicted ? "bad-text" : ""}` }, one.truth)));
    return h("div", { class: "panel top-gap" }, h("div", { class: "head" },
      h("div", null, h("h3", null, `${counted(found.count, "prediction")} for ${middle(file, 40)}`), aside(found.judged ? `${grouped(found.right)} of ${grouped(found.judged)} right (${percent(found.right / found.judged)})` : found.count > found.rows.length ? `The first ${found.rows.length}:` : "")),
      downloads(found.download)),
    found.notes.length > 0 && aside(found.notes.map(([subject, text]) => `${subject}: ${text}`).join("; ")),
    scrolls("Predictions", table(["row", ...(isClasses ? [wordHead("predicted"), "sure"] : ["predicted"]), ...(hasTruth ? [wordHead("true")] : [])], rows)));
  }
}
