// Which part of the page is shown: the address says it, links lead from one to the next without loading anew.
import { h, troubleBox, announce } from "./tools.js";
import home from "./home.js";

const views = [
  [/^\/$/, "Runs", home],
  [/^\/runs\/([^/]+)$/, "Run", () => import("./run.js")],
  [/^\/train$/, "Train", () => import("./train.js")],
  [/^\/try(?:\/([^/]+))?$/, "Try", () => import("./try.js")],
  [/^\/golem$/, "Golem", () => import("./golem.js")],
  [/^\/compare$/, "Compare", () => import("./compare.js")],
];

const main = document.getElementById("main");
let leaving = new AbortController();
let shown;

export async function show(isNew = true) {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const path = location.pathname;
  shown = path + location.search;
  const found = views.find(([pattern]) => pattern.test(path));
  for (const link of document.querySelectorAll(".top nav a")) {
    const href = link.getAttribute("href");
    const isHere = href === "/" ? /^\/($|runs|compare)/.test(path) : path.startsWith(href);
    if (isHere) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  document.title = found ? `${found[1]} · DeML` : "DeML";
  const place = h("div", null, h("p", { class: "loading" }, "Loading …"));
  main.replaceChildren(place);
  if (!found) {
    place.replaceChildren(h("div", { class: "empty" }, h("h1", null, "There is nothing here"),
      h("p", null, "The address is not one of this page."), h("a", { class: "button", href: "/" }, "To the runs")));
    return;
  }
  try {
    const view = found[2] === home ? home : (await found[2]()).default;
    if (signal.aborted) return;
    const parameters = found[0].exec(path).slice(1).map((part) => part && decodeURIComponent(part));
    await view(place, { signal, parameters, go, query: new URLSearchParams(location.search) });
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) return;
    place.replaceChildren(h("h1", null, error.status === 404 ? "It is not here any more" : "This cannot be shown"),
      troubleBox(error, () => show(false)), h("a", { class: "button", href: "/" }, "To the runs"));
  }
  if (isNew && !signal.aborted) {
    const title = main.querySelector("h1")?.textContent;
    if (title) { document.title = `${title} · DeML`; announce(title); }
  }
}

export function go(path, replace = false) {
  if (replace) history.replaceState(null, "", path); else history.pushState(null, "", path);
  scrollTo(0, 0);
  return show();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const url = new URL(link.href);
  if (url.origin !== location.origin || link.target || link.hasAttribute("download")) return;
  if (url.pathname.startsWith("/api/") || url.pathname.startsWith("/assets/") || url.hash) return;
  event.preventDefault();
  go(url.pathname + url.search).then(() => main.focus({ preventScroll: true }));
});
// A step within the page, as to its content, changes nothing: what has the focus stays.
addEventListener("popstate", () => { if (location.pathname + location.search !== shown) show(); });
// What is dropped beside a place for it is not opened instead of the page.
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
show(false);
