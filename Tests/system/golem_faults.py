#!/usr/bin/env python3
"""Everything that goes wrong on a market of strangers, on real daemons: each run ends with the model of an undisturbed one.

    Tests/system/golem_faults.py                     all
    Tests/system/golem_faults.py hang corrupt        only those
"""
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "golem"))
from checks import (DEML, SCRATCH, Failed, Run, Testnet, check_money, check_nothing_left, expect, local_reference,  # noqa: E402
                    on_golem, run_all, small_options)

REFERENCE = {}


def reference(name="local", **changes):
    if name not in REFERENCE:
        REFERENCE[name] = local_reference(name, **changes).model()
    return REFERENCE[name]


def faults(network, **switches):
    """New agents with these switches (`p0="--slow 10"`), every other one without a fault."""
    network.control("providers")
    for name, text in switches.items():
        network.control("provider", name[1:], *text.split())


def same_model(run, name="local", **changes):
    expect(run.model() == reference(name, **changes), "the model of an undisturbed run, byte for byte")


def failed_at(run, provider, *kinds):
    seen = run.failures(provider)
    expect(any(e["failure"] in kinds for e in seen), f"{provider} failed as one of {kinds}",
           [(e.get("provider"), e["failure"], e["message"]) for e in run.failures()])
    return f"{seen[0]['failure']} at {seen[0]['stage']}: {seen[0]['message'][:90]}"


def cases(network):
    def simple(name, kinds, words=None, **switches):
        """A run with faults at provider 0 that must be seen as one of `kinds`."""
        def case():
            faults(network, **switches)
            # Without company for slow workers: what is tested is that the loss itself is seen.
            run = on_golem(network, name, words or small_options(straggler_factor=0), min_machines=3).good()
            same_model(run)
            note = failed_at(run, "provider-0", *kinds)
            if "daemon" in name:
                network.dead |= {a["agreement"] for a in run.summary()["agreements"]
                                 if a["provider"]["name"] == "provider-0"}
            check_money(network, run)
            check_nothing_left(network)
            return f"{run.seconds:.1f} s; {note}"
        return name, case

    def slow():
        # A slow worker gets company after five seconds at the earliest.
        faults(network, p0="--slow 10 --at-least 9")
        run = on_golem(network, "slow", small_options(local_epochs=20, straggler_factor=3), min_machines=3).good()
        same_model(run, "local-20", local_epochs=20)
        check_money(network, run)
        check_nothing_left(network)
        found = run.events("straggler_found")
        expect(found, "the slow worker got company", run.text()[-1500:])
        return f"{run.seconds:.1f} s; company after {found[0]['seconds']:.1f} s"

    def corrupt():
        faults(network, p0="--corrupt-output")
        run = on_golem(network, "corrupt", small_options(), min_machines=3).good()
        same_model(run)
        note = failed_at(run, "provider-0", "bad_result")
        invoices = check_money(network, run)
        bad = [a for a in run.summary()["agreements"] if a["provider"]["name"] == "provider-0"]
        expect(bad and all(a["paid_glm"] == 0 for a in bad), "damaged work is not paid", bad)
        expect(all((invoices[a["agreement"]] or {}).get("status") in (None, "REJECTED") for a in bad),
               "its invoices are rejected", bad)
        check_nothing_left(network)
        return f"{run.seconds:.1f} s; {note}"

    def corrupt_once():
        faults(network, p0="--corrupt-output 1")
        run = on_golem(network, "corrupt-once", small_options(), min_machines=3).good()
        same_model(run)
        expect(not run.failures(), "what arrived damaged was fetched again", run.failures())
        expect(any(e.get("stage") == "download again" for e in run.events("attempt_stage")), "and that is told")
        check_nothing_left(network)
        return f"{run.seconds:.1f} s"

    def rejected():
        faults(network, p0="--reject-agreement")
        run = on_golem(network, "rejected", small_options()).good()
        same_model(run)
        expect("provider-0" not in {w["provider"]["name"] for w in run.summary()["workers"]}, "the two others did it")
        check_nothing_left(network)
        return f"{run.seconds:.1f} s"

    def never_starts():
        faults(network, p0="--never-start")
        run = on_golem(network, "never-starts", small_options()).good()
        same_model(run)
        check_nothing_left(network)
        return f"{run.seconds:.1f} s"

    def overbill():
        faults(network, p0="--overbill 5")
        run = on_golem(network, "overbill", small_options(rounds=6), min_machines=3).good()
        same_model(run, "local-6", rounds=6)
        bad = [a for a in run.summary()["agreements"] if a["provider"]["name"] == "provider-0"]
        expect(bad, "provider-0 was hired", run.summary()["agreements"])
        for line in bad:
            honest = (line["seconds"] + 2) * (0.00002 + 2 * 0.00003) * 1.02
            expect(line["paid_glm"] <= honest, "no more than the agreed price is paid", line)
            expect(line["state"] == "rejected" and line["reason"], "the invoice is rejected with its reason", line)
        invoices = check_money(network, run)
        expect(all(invoices[a["agreement"]]["status"] == "REJECTED" for a in bad), "rejected at the daemon too")
        check_nothing_left(network)
        return f"{run.seconds:.1f} s; {bad[0]['reason'][:100]}"

    def nobody():
        start = time.time()
        run = on_golem(network, "nobody", small_options(), start_timeout=6, subnet="nobody-is-here").wait(60)
        expect(run.code == 69, "exit code 69", (run.code, run.text()[-800:]))
        expect("deml offers" in run.text() or "deml doctor" in run.text(), "it says what to do", run.text()[-800:])
        check_nothing_left(network)
        message = [x for x in run.text().splitlines() if x.startswith("error:")]
        return f"{time.time() - start:.1f} s; {message[0] if message else ''}"

    def fewer():
        faults(network)
        run = on_golem(network, "fewer", small_options(workers=5)).good()
        same_model(run, "local-5", workers=5)
        check_money(network, run)
        check_nothing_left(network)
        return f"{run.seconds:.1f} s; 5 shards on {len(run.summary()['workers'])} providers"

    def two_at_once():
        faults(network, p0="--crash-after 1 --crash-kind exeunit", p1="--corrupt-output")
        run = on_golem(network, "two", small_options(straggler_factor=0), min_machines=3).good()
        same_model(run)
        notes = failed_at(run, "provider-0", "lost", "late") + "; " + failed_at(run, "provider-1", "bad_result")
        check_money(network, run)
        check_nothing_left(network)
        return f"{run.seconds:.1f} s; {notes}"

    def killed_requestor():
        faults(network)
        run = on_golem(network, "killed", small_options())
        run.await_event(lambda e: e["event"] == "attempt_started" and e["round"] == 2, "task of round 2")
        run.process.send_signal(signal.SIGKILL)
        run.wait()
        left = network.control("leftovers")
        expect(left["allocations"] and left["agreements"], "a killed run leaves something to clean up", left)
        again = on_golem(network, "killed", ["--resume", run.folder]).good()
        same_model(again)
        # The dead run's demand ends by itself within an hour; nothing is hired or paid by it.
        left = {k: v for k, v in network.await_nothing_left(5).items() if k != "demands"}
        expect(not left, "what the killed run left is released", left)
        network.forget_demands()
        accepted = [i for i in network.control("invoices") if i["status"] in ("ACCEPTED", "SETTLED")]
        expect(len({i["agreementId"] for i in accepted}) == len(accepted), "no agreement is paid twice", accepted)
        return f"resumed in {again.seconds:.1f} s"

    def daemon_restarted():
        faults(network)
        run = on_golem(network, "restart", small_options(rounds=5))
        run.await_event(lambda e: e["event"] == "attempt_started" and e["round"] == 2, "task of round 2")
        network.control("restart", "requestor", "kill", "1")
        run.good()
        same_model(run, "local-5r", rounds=5)
        check_nothing_left(network)
        return f"{run.seconds:.1f} s; {len(run.failures())} attempts lost"

    def ledger(run):
        """What `deml payments` says of a run."""
        environment = network.environment(DEML_GOLEM_DATA=str(SCRATCH / "data" / run.name))
        done = subprocess.run([DEML, "payments", run.folder, "--json"], env=environment, capture_output=True, text=True)
        expect(done.returncode == 0, "payments are shown", done.stderr)
        return json.loads(done.stdout)[0]

    def money():
        """One refuses its agreement, one asks for what nobody has; and our allocation is released while it is needed."""
        faults(network, p0="--reject-agreement", p1="--invoice-amount 1e40")
        run = on_golem(network, "money", small_options())
        run.await_event(lambda e: e["event"] == "attempt_started" and e["round"] == 2, "task of round 2")
        expect(network.control("release-allocations") == 1, "the run has one allocation")
        run.good()
        same_model(run)
        lines = {a["provider"]["name"]: a for a in run.summary()["agreements"]}
        expect(set(lines) == {"provider-1", "provider-2"}, "nothing was rented of who refused", lines)
        odd, honest = lines["provider-1"], lines["provider-2"]
        # The daemon writes the amount out.
        expect(odd["state"] == "rejected" and f"asks for 1{'0' * 40} GLM" in odd["reason"], "what nobody has is refused", odd)
        expect(honest["state"] in ("accepted", "settled") and honest["paid_glm"] > 0, "who did the work is paid", honest)
        check_money(network, run)
        check_nothing_left(network)
        expect("another now" in run.text(), "that the allocation was lost is told", run.text()[-2000:])
        expect("waiting for the last bill" not in run.text(), "nothing is waited for in vain", run.text()[-2000:])
        page = ledger(run)
        expect(not page.get("note"), "the ledger is closed", page)
        return f"{run.seconds:.1f} s; {odd['reason'][:80]}"

    def no_invoice():
        """Who sends no invoice is waited for aloud; Ctrl-C ends the waiting, and what was learned counts."""
        faults(network, p0="--no-invoice")
        run = on_golem(network, "no-invoice", small_options(), min_machines=3)
        end = time.time() + 120
        while "waiting for the last bill of provider-0" not in run.text():
            expect(time.time() < end and run.process.poll() is None, "it says whom it waits for", run.text()[-2000:])
            time.sleep(0.1)
        run.process.send_signal(signal.SIGINT)
        asked = time.time()
        run.wait(60)
        expect(time.time() - asked < 10, "Ctrl-C ends the waiting", time.time() - asked)
        same_model(run)
        check_nothing_left(network)
        expect(not ledger(run).get("note"), "the ledger is closed", ledger(run))
        return f"{run.seconds:.1f} s, {time.time() - asked:.1f} s after Ctrl-C"

    def daemon_away():
        """Our own daemon is away for longer than a task may take."""
        faults(network, **{f"p{i}": "--at-least 4" for i in range(3)})
        run = on_golem(network, "away", small_options(rounds=3, timeout=12, straggler_factor=0), min_machines=3)
        run.await_event(lambda e: e["event"] == "attempt_started" and e["round"] == 1, "task of round 1")
        time.sleep(1)
        network.control("restart", "requestor", "kill", "25")
        run.good()
        same_model(run)
        bad = [e for e in run.failures() if e["failure"] in ("late", "bad_result")]
        expect(not bad, "nobody is late while we are away", bad)
        lines = run.summary()["agreements"]
        expect(all(a["state"] in ("accepted", "settled") for a in lines), "all work is paid", lines)
        expect(run.text().count("our own daemon does not answer") == 1, "it is said once", run.text()[-3000:])
        expect("answers again" in run.text(), "and that it is there again", run.text()[-3000:])
        check_money(network, run)
        check_nothing_left(network)
        expect(not ledger(run).get("note"), "the ledger is closed", ledger(run))
        return f"{run.seconds:.1f} s; {len(run.failures())} attempts lost, {len(lines)} agreements"

    def busy_notes():
        """Debit notes every 2 s that must be accepted within 5 s, for more than two minutes of training."""
        for i in range(3):
            network.control("provider", i, "--note-every", "2", "--accept-timeout", "5", "--at-least", "12")
        run = on_golem(network, "notes", small_options(rounds=10, straggler_factor=0)).good(600)
        same_model(run, "local-notes", rounds=10)
        expect(run.seconds >= 120, "training was busy for two minutes", run.seconds)
        logs = "".join(network.log(i) for i in range(3))
        expect("DebitNotesDeadline" not in logs, "no agreement was ended for a note")
        seconds = sum(a["seconds"] for a in run.summary()["agreements"])
        check_nothing_left(network)
        return f"{run.seconds:.1f} s, about {int(seconds / 2)} notes"

    def clock_jumps():
        """Somebody sets the clock of this computer, deml's and its daemon's: ten minutes back, and half an hour on."""
        clock = network.control("clock", 0)
        for i in range(3):
            network.control("provider", i, "--note-every", "2", "--accept-timeout", "20", "--at-least", "6")
        run = on_golem(network, "clock-jumps", small_options(rounds=6, straggler_factor=0), min_machines=3, environment=clock)
        for after, seconds in ((1, -600), (5, 1200)):
            run.await_event(lambda e: e["event"] == "attempt_started" and e["round"] == after, f"task of round {after}")
            network.control("clock", seconds)
        run.good()
        same_model(run, "local-6", rounds=6)
        expect(not run.failures(), "nobody is blamed", run.failures())
        logs = "".join(network.log(i) for i in range(3))
        expect("DebitNotesDeadline" not in logs, "no agreement was ended for a note that nobody saw")
        honest(run)
        network.control("clock", 0)
        return f"{run.seconds:.1f} s"

    def honest(run):
        """Nobody did anything wrong, and all are paid."""
        lines = run.summary()["agreements"]
        expect(lines and all(a["state"] in ("accepted", "settled") and a["paid_glm"] > 0 for a in lines), "all work is paid", lines)
        check_money(network, run)
        check_nothing_left(network)
        expect(not ledger(run).get("note"), "the ledger is closed", ledger(run))

    def disk_full():
        """Our own disk is full: the run ends with what it has, and providers are paid for what they did."""
        faults(network)
        place = SCRATCH / "small-disk"
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", place], check=True)
        try:
            run = on_golem(network, "disk-full", small_options(rounds=8), folder=place / "run")
            run.await_event(lambda e: e["event"] == "attempt_started" and e["round"] == 2, "task of round 2")
            with open(place / "ballast", "wb") as ballast:
                try:
                    while ballast.write(bytes(1 << 16)):
                        ballast.flush()
                except OSError:
                    pass
            run.wait(120)
            expect(run.code == 74, "exit code 74", (run.code, run.text()[-2000:]))
            expect("No space left on device" in run.text(), "it says why", run.text()[-2000:])
            (place / "ballast").unlink()
            page = ledger(run)
            expect(not page.get("note"), "the ledger is closed", page)
            expect(page["lines"] and all(a["state"] in ("accepted", "settled") for a in page["lines"]),
                   "all work is paid", page)
            check_nothing_left(network)
            again = on_golem(network, "disk-full", ["--resume", run.folder], folder=run.folder).good()
            same_model(again, "local-8", rounds=8)
            honest(again)
            return f"{run.seconds:.1f} s; with room again {again.seconds:.1f} s"
        finally:
            subprocess.run(["umount", "-l", place])

    lost = ("lost", "late")
    return [
        simple("agent-killed", lost, p0="--crash-after 1 --crash-kind agent"),
        simple("exe-unit-dies", lost, p0="--crash-after 1 --crash-kind exeunit"),
        simple("exe-unit-dies-reported", lost, p0="--crash-after 1 --crash-kind reported"),
        simple("daemon-killed", lost, p0="--crash-after 1 --crash-kind daemon"),
        simple("hang", ("late", "cancelled"), small_options(timeout=12, straggler_factor=0), p0="--hang-run 1"),
        ("slow", slow), ("corrupt", corrupt), ("corrupt-once", corrupt_once), ("rejected", rejected),
        ("never-starts", never_starts), ("overbill", overbill), ("nobody", nobody), ("fewer", fewer),
        ("two-at-once", two_at_once), ("requestor-killed", killed_requestor), ("daemon-restarted", daemon_restarted),
        ("daemon-away", daemon_away), ("money", money), ("no-invoice", no_invoice),
        ("busy-notes", busy_notes), ("clock-jumps", clock_jumps), ("disk-full", disk_full),
    ]


if __name__ == "__main__":
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with Testnet(3, "--clock") as net:
        sys.exit(run_all(cases(net)))
