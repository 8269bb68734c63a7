#!/usr/bin/env python3
"""deml doctor, offers, status and payments against a real daemon; and every command that README and messages name."""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "golem"))
from checks import (DEML, SCRATCH, TREE, Testnet, expect, image, on_golem, run_all, small_mnist, small_options)  # noqa: E402
from tls_proxy import TLSProxy  # noqa: E402

# Subcommands of yagna that a text may name, with their options: `yagna payment fund --network hoodi`.
COMMAND = re.compile(r"(?<![\w/.-])yagna((?: [a-z][a-z-]+)+)((?: --[a-z-]+(?: [A-Za-z0-9$\\(){}.]+)?)*)")
NOT_COMMANDS = {"daemon", "answers", "is", "has"}        # words that follow the name in prose


def deml(network, *words, **more):
    environment = network.environment(DEML_GOLEM_DATA=str(SCRATCH / "data/commands"), **more)
    done = subprocess.run([DEML, *map(str, words)], env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def named_commands():
    """Every yagna command in code blocks of the README, and in texts of the sources: (place, subcommands, options)."""
    places = [TREE / "README.md", *sorted((TREE / "requestor").rglob("*.md")), *sorted((TREE / "requestor").rglob("*.swift"))]
    for path in places:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if path.suffix == ".swift" and '"' not in line:
                continue
            for match in COMMAND.finditer(line):
                words = match.group(1).split()
                if words[0] in NOT_COMMANDS:
                    continue
                yield f"{path.relative_to(TREE)}:{number}", words, re.findall(r"--[a-z-]+", match.group(2))


def main():
    with Testnet(2) as network:
        yagna = network.env["YAGNA"]

        def real_commands():
            helps, checked = {}, 0
            for place, words, options in named_commands():
                # Prose may go on after the command; the longest prefix that the daemon knows must not be only "yagna".
                key = tuple(words)
                while key and key not in helps:
                    done = subprocess.run([yagna, *key, "--help"], capture_output=True, text=True)
                    known = done.returncode == 0 and "USAGE" in done.stdout
                    helps[key] = done.stdout if known else None
                    if known:
                        break
                    key = key[:-1]
                while key and not helps.get(key):
                    key = key[:-1]
                expect(key, f"{place}: yagna knows no command", " ".join(words))
                group = "SUBCOMMANDS" in helps[key] and len(words) > len(key)
                expect(not group, f"{place}: yagna {' '.join(key)} has no subcommand", words[len(key)] if group else "")
                for option in options:
                    expect(option in helps[key], f"{place}: yagna {' '.join(key)} has no option {option}")
                checked += 1
            expect(checked >= 10, "commands were found to check", checked)
            return f"{checked} commands"

        def doctor():
            code, text = deml(network, "doctor", "--image", image(), "--market-time", 20)
            expect(code == 0 and "ready" in text and "BAD" not in text, "all is well", text)
            for subject in ("daemon", "app-key", "funds", "market", "image"):
                expect(f"ok   {subject}" in text, f"it looked at {subject}", text)
            return text.splitlines()[-1]

        def doctor_finds():
            cases = [
                ({"YAGNA_APPKEY": ""}, [], "YAGNA_APPKEY is not set", "yagna app-key create"),
                ({"YAGNA_APPKEY": "wrong"}, [], "app-key", "yagna app-key create"),
                ({"YAGNA_API_URL": "http://127.0.0.1:9"}, [], "no yagna daemon answers", "yagna service run"),
                ({"YAGNA_API_URL": "127.0.0.1:7465"}, [], "did you mean http://127.0.0.1:7465?", "deml doctor --help"),
                ({"YAGNA_API_URL": "http://127.0.0.1:99999"}, [], "ports are numbers from 1 to 65535", "deml doctor --help"),
                ({"YAGNA_API_URL": "ftp://127.0.0.1"}, [], "neither http nor https", "deml doctor --help"),
                ({"YAGNA_API_URL": "http://[::1]:9"}, [], "no yagna daemon answers at http://[::1]:9", "yagna service run"),
                ({"YAGNA_API_URL": network.env["YAGNA_API_URL"].replace("http:", "https:")}, [],
                 "no secure connection could be made", "write http://"),
                ({}, ["--budget", "1000000"], "funds", "yagna payment fund --network hoodi"),
                ({}, ["--subnet", "nobody-is-here", "--market-time", "3"], "no offer was seen", "yagna net status"),
                ({}, ["--max-price-per-hour", "0.000001", "--market-time", "3"], "none of use", "deml offers"),
                ({}, ["--image", str(SCRATCH / "missing.gvmi")], "there is no image", "make image"),
                ({}, ["--image", __file__], "no Golem image", "make image"),
            ]
            for environment, words, message, remedy in cases:
                words = words if "--image" in words else [*words, "--image", image()]
                words = words if "--market-time" in words else [*words, "--market-time", "10"]
                code, text = deml(network, "doctor", *words, **environment)
                expect(code == 69, f"exit code 69 for {words} {environment}", (code, text))
                expect(message in text and remedy in text, f"it says '{message}' and '{remedy}'", text)
            return f"{len(cases)} troubles, each with its remedy"

        def over_tls():
            """A daemon behind a proxy with a certificate: everything works, files too, and a stranger is not believed."""
            certificate = SCRATCH / "localhost.pem"
            subprocess.run(f"{TREE}/tools/need-packages openssl && openssl req -x509 -newkey rsa:2048 -nodes -days 2 "
                           f"-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout {certificate}.key "
                           f"-out {certificate}", shell=True, check=True, capture_output=True)
            port = int(network.env["YAGNA_API_URL"].rsplit(":", 1)[1])
            with TLSProxy(certificate, f"{certificate}.key", port) as proxy:
                url = f"https://localhost:{proxy.port}"
                code, text = deml(network, "doctor", "--image", image(), "--market-time", 20, YAGNA_API_URL=url)
                expect(code == 69 and "is not trusted" in text and "SSL_CERT_FILE" in text, "a stranger is not believed", text)
                os.environ["SSL_CERT_FILE"] = str(certificate)
                try:
                    other = url.replace("localhost", "127.0.0.1")
                    code, text = deml(network, "doctor", "--image", image(), "--market-time", 20, YAGNA_API_URL=other)
                    expect(code == 69 and "mismatch" in text, "nor somebody else's certificate", text)
                    code, text = deml(network, "doctor", "--image", image(), "--market-time", 20, YAGNA_API_URL=url)
                    expect(code == 0 and f"answers at {url}" in text, "one that is trusted is", text)
                    run = on_golem(network, "tls", small_options(rounds=1), api_url=url).good()
                finally:
                    del os.environ["SSL_CERT_FILE"]
                return f"{run.seconds:.1f} s through TLS, {proxy.connections} connections"

        def offers():
            code, text = deml(network, "offers", "--json", "--market-time", 20, "--enough", 2)
            expect(code == 0, "offers are shown", text)
            answer = json.loads(text)
            expect({o["provider"] for o in answer["offers"]} == {"provider-0", "provider-1"}, "both providers", answer)
            # 0.00002 a second and 0.00003 a processor second on two threads.
            expect(abs(answer["offers"][0]["glm_per_hour"] - 0.288) < 1e-9, "the price of an hour", answer)
            expect(abs(answer["expected_glm"] - 3 * 0.288) < 1e-9, "three machines for an hour", answer)
            code, text = deml(network, "offers", "--market-time", 20, "--enough", 2, "--min-cores", 64)
            expect(code == 0 or code == 69, "an answer", text)
            expect("0 left after: 64 cores" in text and code == 69, "filters say what they take", text)
            code, text = deml(network, "offers", "--market-time", 20, "--enough", 2)
            expect("price of an hour: 0.288" in text and "3 machines for 1 h: about 0.864 GLM" in text, "the table", text)

        def status_and_payments():
            run = on_golem(network, "shown", small_options(rounds=1), data="commands").good()
            code, text = deml(network, "status", run.folder)
            expect(code == 0 and "finished" in text and "golem" in text and "1/1" in text, "status of the run", text)
            network.control("settled", 60)
            code, text = deml(network, "payments", run.folder, "--json")
            expect(code == 0, "payments are shown", text)
            pages = json.loads(text)
            agreements = run.summary()["agreements"]
            expect(len(pages) == 1 and {x["agreement"] for x in pages[0]["lines"]} == {a["agreement"] for a in agreements},
                   "the agreements of the run", text)
            expect(all(x["state"] == "settled" for x in pages[0]["lines"]), "all settled", text)
            expect(abs(float(pages[0]["paid_glm"]) - run.summary()["cost_glm"]) < 1e-9, "the sum", text)
            code, text = deml(network, "payments", YAGNA_API_URL="http://127.0.0.1:9")
            expect(code == 0 and "the daemon does not answer" in text, "the ledger is enough", text)
            code, text = deml(network, "payments", SCRATCH / "no-such-run")
            expect(code == 66, "a missing run is told", (code, text))

        def page():
            """The Golem page and a run that is started there, in a browser."""
            environment = network.environment(
                DEML_GOLEM_DATA=str(SCRATCH / "data/commands"), DEML_GOLEM_IMAGE=str(image()), DEML=str(DEML),
                DEML_TEST_SCRATCH=str(SCRATCH), PAGE_TEST_DATA=small_mnist(1200).name)
            done = subprocess.run([sys.executable, TREE / "Tests/system/page/golem.py"], env=environment, capture_output=True,
                                  text=True, timeout=400)
            expect(done.returncode == 0, "the page does it", done.stdout + done.stderr[-2000:])
            print("".join(f"       {line}\n" for line in done.stdout.splitlines()), end="")
            return done.stdout.splitlines()[-1]

        def limits_are_told_first():
            run = on_golem(network, "told", small_options(rounds=1), max_price_per_hour=0.00001, start_timeout=5).wait(60)
            text = run.text()
            expect(run.code == 69 and "worst case" in text and "budget 2" in text, "limits are told, then nobody is found", text)

        return run_all([("real-commands", real_commands), ("doctor", doctor), ("doctor-finds", doctor_finds), ("over-tls", over_tls),
                        ("offers", offers), ("status-and-payments", status_and_payments), ("page", page),
                        ("limits-are-told", limits_are_told_first)])


if __name__ == "__main__":
    SCRATCH.mkdir(parents=True, exist_ok=True)
    sys.exit(main())
