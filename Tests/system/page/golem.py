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
from browser import DEML, ROOT, SCRATCH, Page, check, layout_shift, run, wait_state  # noqa: E402
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
    shift, names = layout_shift(market)
    check("nothing jumps while the market answers", shift < 0.1, f"{shift:.3f} {names}")
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

    # A whole file for the model, by rented machines: the price first, the same bytes at the end.
    page.goto(f"{ui.base}/try/{DATA}")
    page.get_by_role("radio", name="Golem").check()
    page.locator(".drop input[type=file]").first.set_input_files(ui.folder / DATA / "t10k-images-idx3-ubyte.gz")
    button = page.get_by_role("button", name="Rent and predict for at most 5 GLM")
    expect(button).to_be_enabled()
    expect(page.get_by_text(re.compile(r"^1,000 rows for [0-9] machines?: likely below [0-9.]+ GLM .*, worst case [0-9.]+ GLM in the first hour, never more than 5 GLM\.$"))).to_be_visible()
    expect(page.get_by_text(re.compile(r"^About [0-9.]+ GLM with the cheapest"))).to_be_visible(timeout=40_000)
    browser.look(page, "try-golem")
    asked = []
    page.on("request", lambda request: asked.append(request.post_data_json) if request.url.endswith("/elsewhere") else None)
    button.click()
    with page.expect_download(timeout=90_000) as download:
        page.get_by_role("link", name="Download predictions").click(timeout=90_000)
    check("the click says the amount of a prediction", [body["agreedGLM"] for body in asked] == [5], asked)
    here = SCRATCH / "here.csv"
    subprocess.run([DEML, "predict", "--model", folder, "--data", ui.folder / DATA / "t10k-images-idx3-ubyte.gz", "--split", "all",
                    "--count", "0", "--output", here], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    said = page.get_by_text(re.compile("^1,000 predictions, in ")).inner_text()
    check("rented machines predict the bytes of this one", Path(download.value.path()).read_bytes() == here.read_bytes(), said)
    check("what it cost is said", re.search(r"for [0-9.]+ GLM", said) is not None, said)

    subprocess.run([ROOT / "Tests/testnet/control", "settled", "60"], check=True, stdout=subprocess.DEVNULL)
    narrow = browser.page(390, "dark")
    narrow.context.add_cookies(state["cookies"])
    narrow.goto(ui.base + "/golem")
    # The newest, of the prediction, is open.
    expect(narrow.locator("details[open] summary")).to_have_text(re.compile("^predictions-[0-9a-f]+ · [0-9.]+ GLM of 5 GLM$"))
    narrow.locator("summary", has_text=DATA).click()
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
