#!/usr/bin/env python3
"""The page with daemons: all is well, who offers, and a run on rented machines from its price to its settled bills; at 1280
pixels in light, and at 390 in dark.

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
from browser import DEML, ROOT, SCRATCH, Page, check, layout_shift, run, wait_state, watch_money  # noqa: E402
from playwright.sync_api import expect  # noqa: E402

DATA = os.environ["PAGE_TEST_DATA"]     # a folder with a small dataset, beside the runs
BUDGET = 2


def glm(value):
    """As the page writes an amount (glm of tools.js): two digits below a ten-thousandth, else four places at most."""
    return f"{Decimal(f'{value:.1e}'):f} GLM" if value < 0.0001 else f"{Decimal(f'{value:.4f}').normalize():f} GLM"


def visit(browser, ui):
    """The market, a run from its price to its settled bills, and a file that rented machines predict."""
    market = browser.page(1280, "light")
    market.goto(ui.address)
    state = market.context.storage_state()
    market.goto(ui.base + "/golem")
    expect(market.get_by_role("button", name="Ask the market")).to_be_enabled()
    market.get_by_role("button", name="Ask the market").click()

    page = browser.page(1280, "light")
    page.context.add_cookies(state["cookies"])
    wish(page, ui, workers=2, rounds=2)
    # Meanwhile: the doctor, and who is there.
    see_market(browser, market)
    expect(page.get_by_text("About 0.576 GLM an hour with the cheapest 2.")).to_be_visible(timeout=40_000)
    text = page.locator("main").inner_text()
    worst = re.search(r"worst case ([0-9.]+) GLM in the first hour, never more than 2 GLM", text)
    check("before the button: budget, worst case, what is likely", worst is not None and float(worst[1]) >= 0.576, worst and worst[0])
    # The price is that of so many machines. The market may answer sooner than one can look whether the button waits for it.
    button = page.get_by_role("button", name=f"Rent and train for at most {BUDGET} GLM")
    button.evaluate("""(button) => { window.waited = false;
        new MutationObserver(() => { window.waited ||= button.disabled; }).observe(button, { attributes: true }); }""")
    page.get_by_label("Workers", exact=True).fill("1")
    expect(page.get_by_text("About 0.288 GLM an hour with the cheapest machine")).to_be_visible(timeout=40_000)
    check("the button waits for the price of another number of machines", page.evaluate("window.waited"))
    page.get_by_label("Workers", exact=True).fill("2")
    expect(page.get_by_text("About 0.576 GLM an hour with the cheapest 2")).to_be_visible(timeout=40_000)
    expect(button).to_be_enabled()
    browser.look(page, "train-golem-market")
    cost = rent(browser, page, ui, rounds=2, providers={"provider-0", "provider-1"})
    page.goto(ui.base + "/")
    expect(page.locator(".card", has_text=DATA)).to_contain_text(cost)
    check("its card says what it cost", True, cost)
    predict(browser, page, ui, DATA)
    settle(browser, market, ui, {DATA: cost})

    # The same on a phone in the dark, with a round less.
    phone = browser.page(390, "dark")
    phone.context.add_cookies(state["cookies"])
    wish(phone, ui, workers=1, rounds=1)
    browser.look(phone, "train-golem-market")
    second = rent(browser, phone, ui, rounds=1, providers=None)
    name = phone.url.rsplit("/", 1)[1]
    predict(browser, phone, ui, name)
    phone.goto(ui.base + "/golem")
    expect(phone.get_by_role("button", name="Ask the market")).to_be_enabled()
    phone.get_by_role("button", name="Ask the market").click()
    see_market(browser, phone)
    settle(browser, phone, ui, {DATA: cost, name: second})


def wish(page, ui, workers, rounds):
    """Data, place, price: a run as far as to the button that spends, which waits for the price."""
    page.goto(ui.base + "/train")
    watch_money(page)
    page.get_by_label(re.compile("^A file or folder in")).fill(DATA)
    page.get_by_role("button", name="Look").click()
    expect(page.get_by_role("heading", name=DATA)).to_be_visible()
    page.get_by_label("Workers", exact=True).fill(str(workers))
    page.get_by_label("Rounds", exact=True).fill(str(rounds))
    page.get_by_label("Epochs a round").fill("1")
    page.locator("input[name=fleet][value=golem]").check()
    page.get_by_label("GLM that it may cost in all").fill(str(BUDGET))
    expect(page.get_by_role("button", name=f"Rent and train for at most {BUDGET} GLM")).to_be_enabled(timeout=40_000)


def see_market(browser, page):
    """The doctor's findings and who offers, asked for already."""
    expect(page.get_by_role("button", name="Check again")).to_be_enabled(timeout=30_000)
    found = {item.locator("b").inner_text(): item.get_attribute("class") for item in page.locator(".checks li").all()}
    check("the doctor's findings are good", found and all(found.get(name) == "good" for name in ("daemon", "app-key", "funds", "market")), found)
    offers = page.get_by_role("group", name="Offers").locator("td.name")
    expect(offers).to_have_count(2, timeout=40_000)
    names = offers.all_inner_texts()
    check("both providers offer", sorted(names) == ["provider-0", "provider-1"], names)
    # 0.00002 a second and 0.00003 a processor second on two threads: 0.288 an hour.
    expect(page.get_by_text(re.compile(r"3 machines for 1 h 00 min: about 0\.864 GLM"))).to_be_visible()
    shift, names = layout_shift(page)
    check("nothing jumps while the market answers", shift < 0.1, f"{shift:.3f} {names}")
    browser.look(page, "golem-market")


def rent(browser, page, ui, rounds, providers):
    """The click, and the run to its end; gives what it cost, as the page writes it."""
    asked = []
    page.on("request", lambda request: asked.append(request.post_data_json) if request.method == "POST" and request.url.endswith("/api/runs") else None)
    early = page.evaluate("window.tooEarly")
    check("the button waits for the price", not early, early)
    page.get_by_role("button", name=f"Rent and train for at most {BUDGET} GLM").click()
    page.wait_for_url(re.compile("/runs/"))
    name = page.url.rsplit("/", 1)[1]
    expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()
    check("the click says the amount", [body["agreedGLM"] for body in asked] == [BUDGET] and asked[0]["settings"]["golem"]["budget"] == BUDGET, asked)
    begun = time.monotonic()
    wait_state(page, "finished", 120)
    seconds = time.monotonic() - begun
    summary = json.loads((ui.folder / "runs" / name / "summary.json").read_text())
    workers = {agreement["provider"]["name"] for agreement in summary["agreements"]}
    check("the run goes to its end", summary["rounds"] == rounds and (workers == providers if providers else workers),
          f"{seconds:.1f} s, {summary['accuracy']:.3f}, {sorted(workers)}")
    cost = glm(summary["cost_glm"])
    check("it costs something and stays below the budget", 0 < summary["cost_glm"] < BUDGET, cost)
    expect(page.locator(".tile", has_text="of at most 2 GLM").locator("b")).to_have_text(cost)
    expect(page.get_by_role("group", name="Agreements").locator("tbody tr")).to_have_count(len(summary["agreements"]))
    browser.look(page, "run-golem")
    return cost


def predict(browser, page, ui, run):
    """A whole file for the model, by rented machines: the price first, the same bytes at the end."""
    page.goto(f"{ui.base}/try/{run}")
    watch_money(page)
    page.get_by_role("radio", name="Golem").check()
    file = ui.folder / DATA / "t10k-images-idx3-ubyte.gz"
    page.locator(".drop input[type=file]").first.set_input_files(file)
    button = page.get_by_role("button", name="Rent and predict for at most 5 GLM")
    expect(page.get_by_text(re.compile(r"^About [0-9.]+ GLM with the cheapest"))).to_be_visible(timeout=40_000)
    expect(button).to_be_enabled()
    expect(page.get_by_text(re.compile(r"^1,000 rows for [0-9] machines?: likely below [0-9.]+ GLM .*, worst case [0-9.]+ GLM in the first hour, never more than 5 GLM\.$"))).to_be_visible()
    early = page.evaluate("window.tooEarly")
    check("the button of a prediction waits for the price", not early, early)
    browser.look(page, "try-golem")
    asked = []
    page.on("request", lambda request: asked.append(request.post_data_json) if request.url.endswith("/elsewhere") else None)
    button.click()
    with page.expect_download(timeout=90_000) as download:
        page.get_by_role("link", name="Download predictions").click(timeout=90_000)
    check("the click says the amount of a prediction", [body["agreedGLM"] for body in asked] == [5], asked)
    here = SCRATCH / "here.csv"
    subprocess.run([DEML, "predict", "--model", ui.folder / "runs" / run, "--data", file, "--split", "all",
                    "--count", "0", "--output", here], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    said = page.get_by_text(re.compile("^1,000 predictions, in ")).inner_text()
    check("rented machines predict the bytes of this one", Path(download.value.path()).read_bytes() == here.read_bytes(), said)
    check("what it cost is said", re.search(r"for [0-9.]+ GLM", said) is not None, said)
    browser.look(page, "try-golem-done")


def settle(browser, page, ui, costs):
    """The bills of runs, and who has worked."""
    subprocess.run([ROOT / "Tests/testnet/control", "settled", "60"], check=True, stdout=subprocess.DEVNULL)
    page.goto(ui.base + "/golem")
    # The newest, of the prediction, is open.
    expect(page.locator("details[open] summary")).to_have_text(re.compile("^predictions-[0-9a-f]+ · [0-9.]+ GLM of 5 GLM$"))
    for name, cost in costs.items():
        summary = page.locator("summary", has_text=re.compile(f"^{name}-[0-9a-f]+ · "))
        summary.click()
        run = summary.inner_text().split(" · ")[0]
        rows = page.get_by_role("group", name=f"Agreements of {run}", exact=True).locator("tbody tr")
        expect(rows.first).to_be_visible(timeout=20_000)
        states = [row.locator("td").last.inner_text() for row in rows.all()]
        check("its bills are settled", set(states) == {"settled"} and cost in summary.inner_text(), (states, summary.inner_text()))
    workers = page.get_by_role("group", name="Providers").locator("td.name").all_inner_texts()
    check("who has worked is remembered", set(workers) >= {"provider-0", "provider-1"}, workers)
    expect(page.get_by_role("button", name="Check again")).to_be_enabled(timeout=30_000)
    browser.look(page, "golem-settled")


def main():
    ui = Page(SCRATCH, dict(os.environ))
    try:
        run(lambda browser: visit(browser, ui))
    finally:
        ui.process.kill()


main()
