"""What the tests of the page share: a `deml ui` of their own, a browser that axe-core looks over, a line for each check.

Debian's chromium, driven by playwright, in a private Python environment: whoever imports this is started again in it. What was
seen lies under .build/ui-screenshots."""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
if os.environ.get("DEML_UI_PYTHON") != "1":
    subprocess.run([ROOT / "tools/need-packages", "chromium"], check=True)
    python = subprocess.run([ROOT / "tools/python-environment", os.environ.get("DEML_UI_ENVIRONMENT", ROOT / ".venv-ui"),
                             "playwright==1.65.0", "axe-playwright-python==0.1.8"],
                            check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    os.environ["DEML_UI_PYTHON"] = "1"
    os.execv(python, [python, *sys.argv])

from axe_playwright_python.sync_playwright import Axe  # noqa: E402
from playwright.sync_api import expect, sync_playwright  # noqa: E402

DEML = os.environ["DEML"]
SCRATCH = Path(os.environ["DEML_TEST_SCRATCH"])
SHOTS = ROOT / ".build/ui-screenshots"
passed, failures = 0, []


def check(what, holds, found=""):
    global passed
    if holds:
        passed += 1
        print(f"ok    {what}{f' ({found})' if found else ''}", flush=True)
    else:
        failures.append(what)
        print(f"FAIL  {what}: {found}", flush=True)


class Page:
    """A `deml ui` of our own; without an environment it knows no daemon of the Golem Network."""

    def __init__(self, folder, environment=None):
        self.folder = folder
        self.environment = environment or {
            **{key: value for key, value in os.environ.items() if not key.startswith("YAGNA_")},
            "DEML_GOLEM_DATA": str(SCRATCH / "golem-data")}
        self.start()

    def start(self):
        begun = time.monotonic()
        self.process = subprocess.Popen([DEML, "ui", "--port", "0", "--no-browser"], cwd=self.folder, env=self.environment,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()
        self.seconds = time.monotonic() - begun
        assert self.address.startswith("http://127.0.0.1:"), (self.address, self.process.stderr.read())
        self.base = self.address.split("/?")[0]

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)


class Browser:
    def __init__(self, playwright):
        self.browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        self.console = []
        self.axe = Axe()
        self.violations = {}

    def page(self, width, scheme):
        """A window of its own; what is narrow is touched."""
        context = self.browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, has_touch=width < 500,
                                           reduced_motion="reduce", accept_downloads=True)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: self.console.append(f"{page.url}: {message.text}")
                if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.console.append(f"{page.url}: {error}"))
        return page

    def look(self, page, name):
        """A picture of it, and what axe-core says."""
        width = page.viewport_size["width"]
        scheme = "dark" if page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") else "light"
        page.wait_for_timeout(60)
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if overflow > 0:
            self.violations.setdefault("wider than the window", []).append(f"{name} at {width}: {overflow} px")
        page.screenshot(path=SHOTS / f"{name}-{width}-{scheme}.png", full_page=True)
        for violation in self.axe.run(page).response["violations"]:
            nodes = "; ".join(node["html"][:160] for node in violation["nodes"][:3])
            self.violations.setdefault(violation["id"], []).append(f"{name}-{width}-{scheme}: {nodes}")


def watch_money(page):
    """From now on it is noticed when a button that spends can be clicked while what it is likely to cost is not said."""
    page.evaluate("""() => { window.tooEarly = []; new MutationObserver(() => { for (const button of document.querySelectorAll("button.main"))
        if (/^Rent /.test(button.textContent) && !button.disabled && !button.hidden && !/About [0-9.]+ GLM/.test(document.querySelector("main").textContent))
            window.tooEarly.push(button.textContent); }).observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true }); }""")


def layout_shift(page):
    """How far things have jumped since the page was loaded (cumulative layout shift), and which."""
    return page.evaluate("""() => new Promise((resolve) => { let sum = 0; const names = []; new PerformanceObserver((list) => {
        for (const one of list.getEntries()) if (!one.hadRecentInput) { sum += one.value; names.push(...one.sources.map((source) => source.node?.className ?? source.node?.nodeName)); }
        }).observe({ type: "layout-shift", buffered: true }); setTimeout(() => resolve([sum, names]), 200); })""")


def wait_state(page, state, seconds=120):
    expect(page.locator(f".lead .state.{state}")).to_be_visible(timeout=seconds * 1000)


def run(tests):
    """Runs `tests` with a browser; says at the end what axe-core and the console had to say, and ends the program."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = Browser(playwright)
        try:
            tests(browser)
        finally:
            browser.browser.close()
        for rule, places in browser.violations.items():
            check(f"axe-core: {rule}", False, "\n        ".join(places[:6]))
        check("axe-core finds nothing", not browser.violations)
        check("the console is silent", not browser.console, "\n        ".join(browser.console[:10]))
    print(f"{passed} passed, {len(failures)} failed")
    sys.exit(1 if failures else 0)
