// The market: what is well, what is offered, what was paid, who has worked.
import { h, ask, troubleBox, glm, grouped, duration, table, scrolls, middle, ago, counted, sentence, panel, wordHead } from "./tools.js";

export default async function golem(main, { signal }) {
  const checks = h("div", { class: "panel" });
  const offers = h("div", { class: "panel" });
  const payments = h("div");
  const providers = h("div");
  const checkAgain = h("button", { type: "button", class: "small", onclick: () => check() }, "Check again");
  const listen = h("button", { type: "button", class: "small", onclick: () => listenNow() }, "Ask the market");
  main.replaceChildren(
    h("h1", null, "Golem"), h("p", { class: "lead" }, "Machines of strangers, rented by the second. Nothing here spends anything."),
    h("div", { class: "head" }, h("h2", null, "Is everything ready?"), h("div", { class: "actions level" }, checkAgain)), checks,
    h("div", { class: "head" }, h("h2", null, "Offers"), h("div", { class: "actions level" }, listen)), offers,
    h("h2", null, "Paid"), payments, h("h2", null, "Providers"), providers);
  offers.append(h("p", { class: "note" }, "Listening to the market takes about fifteen seconds."));
  check();
  await Promise.all([showPayments(), showProviders()]);

  /** Server-sent events until "done"; `trouble` ends them, too. */
  function stream(path, handlers) {
    return new Promise((resolve, reject) => {
      const source = new EventSource(path);
      const end = (action) => { source.close(); action(); };
      for (const [name, take] of Object.entries(handlers)) source.addEventListener(name, (event) => take(JSON.parse(event.data)));
      source.addEventListener("done", () => end(resolve));
      source.addEventListener("trouble", (event) => end(() => reject(JSON.parse(event.data))));
      source.onerror = () => end(() => reject({ what: "deml ui does not answer", hint: "Is it still running in its terminal?" }));
      signal.addEventListener("abort", () => end(resolve));
    });
  }

  async function check() {
    checkAgain.disabled = true;
    const list = h("ul", { class: "checks", "aria-live": "polite" });
    const wait = h("p", { class: "note" }, "Looking …");
    checks.replaceChildren(list, wait);
    try {
      await stream("/api/golem/doctor", { finding: (finding) => {
        list.append(h("li", { class: finding.state }, h("span", { class: "mark", role: "img", "aria-label": { good: "well", warning: "to be looked at", bad: "not well" }[finding.state] }), h("b", null, finding.subject), h("span", null, sentence(finding.message)),
          finding.remedy && h("div", { class: "cure" }, h("span", { class: "note" }, "Cure"), h("code", null, finding.remedy), copyButton(finding.remedy))));
      } });
      wait.remove();
    } catch (error) { wait.replaceWith(troubleBox(error)); }
    checkAgain.disabled = false;
  }

  function copyButton(text) {
    const button = h("button", { type: "button", class: "small plain", onclick: async () => {
      try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; } catch { button.textContent = "Not allowed"; }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    } }, "Copy");
    return button;
  }

  async function listenNow() {
    listen.disabled = true;
    const seen = h("p", { class: "note", role: "status" }, "Listening …");
    offers.replaceChildren(seen);
    try {
      await stream("/api/golem/offers", {
        progress: (now) => { seen.textContent = `Listening … ${counted(now.offers, "offer")}, ${grouped(now.usable)} of use`; },
        offers: showOffers,
      });
    } catch (error) { offers.replaceChildren(troubleBox(error)); }
    listen.disabled = false;
  }

  function showOffers(found) {
    const money = found.isMoney ? "" : " of test money";
    const parts = [h("p", null, `${counted(found.count, "offer")}, ${grouped(found.steps.at(-1)?.left ?? found.count)} of use. `
      + `${counted(found.machines, "machine")} for ${duration(found.hours * 3600)}: `
      + `${found.expected === undefined || found.expected === null ? "nobody to ask" : `about ${glm(found.expected)}`}, at the very most ${glm(found.worst)}${money}.`)];
    if (found.offers.length) {
      const frame = scrolls("Offers", table(["provider", "threads", "memory", "an hour", "a CPU hour", "start", wordHead("why not")],
        found.offers.map((offer) => h("tr", null, h("td", { class: "name", title: offer.id }, middle(offer.provider, 30)), h("td", null, grouped(offer.threads)),
          h("td", null, `${offer.memory_gib.toFixed(1)} GiB`), h("td", null, glm(offer.glm_per_hour)), h("td", null, glm(offer.glm_per_cpu_hour)), h("td", null, glm(offer.start)),
          h("td", { class: "text" }, offer.objection ?? h("span", { class: "good-text" }, "of use"))))));
      frame.classList.add("tall");
      parts.push(frame);
      const left = found.steps.filter((step, index) => step.left < (index ? found.steps[index - 1].left : found.count));
      if (left.length) parts.push(h("p", { class: "note" }, `What takes most away: ${left.map((step) => `${step.filter} (${step.left} left)`).join(", ")}.`));
    }
    offers.replaceChildren(...parts);
  }

  async function showPayments() {
    try {
      const { runs } = await ask("/api/golem/payments", { signal });
      if (!runs.length) {
        payments.replaceChildren(h("p", { class: "lead" }, "No run has rented machines yet."));
        return;
      }
      payments.replaceChildren(...runs.slice(0, 50).map((run, index) => h("details", { open: index === 0 }, h("summary", null, `${run.run} · ${glm(run.paid_glm)} of ${glm(run.budget)}`),
        panel(run.note && h("p", { class: "note" }, sentence(run.note)), scrolls(`Agreements of ${run.run}`, table(["provider", "agreement", "time", "billed", "paid", wordHead("state")],
          run.lines.map((line) => h("tr", null, h("td", { class: "name", title: line.provider_id }, middle(line.provider, 28)), h("td", { title: line.agreement }, line.agreement.slice(0, 8)), h("td", null, duration(line.seconds)),
            h("td", null, glm(line.billed_glm)), h("td", null, glm(line.paid_glm)), h("td", { class: "text" }, line.reason ? `${line.state}: ${line.reason}` : line.state)))))))));
    } catch (error) { if (error.name !== "AbortError") payments.replaceChildren(troubleBox(error, showPayments)); }
  }

  async function showProviders() {
    try {
      const { providers: found } = await ask("/api/golem/providers", { signal });
      if (!found.length) {
        providers.replaceChildren(h("p", { class: "lead" }, "No provider has worked for you yet."));
        return;
      }
      const frame = scrolls("Providers", table(["provider", "speed", "went well", "went wrong", "seen", wordHead("last failure")],
        found.map((one) => h("tr", null, h("td", { class: "name", title: one.id }, middle(one.name, 30)),
          h("td", null, one.speed ? `${(one.speed / 1e9).toFixed(1)} G/s` : "–"), h("td", null, one.successes.toFixed(1)),
          h("td", { class: one.isAskedLast ? "bad-text" : "" }, one.failures.toFixed(1)), h("td", null, ago(one.seen)), h("td", { class: "text" }, one.reason ?? "–")))));
      frame.classList.add("tall");
      providers.replaceChildren(panel(frame), h("p", { class: "note" }, "Tasks fade: after three days they count half. Speed is multiply-adds a second, transfers included."));
    } catch (error) { if (error.name !== "AbortError") providers.replaceChildren(troubleBox(error, showProviders)); }
  }
}
