#!/usr/bin/env python3
"""The page with daemons: all is well, who offers, and a run on rented machines from its price to its settled bills.

Started by golem_commands, whose network it uses: the environment is that of a requestor there."""
import json
import os
import re
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from browser import ROOT, SCRATCH, Page, check, run, wait_state  # noqa: E402
from playwright.sync_api import expect  # noqa: E402

DATA = os.environ["PAGE_TEST_DATA"]     # a folder with a small dataset, beside the runs
BUDGET = 2


def glm(value):
    """As the page writes an amount (glm of tools.js): two digits below a ten-thousandth, else four places at most."""
    return f"{Decimal(f'{value:.1e}'):f} GLM" if value < 0.0001 else f"{Decimal(f'{value:.4f}').normalize():f} GLM"


def visit(browser, ui):
    market = browser.page(1280, "light")
    market.goto(ui.address)
    state = market.context.storage_state()
    market.goto(ui.base + "/golem")
    expect(market.get_by_role("button", name="Ask the market")).to_be_enabled()
    market.get_by_role("button", name="Ask the market").click()

    # Data, place, price.
    page = browser.page(1280, "light")
    page.context.add_cookies(state["cookies"])
    page.goto(ui.base + "/train")
    page.get_by_label(re.compile("^A file or folder in")).fill(DATA)
    page.get_by_role("button", name="Look").click()
    expect(page.get_by_role("heading", name=DATA)).to_be_visible()
    page.get_by_label("Workers", exact=True).fill("2")
    page.get_by_label("Rounds", exact=True).fill("2")
    page.get_by_label("Epochs a round").fill("1")
    page.locator("input[name=fleet][value=golem]").check()
    page.get_by_label("GLM that it may cost in all").fill(str(BUDGET))
    button = page.get_by_role("button", name=f"Rent and train for at most {BUDGET} GLM")
    expect(button).to_be_enabled()

    # Meanwhile: the doctor, and who is there.
    expect(market.get_by_role("button", name="Check again")).to_be_enabled(timeout=30_000)
    found = {item.locator("b").inner_text(): item.get_attribute("class") for item in market.locator(".checks li").all()}
    check("the doctor's findings are good", found and all(found.get(name) == "good" for name in ("daemon", "app-key", "funds", "market")), found)
    offers = market.get_by_role("group", name="Offers").locator("td.name")
    expect(offers).to_have_count(2, timeout=40_000)
    names = offers.all_inner_texts()
    check("both providers offer", sorted(names) == ["provider-0", "provider-1"], names)
    # 0.00002 a second and 0.00003 a processor second on two threads: 0.288 an hour.
    expect(market.get_by_text(re.compile(r"3 machines for 1 h 00 min: about 0\.864 GLM"))).to_be_visible()
    browser.look(market, "golem-market")

    expect(page.get_by_text("About 0.576 GLM an hour with the cheapest 2.")).to_be_visible(timeout=40_000)
    text = page.locator("main").inner_text()
    worst = re.search(r"worst case ([0-9.]+) GLM in the first hour, never more than 2 GLM", text)
    check("before the button: budget, worst case, what is likely", worst is not None and float(worst[1]) >= 0.576, worst and worst[0])
    browser.look(page, "train-golem-market")

    asked = []
    page.on("request", lambda request: asked.append(request.post_data_json) if request.method == "POST" and request.url.endswith("/api/runs") else None)
    button.click()
    expect(page.get_by_role("heading", level=1, name=DATA)).to_be_visible()
    check("the click says the amount", [body["agreedGLM"] for body in asked] == [BUDGET] and asked[0]["settings"]["golem"]["budget"] == BUDGET, asked)
    begun = time.monotonic()
    wait_state(page, "finished", 120)
    seconds = time.monotonic() - begun
    folder = ui.folder / "runs" / DATA
    summary = json.loads((folder / "summary.json").read_text())
    check("the run goes to its end on both", summary["rounds"] == 2 and {a["provider"]["name"] for a in summary["agreements"]} == {"provider-0", "provider-1"},
          f"{seconds:.1f} s, {summary['accuracy']:.3f}")
    cost = glm(summary["cost_glm"])
    check("it costs something and stays below the budget", 0 < summary["cost_glm"] < BUDGET, cost)
    expect(page.locator(".tile", has_text="of at most 2 GLM").locator("b")).to_have_text(cost)
    expect(page.get_by_role("group", name="Agreements").locator("tbody tr")).to_have_count(2)
    browser.look(page, "run-golem")
    page.goto(ui.base + "/")
    expect(page.locator(".card", has_text=DATA)).to_contain_text(cost)
    check("its card says what it cost", True, cost)

    subprocess.run([ROOT / "Tests/testnet/control", "settled", "60"], check=True, stdout=subprocess.DEVNULL)
    narrow = browser.page(390, "dark")
    narrow.context.add_cookies(state["cookies"])
    narrow.goto(ui.base + "/golem")
    first = narrow.get_by_role("group", name=re.compile(f"^Agreements of {DATA}"))
    expect(first.locator("tbody tr")).to_have_count(2, timeout=20_000)
    states = [row.locator("td").last.inner_text() for row in first.locator("tbody tr").all()]
    paid = narrow.locator("summary", has_text=DATA).inner_text()
    check("its bills are settled", states == ["settled"] * 2 and cost in paid, (states, paid))
    workers = narrow.get_by_role("group", name="Providers").locator("td.name").all_inner_texts()
    check("who has worked is remembered", set(workers) >= {"provider-0", "provider-1"}, workers)
    expect(narrow.get_by_role("button", name="Check again")).to_be_enabled(timeout=30_000)
    browser.look(narrow, "golem-market")


def main():
    ui = Page(SCRATCH, dict(os.environ))
    try:
        run(lambda browser: visit(browser, ui))
    finally:
        ui.process.kill()


main()
