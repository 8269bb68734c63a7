"""What can go wrong at a provider, as switches of provider.py. Runs are counted over the life of the agent, from 1."""


def add_arguments(parser):
    f = parser.add_argument_group("faults")
    f.add_argument("--crash-after", type=int, default=0, metavar="N", help="die while the N-th program runs")
    f.add_argument("--crash-kind", choices=["agent", "exeunit", "reported", "daemon"], default="agent",
                   help="who dies: the whole agent; the exe-unit without a word; the exe-unit, and the agent reports it; "
                        "the provider's daemon, and the agent with it")
    f.add_argument("--crash-delay", type=float, default=0.05, metavar="S", help="how long the program has run by then")
    f.add_argument("--corrupt-output", type=int, nargs="?", const=1 << 30, default=0, metavar="N",
                   help="flip bytes in the first N files sent to the requestor; without N in all")
    f.add_argument("--slow", type=float, default=1.0, metavar="FACTOR", help="programs take that many times longer")
    f.add_argument("--at-least", type=float, default=0.0, metavar="S",
                   help="programs take S seconds at least: slow however fast this computer is")
    f.add_argument("--reject-agreement", action="store_true")
    f.add_argument("--never-start", action="store_true", help="approve the agreement, never create the activity")
    f.add_argument("--start-delay", type=float, default=0.0, metavar="S",
                   help="an activity runs, and costs, S seconds before it says so")
    f.add_argument("--hang-run", type=int, nargs="?", const=1, default=0, metavar="N",
                   help="programs from the N-th on never end")
    f.add_argument("--overbill", type=float, default=1.0, metavar="FACTOR")
    f.add_argument("--no-invoice", action="store_true", help="never send one")
    f.add_argument("--invoice-amount", default="", metavar="TEXT", help="what every invoice asks for, whatever was done")
    f.add_argument("--note-every", type=int, default=0, metavar="S",
                   help="insist on a debit note every S seconds, whatever the demand asks")
    f.add_argument("--cut-stdout", type=float, default=1.0, metavar="SHARE",
                   help="only this share of what a program prints gets home")
    f.add_argument("--stdout-lines", type=int, default=0, metavar="N", help="N empty lines before what a program prints")
    f.add_argument("--tell-twice", action="store_true", help="every result of a batch is told twice")
    f.add_argument("--refuse", metavar="SENTENCE", default="",
                   help="programs are not run: they end with 65 and a report that refuses the data, `_` for a space")
    f.add_argument("--output-size", metavar="SIZE", default="", help="the output volume holds no more, say 64k")
    f.add_argument("--tamper", metavar="KIND", default="",
                   help="deltas with right digests and wrong values: scaled:FACTOR, zero, huge, random, copied (from the "
                        "newest that another agent made), replayed (the first it made), less (trained on one example less). "
                        "Or predictions: rows:SHARE (the outputs of so many rows turned round)")
    f.add_argument("--tamper-from", type=int, default=1, metavar="N", help="honest up to the N-th program")


class Faults:
    def __init__(self, a):
        self.crash_after, self.crash_kind, self.crash_delay = a.crash_after, a.crash_kind, a.crash_delay
        self.slow, self.hang_run, self.corrupt_left = a.slow, a.hang_run, a.corrupt_output
        self.at_least, self.start_delay, self.runs = a.at_least, a.start_delay, 0
        self.cut_stdout, self.stdout_lines, self.tell_twice = a.cut_stdout, a.stdout_lines, a.tell_twice
        self.refuse, self.output_size = a.refuse.replace("_", " "), a.output_size
        self.tamper, self.tamper_from = a.tamper, a.tamper_from

    def next_run(self):
        self.runs += 1
        return self.runs

    def printed(self, text):
        """What gets home of a program's stdout."""
        text = (text or "")[:int(len(text or "") * self.cut_stdout)]
        return "\n" * self.stdout_lines + text or None

    def corrupted(self, data):
        """`data`, or, while files are to be damaged, `data` with 16 bytes or so turned round."""
        if not self.corrupt_left or not data:
            return data
        self.corrupt_left -= 1
        damaged = bytearray(data)
        for k in range(0, len(damaged), max(1, len(damaged) // 16)):
            damaged[k] ^= 0xFF
        return bytes(damaged)
