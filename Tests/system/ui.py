#!/usr/bin/env python3
"""The page in a browser: each door from nothing to its end, at 1280 pixels in light and at 390 in dark; every view in the other
colours and widths, too.

axe-core looks at every view; the console is to stay silent. The Golem page and a run on rented machines are driven by
golem_commands, which has daemons."""
import json
import os
import re
import struct
import subprocess
import sys
import time
import urllib.request
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "page"))
from browser import DEML, ROOT, SCRATCH, Page, check, layout_shift, run, wait_state  # noqa: E402
from playwright.sync_api import expect  # noqa: E402

WEIGHT_LIMIT, PAINT_LIMIT, FRAME_LIMIT, START_LIMIT, SHIFT_LIMIT = 150_000, 200, 100, 0.3, 0.1


def long_run(folder, rounds, workers):
    """A run as it is left by many rounds of many workers: its journal and its numbers, made up."""
    folder.mkdir(parents=True)
    settings = {"data": "mnist", "fleet": "simulated", "workers": workers, "rounds": rounds + 500, "local_epochs": 1}
    (folder / "config.json").write_text(json.dumps(settings))
    moment = "2026-03-01T12:00:00.123Z"
    with open(folder / "metrics.jsonl", "w") as metrics, open(folder / "events.jsonl", "w") as events:
        def event(name, **values):
            events.write(json.dumps({"time": moment, "event": name, **values}) + "\n")

        event("run_started", fleet="simulated", workers=workers, clients_per_round=workers, rounds=rounds + 500,
              finished_rounds=0, parameters=199210, train_examples=60000, test_examples=10000, accuracy=0.1, loss=2.3)
        for number in range(1, rounds + 1):
            event("round_started", round=number, rounds=rounds + 500, clients=list(range(workers)))
            for client in range(workers):
                event("attempt_succeeded", round=number, client=client, attempt=0, examples=600, seconds=0.5,
                      provider={"id": f"p{client}", "name": f"provider-{client:03}"}, samples_per_second=1e4 + client,
                      loss=1 / number, bytes_up=1000, bytes_down=2000)
            row = {"round": number, "loss": 2.3 / number ** 0.5, "accuracy": 1 - 0.9 / number ** 0.4, "seconds": 1.5,
                   "evaluation_seconds": 0.1, "bytes_up": 100000, "bytes_down": 200000, "clients": workers,
                   "answers": workers, "failures": 0, "examples": 60000, "train_loss": 2 / number ** 0.5,
                   "weights_sha256": "0" * 64}
            metrics.write(json.dumps(row) + "\n")
            event("round_finished", **row)


def deml(*arguments):
    return subprocess.run([DEML, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def letters(folder):
    """Texts of ten letters, of which most are an a or most a z, and a model of such."""
    rows = b"".join(bytes(ord("e") if (place + row) % 5 == 0 else ord("az"[row % 2]) for place in range(10)) for row in range(80))
    labels = bytes(row % 2 for row in range(80))
    header = json.dumps({"x": {"dtype": "U8", "shape": [80, 10], "data_offsets": [0, 800]}, "y": {"dtype": "U8", "shape": [80], "data_offsets": [800, 880]}}).encode()
    (folder / "letters.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + rows + labels)
    (folder / "letters.yaml").write_text("input: {shape: [10], tokens: 128}\nlayers:\n  - {type: embedding, embedding_dim: 8}\n"
                                         "  - {type: gru, hidden_size: 8, output: last}\n  - {type: linear, out_features: 2}\nloss: cross_entropy\n")


def picture_of_one():
    """A PNG of a dark stroke on white paper."""
    rows = b"".join(bytes([0, *(20 if 27 <= x < 34 and 8 <= y < 52 else 255 for x in range(60))]) for y in range(60))
    part = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", struct.pack(">IIBBBBB", 60, 60, 8, 0, 0, 0, 0)) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")


def draw_seven(page):
    """A plain 7, small and in a corner, as one draws it: with a finger where there is one."""
    pad = page.locator("canvas.pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    at = lambda x, y: (box["x"] + x * box["width"], box["y"] + y * box["height"])
    corners = [at(0.12, 0.15), at(0.45, 0.14), at(0.25, 0.62)]
    if page.evaluate("navigator.maxTouchPoints > 0"):
        touch = page.context.new_cdp_session(page)
        send = lambda kind, *points: touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]})
        send("touchStart", corners[0])
        for (x, y), (right, below) in zip(corners, corners[1:]):
            for step in range(1, 15):
                send("touchMove", (x + (right - x) * step / 14, y + (below - y) * step / 14))
        send("touchEnd")
    else:
        page.mouse.move(*corners[0])
        page.mouse.down()
        page.mouse.move(*corners[1], steps=12)
        page.mouse.move(*corners[2], steps=16)
        page.mouse.up()
    # The last question is answered when nothing comes any more.
    page.wait_for_load_state("networkidle")


def main():
    work, narrow = SCRATCH / "work", SCRATCH / "narrow"
    work.mkdir()
    narrow.mkdir()
    ui, other = Page(work), Page(narrow)
    check("the page is there in 0.3 s", ui.seconds < START_LIMIT, f"{ui.seconds:.3f} s")

    def tests(browser):
        try:
            doors(browser, ui, work, lambda: doors_on_a_phone(browser, other, narrow))
        finally:
            ui.process.kill()
            other.process.kill()

    run(tests)


# MARK: Journeys: in every width and colour, each from nothing to its end

def begin_mnist(browser, page):
    """MNIST with one click, and the run as it goes."""
    browser.look(page, "home-empty")
    page.get_by_role("button", name="Train MNIST now").click()
    expect(page.get_by_role("heading", level=1, name="mnist-mlp")).to_be_visible()
    page.evaluate("""() => { window.moved = []; new PerformanceObserver((list) => { for (const one of list.getEntries())
        if (!one.hadRecentInput) window.moved.push([one.value, ...one.sources.map((source) => source.node?.className)]); }).observe({ type: "layout-shift" }); }""")
    wait_state(page, "working")
    expect(page.locator(".tile.first b")).to_contain_text("%", timeout=60000)
    expect(page.get_by_role("heading", name=re.compile("Round . of 3"))).to_be_visible(timeout=60000)
    expect(page.locator(".tile", has_text="rounds").locator("b")).to_have_text("1 / 3", timeout=60000)
    moved = page.evaluate("window.moved")
    check("nothing jumps while a run begins", sum(one[0] for one in moved) < SHIFT_LIMIT, f"{sum(one[0] for one in moved):.3f} {moved if moved else ''}")
    browser.look(page, "run-live")


def stop_mnist(browser, page, work):
    page.get_by_role("button", name="Stop").click()
    wait_state(page, "interrupted", 60)
    check("Stop pauses the run", True)
    browser.look(page, "run-paused")
    done = len((work / "runs/mnist-mlp/metrics.jsonl").read_text().splitlines())
    check("finished rounds are kept", 1 <= done <= 4, f"{done - 1} rounds")


def resume_mnist(page):
    page.get_by_role("button", name="Resume").click()
    wait_state(page, "working")


def finish_mnist(browser, page, rounds):
    wait_state(page, "finished", 180)
    expect(page.locator(".tile", has_text="rounds").locator("b")).to_have_text(f"{rounds} / {rounds}")
    expect(page.get_by_text("one shard alone").first).to_be_visible(timeout=20000)
    accuracy = page.locator(".tile.first b").inner_text()
    check("MNIST is learned", float(accuracy.split()[0]) > 97, accuracy)
    page.locator("summary", has_text="The report").click()
    expect(page.frame_locator("iframe.report").get_by_role("heading", level=1)).to_contain_text("mnist · MLP")
    browser.look(page, "run-finished")


def digit(browser, page):
    """A digit is drawn and read."""
    page.get_by_role("link", name="Try the model").click()
    expect(page.locator("canvas.pad")).to_be_visible()
    browser.look(page, "try-empty")
    draw_seven(page)
    expect(page.locator(".verdict")).to_have_text("7")
    check("a 7 drawn small in a corner is read as 7", page.locator(".verdict").inner_text() == "7",
          page.locator(".try .note").first.inner_text())
    browser.look(page, "try-digit")


def trees_table(browser, page):
    """A table that nobody has seen is dropped and read."""
    rows = "\n".join(f"{1 + 2 * (i % 2) + i / 900:.3f},{'red' if i % 3 else 'green'},{['north', 'south', 'west', 'west'][i % 4]},{['oak', 'ash'][i % 2]}" for i in range(300))
    (SCRATCH / "trees.csv").write_text("height,colour,forest,kind\n" + rows + "\n")
    page.get_by_role("link", name="Train", exact=True).click()
    browser.look(page, "train-empty")
    drop_trees(page)
    expect(page.get_by_label("Who has what")).to_have_value("iid")
    browser.look(page, "train-table")


def drop_trees(page):
    page.locator(".drop input[type=file]").first.set_input_files(SCRATCH / "trees.csv")
    expect(page.get_by_role("heading", name="trees").or_(page.locator(".box.bad"))).to_be_visible()
    if page.locator(".box.bad").count():
        page.get_by_label("Label column: its name or number").fill("kind")
        page.get_by_role("button", name="Read it so").click()
    expect(page.get_by_label("What is learned")).to_have_value("kind")
    expect(page.locator(".layer .count").nth(1)).not_to_have_text("–")


def price_before_button(browser, page):
    """Where the market does not answer, the button that spends waits until somebody has said to go on without a price."""
    page.get_by_role("radio", name="Golem").check()
    button = page.get_by_role("button", name=re.compile("^Rent and .* for at most 5 GLM$"))
    expect(button).to_be_disabled()
    expect(page.get_by_text("no app-key of the yagna daemon was given")).to_be_visible()
    expect(page.get_by_text(re.compile("the button waits for the market's price", re.I))).to_be_visible()
    check("a button that spends waits for its price", button.is_disabled())
    page.get_by_role("button", name="Go on without a price").click()
    expect(button).to_be_enabled()
    expect(page.get_by_text("worst case").first).to_be_visible()
    expect(page.get_by_text("the button waits")).to_have_count(0)


def train_trees(page):
    page.get_by_label("Simulated here").check()
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_role("heading", level=1, name="trees")).to_be_visible()
    wait_state(page, "finished", 120)


def predict_unknown(page):
    """Rows that nobody has labelled; gives the lines of the predictions that were downloaded."""
    (SCRATCH / "unknown.csv").write_text("colour,forest,height\nred,west,3.1\ngreen,west,1.2\nred,west,3.3\n")
    page.locator(".drop input[type=file]").first.set_input_files(SCRATCH / "unknown.csv")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download predictions").click()
    lines = Path(download.value.path()).read_text().splitlines()
    check("predictions for unknown rows come down", [line.split(",")[1] for line in lines[1:]] == ["ash", "oak", "ash"], lines)
    return lines


def compare_two(browser, page, ui):
    page.goto(ui.base + "/")
    for name in ["mnist-mlp", "trees"]:
        page.get_by_label(f"compare {name}").check()
    page.get_by_role("button", name="Compare 2 runs").click()
    expect(page.get_by_role("heading", name="Settings that differ")).to_be_visible()
    names = page.locator(".tables table").last.locator("tbody td:first-child").all_inner_texts()
    check("only what differs is shown", "rounds" in names and "seed" not in names, names)
    browser.look(page, "compare")


def empty_market(browser, page, ui):
    """The market, with nobody there; with daemons it is looked at by golem_commands."""
    page.goto(ui.base + "/golem")
    expect(page.locator(".checks .bad").first).to_be_visible()
    expect(page.get_by_text("YAGNA_APPKEY is not set")).to_be_visible()
    expect(page.get_by_role("button", name="Check again")).to_be_enabled(timeout=30000)
    page.get_by_role("button", name="Ask the market").click()
    expect(page.locator(".box.bad")).to_be_visible(timeout=30000)
    shift, names = layout_shift(page)
    check("nothing jumps on the Golem page", shift < SHIFT_LIMIT, f"{shift:.3f} {names}")
    browser.look(page, "golem")


def doors_on_a_phone(browser, ui, work):
    """All journeys once more from an empty folder: narrow, dark, with a finger."""
    begun = time.monotonic()
    page = browser.page(390, "dark")
    page.goto(ui.address)
    expect(page.locator(".door")).to_have_count(3)
    begin_mnist(browser, page)
    stop_mnist(browser, page, work)
    resume_mnist(page)
    finish_mnist(browser, page, 3)
    digit(browser, page)
    trees_table(browser, page)
    price_before_button(browser, page)
    browser.look(page, "train-golem")
    train_trees(page)
    page.get_by_role("link", name="Try the model").click()
    expect(page.locator(".verdict")).to_have_text(re.compile("oak|ash"))
    predict_unknown(page)
    browser.look(page, "try-row")
    compare_two(browser, page, ui)
    empty_market(browser, page, ui)
    page.context.close()
    check("the same at 390 pixels, dark, with a finger", True, f"{time.monotonic() - begun:.0f} s")


def doors(browser, ui, work, meanwhile):
    """- Parameter meanwhile: done while the journal of a long run is read."""
    page = browser.page(1280, "light")
    sizes = {}
    page.on("response", lambda response: sizes.__setitem__(response.url, int(response.headers.get("content-length", 0))))
    page.goto(ui.address)
    expect(page.get_by_role("button", name="Train MNIST now")).to_be_visible()
    check("the token is gone from the address", "token" not in page.url, page.url)
    check("nothing comes from elsewhere", all(url.startswith(ui.base) for url in sizes), [u for u in sizes if not u.startswith(ui.base)])
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
    paints = [paint]
    for _ in range(4):
        page.reload()
        expect(page.get_by_role("button", name="Train MNIST now")).to_be_visible()
        paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime"))
    check("first contentful paint", min(paints) < PAINT_LIMIT, f"{min(paints):.0f} ms, of {[round(p) for p in paints]}")
    expect(page.locator(".door")).to_have_count(3)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Train MNIST now")).to_be_focused()

    # Train MNIST with one click, watch, stop, resume.
    begin_mnist(browser, page)
    # A second window sees the same; a restart of the server does not disturb the run.
    second = page.context.new_page()
    second.goto(page.url)
    expect(second.locator(".tile.first b")).to_contain_text("%")
    second.close()
    stop_mnist(browser, page, work)
    # A stopped run is given more rounds; or goes on to those that it has.
    page.get_by_role("button", name="More rounds").click()
    page.get_by_label("Rounds in all").fill("4")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator(".tile", has_text="rounds").locator("b")).to_contain_text("/ 4", timeout=20000)
    page.get_by_role("button", name="Stop").click()
    wait_state(page, "interrupted", 60)
    resume_mnist(page)

    # The server goes and comes back; the run has not noticed.
    code = ui.stop()
    check("Ctrl-C ends the server cleanly", code == 0, code)
    ui.start()
    check("it is back in 0.3 s", ui.seconds < START_LIMIT, f"{ui.seconds:.3f} s")
    page.goto(ui.address)
    expect(page.locator(".card")).to_have_count(1)
    browser.console.clear()
    browser.look(page, "home-one")
    page.locator(".card h3 a").click()
    finish_mnist(browser, page, 4)
    check("a stopped run is given more rounds", json.loads((work / "runs/mnist-mlp/config.json").read_text())["rounds"] == 4)

    # The model, downloaded, and tried.
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").first.click()
    model = Path(download.value.path()).read_bytes()
    check("the model comes down whole", model == (work / "runs/mnist-mlp/best.safetensors").read_bytes(), len(model))
    for text, kind, ending in [("ONNX", "onnx", ".onnx"), ("Keras", "keras", ".keras"), ("PyTorch (state dictionary)", "safetensors", ".safetensors"),
                               ("PyTorch (module)", "pytorch", ".py"), ("DeML", "deml", ".safetensors")]:
        with page.expect_download() as download:
            page.locator("main").get_by_role("link", name=text, exact=True).click()
        stem = SCRATCH / kind / "mnist-mlp"
        stem.parent.mkdir()
        alone = deml("export", "--model", work / "runs/mnist-mlp", "--to", kind, "--output", f"{stem}{'.safetensors' if kind == 'pytorch' else ending}")
        check(f"the model comes down as deml export --to {kind} writes it", alone.returncode == 0 and download.value.suggested_filename == f"mnist-mlp{ending}"
              and Path(download.value.path()).read_bytes() == Path(f"{stem}{ending}").read_bytes(), alone.stderr)
    digit(browser, page)
    page.locator(".try input[type=file]").set_input_files({"name": "one.png", "mimeType": "image/png", "buffer": picture_of_one()})
    expect(page.locator(".verdict")).to_have_text("1")
    check("a picture of a 1 is read as 1", True, page.locator(".try .note").first.inner_text())

    # An unknown table: read, trained, its predictions downloaded.
    trees_table(browser, page)
    # A worker for each value of a column, which teaches nothing then.
    division = page.get_by_label("Who has what")
    division.select_option("by_column:forest")
    expect(page.get_by_text("trees · 3 workers")).to_be_visible()
    expect(page.get_by_label("Workers", exact=True)).to_be_disabled()
    expect(page.get_by_label("Kind of forest")).to_have_count(0)
    browser.look(page, "train-clients")
    # A mistake stands at its layer, and nothing can be started.
    page.get_by_label("Layer 0", exact=True).select_option("conv2d")
    expect(page.locator(".layer.wrong .mistake")).to_be_visible()
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_disabled()
    browser.look(page, "train-mistake")
    page.get_by_label("Layer 0", exact=True).select_option("linear")
    page.get_by_label("Rounds", exact=True).fill("0")
    expect(page.locator(".box.bad")).to_be_visible()
    page.get_by_label("Rounds", exact=True).fill("4")
    expect(page.locator(".box.bad")).to_have_count(0)
    # What it may cost is said on the button.
    price_before_button(browser, page)
    browser.look(page, "train-golem")
    train_trees(page)
    settings = json.loads((work / "runs/trees/config.json").read_text())
    check("workers are those of the data", settings["partition"] == "by_column:forest" and settings["workers"] == 3, (settings["partition"], settings["workers"]))
    # More rounds, by the keyboard alone.
    page.get_by_role("button", name="More rounds").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Rounds in all")).to_be_focused()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("6")
    page.keyboard.press("Enter")
    expect(page.locator(".tile", has_text="rounds").locator("b")).to_have_text("6 / 6", timeout=60000)
    wait_state(page, "finished", 60)
    check("a finished run is given more rounds", True)
    page.get_by_role("link", name="Try the model").click()
    expect(page.locator(".verdict")).to_have_text(re.compile("oak|ash"))
    page.get_by_label("height").fill("3.2")
    expect(page.locator(".verdict")).to_have_text("ash")
    page.get_by_label("height").fill("tall")
    expect(page.locator(".box.bad")).to_be_visible()
    page.get_by_label("height").fill("1.1")
    expect(page.locator(".verdict")).to_have_text("oak")
    lines = predict_unknown(page)
    browser.look(page, "try-row")
    # As everything that deml predict writes.
    for kind, contents in [("csv", "all"), ("npz", "all"), ("safetensors", "all"), ("jsonl", "all"), ("csv", "top"), ("npz", "classes")]:
        page.get_by_label("Format").select_option(kind)
        page.get_by_label("What of each row").select_option(contents)
        with page.expect_download() as download:
            page.get_by_role("link", name="Download predictions").click()
        alone = SCRATCH / f"alone.{kind}"
        deml("predict", "--model", work / "runs/trees", "--data", SCRATCH / "unknown.csv", "--split", "all", "--count", "0", "--contents", contents, "--output", alone)
        check(f"predictions come down as {kind}, {contents}", download.value.suggested_filename == f"predictions.{kind}"
              and Path(download.value.path()).read_bytes() == alone.read_bytes())
    # The same by processes, as by other machines: the same bytes.
    page.get_by_label("Processes here").check()
    page.locator(".drop input[type=file]").first.set_input_files(SCRATCH / "unknown.csv")
    page.get_by_role("button", name="Predict unknown.csv").click()
    with page.expect_download(timeout=60_000) as download:
        page.get_by_role("link", name="Download predictions").click(timeout=60_000)
    check("processes predict the same", Path(download.value.path()).read_text().splitlines() == lines)
    page.reload()
    expect(page.get_by_role("link", name="Download predictions")).to_be_visible()
    # What it may cost is said before the button that spends it.
    price_before_button(browser, page)
    expect(page.get_by_text(re.compile(r"^3 rows for 1 machine: likely below [0-9.]+ GLM .*, worst case [0-9.]+ GLM in the first hour, never more than 5 GLM\.$"))).to_be_visible()
    browser.look(page, "try-elsewhere")

    # A text: read, learned, and written on with, as it is written.
    line = "the quick brown fox jumps over the lazy dog.\n"
    (SCRATCH / "fox.txt").write_text(line * 60)
    (SCRATCH / "short.txt").write_text(line * 2)
    page.goto(ui.base + "/train")
    page.locator(".drop input[type=file]").first.set_input_files(SCRATCH / "short.txt")
    expect(page.locator(".box.bad")).to_contain_text("No test text is as long as 65 tokens")
    page.get_by_label("Tokens of an example").fill("8")
    page.keyboard.press("Tab")
    expect(page.get_by_text("in examples of 8")).to_be_visible()
    page.locator(".drop input[type=file]").first.set_input_files(SCRATCH / "fox.txt")
    expect(page.get_by_role("heading", name="fox")).to_be_visible()
    expect(page.locator(".layer .count").nth(1)).not_to_have_text("–")
    # How it is read may be changed, and what cannot be is said.
    page.get_by_role("combobox", name="Tokens").select_option("bytes")
    expect(page.get_by_text("256 different tokens")).to_be_visible()
    page.get_by_label("Tokens of an example").fill("5000")
    page.keyboard.press("Tab")
    expect(page.locator(".box.bad")).to_contain_text("A smaller block needs less")
    browser.look(page, "train-text-short")
    page.get_by_role("combobox", name="Tokens").select_option("characters")
    page.get_by_label("Tokens of an example").fill("48")
    page.keyboard.press("Tab")
    expect(page.get_by_text("29 different, in examples of 48")).to_be_visible()
    page.get_by_label("Simulated here").check()
    page.get_by_label("Rounds", exact=True).fill("2")
    page.get_by_label("Part to validate with").fill("0.1")
    page.get_by_label("Patience in rounds").fill("0")
    expect(page.locator(".box.bad")).to_contain_text("patience")
    page.get_by_label("Patience in rounds").fill("3")
    expect(page.locator(".box.bad")).to_have_count(0)
    browser.look(page, "train-text")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_role("heading", level=1, name="fox")).to_be_visible()
    wait_state(page, "finished", 120)
    settings = json.loads((work / "runs/fox/config.json").read_text())
    settings = [settings.get(key) for key in ("text", "validation_fraction", "patience")]
    check("text and validation are set on the page", settings == [{"tokens": "characters", "block": 48}, 0.1, 3], settings)
    page.get_by_role("link", name="Try the model").click()
    expect(page.get_by_role("button", name="Write on")).to_be_disabled()
    page.get_by_label("Begin with").fill("the quick § fox")
    expect(page.locator(".box.bad")).to_contain_text("none that the model knows")
    page.get_by_role("button", name="Write on").click()
    expect(page.locator(".box.bad")).to_contain_text("none that the model knows")
    page.get_by_label("Begin with").fill("the quick ")
    expect(page.get_by_text("What comes next:")).to_be_visible()
    expect(page.locator(".odds .share")).to_have_count(8)
    page.get_by_label("Length in characters").fill("10000")
    page.get_by_role("button", name="Write on").click()
    expect(page.locator(".box.bad")).to_have_count(0)
    written = page.locator(".written")
    expect(written).to_have_text(re.compile("^the quick .{20}", re.S))
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped.")).to_be_visible()
    check("the text is there before it is whole, and can be stopped", 30 <= len(written.text_content()) < 10_000, f"{len(written.text_content())} characters")
    browser.look(page, "try-prompt-stopped")
    page.get_by_label("Length in characters").fill("60")
    page.get_by_label("Draw among so many").fill("5")
    page.get_by_label("Seed").fill("7")
    page.get_by_role("button", name="Write on").click()
    expect(page.get_by_text(re.compile("^60 characters in "))).to_be_visible()
    alone = subprocess.run([DEML, "generate", "--model", work / "runs/fox", "--prompt", "the quick ", "--tokens", "60", "--temperature", "0.8",
                            "--top-k", "5", "--seed", "7"], stdout=subprocess.PIPE, text=True, check=True).stdout
    check("the page writes what deml generate writes", written.text_content() + "\n" == alone, written.text_content())
    browser.look(page, "try-prompt")

    # A text is classified as it is typed.
    letters(SCRATCH)
    alone = deml("train", "--data", SCRATCH / "letters.safetensors", "--model", SCRATCH / "letters.yaml", "--on", "simulated", "--rounds", "2",
                 "--local-epochs", "20", "--learning-rate", "0.01", "--workers", "1", "--no-comparison", "--output", work / "runs/letters")
    check("a model of texts is trained", alone.returncode == 0, alone.stderr[-300:])
    page.goto(ui.base + "/try/letters")
    expect(page.get_by_text("takes 10 tokens")).to_be_visible()
    browser.look(page, "try-text-empty")
    page.get_by_role("combobox", name="A token is").select_option("bytes")
    page.get_by_label("Type here").fill("zzzezzzzez")
    expect(page.locator(".verdict")).to_have_text("1")
    expect(page.locator(".odds .share")).to_have_count(2)
    page.get_by_label("Type here").fill("aaaéaa")
    expect(page.locator(".box.bad")).to_contain_text("none that the model knows")
    page.get_by_label("Type here").fill("aaaaeaaaaeaa")
    expect(page.locator(".verdict")).to_have_text("0")
    expect(page.get_by_text("12 tokens; the model takes 10: 2 at the end are left out")).to_be_visible()
    expect(page.locator(".box.bad")).to_have_count(0)
    browser.look(page, "try-text")

    # Models of every tool, dropped.
    fixtures = ROOT / "Tests/ModelFormatsTests/Fixtures"
    (SCRATCH / "mlp.yaml").write_text("input: {shape: [3, 2, 2]}\nloss: cross_entropy\nlayers: [{type: flatten}, {type: linear, out_features: 8}, {type: relu}, {type: linear, out_features: 3}]\n")
    for files in [[fixtures / "mlp.pt2"], [fixtures / "lenet.onnx"], [fixtures / "keras_cnn.h5"], [fixtures / "keras_table.keras"],
                  [fixtures / "mlp.pth", SCRATCH / "mlp.yaml"], [SCRATCH / "deml/mnist-mlp.safetensors"]]:
        page.goto(ui.base + "/try/letters")
        page.locator(".drop input[type=file]").last.set_input_files(files)
        expect(page.get_by_text("A dropped model")).to_be_visible()
        expect(page.get_by_role("link", name="ONNX")).to_be_visible()
        if "table" in files[0].name:
            # Numbers without names are a row, too.
            before = page.locator(".verdict").inner_text()
            page.get_by_label("4", exact=True).fill("7")
            expect(page.locator(".verdict")).not_to_have_text(before)
    check("models of every tool are taken", True)
    page.locator(".drop input[type=file]").last.set_input_files(fixtures / "mlp.pth")
    expect(page.locator(".box.bad")).to_contain_text("says nothing of the layers")
    expect(page.locator(".box.bad")).to_contain_text("together with a description")
    browser.look(page, "try-dropped")
    # Weights alone are for the layers that are there.
    page.goto(ui.base + "/train")
    page.get_by_role("button", name="MNIST digits").click()
    expect(page.locator(".layer .count").nth(1)).not_to_have_text("–", timeout=60000)
    models = page.locator(".drop input[type=file]").last
    models.set_input_files(fixtures / "mlp.pth")
    expect(page.locator(".box.bad")).to_contain_text("1.weight")
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_disabled()
    page.get_by_role("button", name="Leave the weights out").click()
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_enabled()
    models.set_input_files(SCRATCH / "safetensors/mnist-mlp.safetensors")
    expect(page.get_by_text("Training goes on from the weights in mnist-mlp.safetensors: all 4 tensors by their names.")).to_be_visible()
    models.set_input_files(SCRATCH / "mlp.yaml")
    expect(page.get_by_text("The model of mlp.yaml.")).to_be_visible()
    browser.look(page, "train-weights")

    # What only the run itself can find is said on its page.
    page.request.post(f"{ui.base}/api/runs", headers={"Origin": ui.base}, data={
        "name": "wrong", "settings": {"data": "mnist", "model": {"layers": [{"type": "flatten"}, {"type": "linear"}]}, "class_weights": [1, 2]}})
    page.goto(f"{ui.base}/runs/wrong")
    wait_state(page, "failed", 30)
    expect(page.locator(".box.bad")).to_contain_text("class_weights")
    browser.look(page, "run-failed")

    # Two runs side by side.
    page.goto(ui.base + "/")
    expect(page.locator(".card")).to_have_count(5)
    compare_two(browser, page, ui)
    empty_market(browser, page, ui)

    # A long run scrolls and updates without long frames.
    long_run(work / "runs/long", 2000, 100)
    lock = subprocess.Popen([sys.executable, "-c", (
        "import fcntl, struct, sys, time\nfile = open(sys.argv[1], 'w')\n"
        "fcntl.fcntl(file, 37, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 0, 0))\n"
        "print('held', flush=True)\ntime.sleep(300)"), str(work / "runs/long/lock")], stdout=subprocess.PIPE, text=True)
    lock.stdout.readline()
    begun = time.monotonic()
    page.goto(ui.base + "/runs/long")
    expect(page.locator(".tile", has_text="rounds").locator("b")).to_have_text("2,000 / 2,500", timeout=10000)
    check("2,000 rounds are there", True, f"{time.monotonic() - begun:.1f} s")
    meanwhile()
    expect(page.get_by_role("heading", name="Workers")).to_be_visible(timeout=240000)
    check("what 100 workers did in them is read", True, f"{time.monotonic() - begun:.1f} s")
    page.locator("summary", has_text="Every round as a table").click()
    page.evaluate("""() => { window.frames_ = []; let last = performance.now();
        const step = (now) => { window.frames_.push(now - last); last = now; requestAnimationFrame(step); }; requestAnimationFrame(step); }""")
    with open(work / "runs/long/events.jsonl", "a") as events:
        for step in range(40):
            moment = "2026-03-01T12:30:00.123Z"
            number = 2001 + step // 4
            if step % 4 == 0:
                events.write(json.dumps({"time": moment, "event": "round_started", "round": number, "rounds": 2500, "clients": list(range(100))}) + "\n")
            for client in range(100):
                events.write(json.dumps({"time": moment, "event": "epoch_finished", "round": number, "client": client, "attempt": 0,
                                         "provider": {"id": f"p{client}", "name": f"provider-{client:03}"},
                                         "progress": {"epoch": step % 4 + 1, "epochs": 5, "loss": 0.1, "samples_per_second": 1e4}}) + "\n")
            if step % 4 == 3:
                events.write(json.dumps({"time": moment, "event": "round_finished", "round": number, "loss": 0.05, "accuracy": 0.96,
                                         "seconds": 1, "evaluation_seconds": 0.1, "bytes_up": 1, "bytes_down": 1, "clients": 100,
                                         "answers": 100, "failures": 0, "examples": 60000, "weights_sha256": ""}) + "\n")
            events.flush()
            page.mouse.wheel(0, 400 if step % 10 < 5 else -400)
            page.wait_for_timeout(50)
    expect(page.locator(".tile", has_text="rounds").locator("b")).to_have_text("2,010 / 2,500")
    frames = sorted(page.evaluate("window.frames_"))
    check("no frame is long", frames[-1] < FRAME_LIMIT, f"longest {frames[-1]:.0f} ms of {len(frames)}, median {frames[len(frames) // 2]:.0f} ms")
    browser.look(page, "run-long")
    lock.kill()
    lock.wait()

    weight = sum(len(urllib.request.urlopen(f"{ui.base}/assets/{name}").read())
                 for name in os.listdir(ROOT / "requestor/UserInterface/Assets"))
    check("everything of the page together", weight < WEIGHT_LIMIT, f"{weight:,} bytes")

    # Every view again: narrow, dark, and wide; on a phone in the dark those that its journeys have not come to.
    seen = {"run-finished", "train-table", "try-digit", "try-row", "compare", "golem"}
    state, jumps = page.context.storage_state(), []
    for width, scheme in [(390, "light"), (1280, "dark"), (390, "dark"), (2560, "light")]:
        other = browser.page(width, scheme)
        other.context.add_cookies(state["cookies"])
        for name, path in [("home", "/"), ("run-finished", "/runs/mnist-mlp"), ("run-long", "/runs/long"), ("train-table", "/train"), ("try-digit", "/try/mnist-mlp"),
                           ("try-row", "/try/trees"), ("try-prompt", "/try/fox"), ("try-text-empty", "/try/letters"), ("compare", "/compare?run=mnist-mlp&run=trees"), ("golem", "/golem"), ("gone", "/runs/nothing")]:
            if width == 2560 and name not in ("home", "run-finished") or (width, scheme) == (390, "dark") and name in seen:
                continue
            other.goto(ui.base + path)
            expect(other.get_by_role("heading", level=1)).to_be_visible()
            if name == "train-table":
                drop_trees(other)
            elif name == "try-digit":
                draw_seven(other)
                expect(other.locator(".verdict")).to_have_text("7")
            elif name == "try-row":
                expect(other.locator(".verdict")).to_have_text(re.compile("oak|ash"))
            elif name.startswith("run"):
                expect(other.locator("svg.chart").first).to_be_visible(timeout=60000)
            elif name == "golem":
                expect(other.get_by_role("button", name="Check again")).to_be_enabled(timeout=30000)
            browser.look(other, name)
            # Of a long run it is shown at once what was read first.
            if name != "run-long":
                jumps.append((*layout_shift(other), name, width))
        # As somebody opens it from the run's folder.
        other.goto((work / "runs/mnist-mlp/report.html").as_uri())
        expect(other.get_by_role("heading", level=1)).to_be_visible()
        browser.look(other, "report")
        other.context.close()
    most = max(jumps, key=lambda one: one[0])
    check("nothing jumps in any view", most[0] < SHIFT_LIMIT, f"at most {most}")
    # The answer of a run that is not there is an error by intent.
    browser.console[:] = [line for line in browser.console if "status of 404" not in line and "status of 422" not in line
                          and "/predict/row" not in line]

    # Nobody answers any more: said, not a broken page.
    page.goto(ui.base + "/")
    expect(page.locator(".card").first).to_be_visible()
    silent = len(browser.console)
    ui.stop()
    expect(page.get_by_text("deml ui does not answer")).to_be_visible(timeout=15000)
    browser.look(page, "server-gone")
    del browser.console[silent:]


main()
