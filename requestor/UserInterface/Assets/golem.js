// The market: what is well, what is offered, what was paid, who has worked.
import { h, ask, tellTrouble, glm, grouped, duration, table, scrolls, ago, counted, sentence, panel, wordHead, aside, small, line, words, named, status } from "./tools.js";

export default async function golem(main, { signal }) {
  // What comes later finds its room, so that nothing below it jumps.
  const checks = h("div", { class: "panel room" }), offers = h("div", { class: "panel room" });
  const payments = h("div"), providers = h("div");
  const checkAgain = small("Check again", check), listen = small("Ask the market", listenNow);
  const titled = (text, button) => h("div", { class: "head" }, h("h2", null, text), h("div", { class: "actions level" }, button));
  main.replaceChildren(
    h("h1", null, "Golem"), h("p", { class: "lead" }, "Machines of strangers, rented by the second. Nothing here spends anything."),
    titled("Is everything ready?", checkAgain), checks, titled("Offers", listen), offers,
    h("h2", null, "Paid"), payments, h("h2", null, "Providers"), providers);
  offers.append(aside("Listening to the market takes about fifteen seconds."));
  check();
  await Promise.all([showPayments(), showProviders()]);

  /** Puts something else into a panel, which does not shrink meanwhile. */
  function renew(place, ...children) {
    place.style.minHeight = `${place.offsetHeight}px`;
    place.replaceChildren(...children);
  }

  async function check() {
    checkAgain.disabled = true;
    const list = h("ul", { class: "checks", "aria-live": "polite" }), end = h("div", null, aside("Looking …"));
    renew(checks, list, end);
    try {
      await ask("/api/golem/doctor", { signal, events: { finding: (finding) => {
        list.append(h("li", { class: finding.state }, h("span", { class: "mark", role: "img", "aria-label": { good: "well", warning: "to be looked at", bad: "not well" }[finding.state] }), h("b", null, finding.subject), h("span", null, sentence(finding.message)),
          finding.remedy && h("div", { class: "cure" }, h("span", { class: "note" }, "Cure"), h("code", null, finding.remedy), copyButton(finding.remedy))));
      } } });
      end.remove();
    } catch (error) { tellTrouble(end, error); }
    checkAgain.disabled = false;
  }

  function copyButton(text) {
    const button = small("Copy", async () => {
      try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; } catch { button.textContent = "Not allowed"; }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    }, "plain");
    return button;
  }

  async function listenNow() {
    listen.disabled = true;
    const seen = status("Listening …");
    renew(offers, seen);
    try {
      await ask("/api/golem/offers", { signal, events: {
        progress: (now) => { seen.textContent = `Listening … ${counted(now.offers, "offer")}, ${grouped(now.usable)} of use`; },
        offers: showOffers,
      } });
    } catch (error) { tellTrouble(offers, error); }
    listen.disabled = false;
  }

  function showOffers(found) {
    const parts = [h("p", null, `${counted(found.count, "offer")}, ${grouped(found.steps.at(-1)?.left ?? found.count)} of use. `
      + `${counted(found.machines, "machine")} for ${duration(found.hours * 3600)}: `
      + `${found.expected == null ? "nobody to ask" : `about ${glm(found.expected)}`}, at the very most ${glm(found.worst)}${found.isMoney ? "" : " of test money"}.`)];
    if (found.offers.length) {
      parts.push(scrolls("Offers", table(["provider", "threads", "memory", "an hour", "a CPU hour", "start", wordHead("why not")],
        found.offers.map((offer) => line(named(offer.provider, offer.id), grouped(offer.threads), `${offer.memory_gib.toFixed(1)} GiB`, glm(offer.glm_per_hour), glm(offer.glm_per_cpu_hour), glm(offer.start),
          words(offer.objection ?? h("span", { class: "good-text" }, "of use"))))), "tall"));
      const left = found.steps.filter((step, index) => step.left < (index ? found.steps[index - 1].left : found.count));
      if (left.length) parts.push(aside(`What takes most away: ${left.map((step) => `${step.filter} (${step.left} left)`).join(", ")}.`));
    }
    offers.replaceChildren(...parts);
  }

  async function showPayments() {
    try {
      const { runs } = await ask("/api/golem/payments", { signal });
      payments.replaceChildren(...runs.slice(0, 50).map((run, index) => h("details", { open: index === 0 }, h("summary", null, `${run.run} · ${glm(run.paid_glm)} of ${glm(run.budget)}`),
        panel(run.note && aside(sentence(run.note)), scrolls(`Agreements of ${run.run}`, table(["provider", "agreement", "time", "billed", "paid", wordHead("state")],
          run.lines.map((one) => line(named(one.provider, one.provider_id), h("td", { title: one.agreement }, one.agreement.slice(0, 8)), duration(one.seconds), glm(one.billed_glm), glm(one.paid_glm),
            words(one.reason ? `${one.state}: ${one.reason}` : one.state)))))))));
      if (!runs.length) payments.append(h("p", { class: "lead" }, "No run has rented machines yet."));
    } catch (error) { tellTrouble(payments, error, showPayments); }
  }

  async function showProviders() {
    try {
      const { providers: found } = await ask("/api/golem/providers", { signal });
      if (!found.length) {
        providers.replaceChildren(h("p", { class: "lead" }, "No provider has worked for you yet."));
        return;
      }
      providers.replaceChildren(panel(scrolls("Providers", table(["provider", "speed", "went well", "went wrong", "seen", wordHead("last failure")],
        found.map((one) => line(named(one.name, one.id), one.speed ? `${(one.speed / 1e9).toFixed(1)} G/s` : "–", one.successes.toFixed(1),
          h("td", { class: one.isAskedLast ? "bad-text" : "" }, one.failures.toFixed(1)), ago(one.seen), words(one.reason ?? "–")))), "tall")),
      aside("Tasks fade: after three days they count half. Speed is multiply-adds a second, transfers included."));
    } catch (error) { tellTrouble(providers, error, showProviders); }
  }
}
