#!/usr/bin/env python3
"""README.md keeps its word: every shell block in it is run, here or by the test it names.

A block ```sh follows one of two comments:

    <!-- run -->                    it is run here, in a copy of the tree's tracked files with the built programs
    <!-- covered by PATH -->        PATH is in the tree and runs each of the block's commands (they stand in it)

Blocks of one README share a folder and a shell environment and run in their order, as a reader would type them.
"""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRATCH = pathlib.Path(os.environ["DEML_TEST_SCRATCH"])
BLOCK = re.compile(r"^(?P<before>[^\n]*)\n```sh\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(readme):
    text = readme.read_text()
    found = list(BLOCK.finditer(text))
    if len(found) != text.count("\n```sh\n"):
        sys.exit(f"readme: {readme.name}: a shell block could not be read")
    return [(text[: match.start("text")].count("\n") + 1, match["before"], match["text"]) for match in found]


def tree():
    """A folder with the tracked files and the built programs, where commands may leave what they like."""
    folder = SCRATCH / "tree"
    folder.mkdir()
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "--null", "-T", "-", "-cf", SCRATCH / "tree.tar"], cwd=ROOT, input=names, check=True)
    subprocess.run(["tar", "-xf", SCRATCH / "tree.tar", "-C", folder], check=True)
    (folder / ".build").symlink_to(ROOT / ".build")
    return folder


def covered(path, text):
    """What of `text` the test at `path` does not run."""
    file = ROOT / path
    if not file.exists():
        return [f"there is no {path}"]
    script = " ".join(file.read_text().replace("\\\n", " ").split())
    commands = [" ".join(line.split()) for line in text.replace("\\\n", " ").splitlines()]
    return [f"{path} does not run: {line}" for line in commands if line and line[0] != "#" and line not in script]


def main():
    passed, problems = 0, []
    for name in ["README.md", *sys.argv[1:]]:
        readme = ROOT / name
        folder, script = None, ["set -eu"]
        for line, before, text in blocks(readme):
            cover = re.fullmatch(r"<!-- covered by (\S+) -->", before.strip())
            if cover:
                missing = covered(cover[1], text)
                problems += [f"{name}:{line}: {problem}" for problem in missing]
                passed += not missing
            elif before.strip() == "<!-- run -->":
                # The position is printed first: when the shell stops, the last one names the block.
                script += [f"echo 'readme: {name}:{line}'", text]
                passed += 1
            else:
                problems.append(f"{name}:{line}: neither run here nor covered by a test (say which, above the block)")
        if len(script) > 1:
            folder = tree()
            environment = dict(os.environ)
            environment["PATH"] = f"{pathlib.Path(os.environ['DEML_TEST_PYTHON']).parent}:{environment['PATH']}"
            result = subprocess.run(
                ["sh"], cwd=folder, env=environment, input="\n".join(script), text=True, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, timeout=900)
            if result.returncode:
                problems.append(f"{name}: a command ended with {result.returncode}; the end of its output:\n"
                                + "\n".join(result.stdout.splitlines()[-25:]))
    for problem in problems:
        print(f"readme: {problem}", file=sys.stderr)
    print(f"{passed} passed, {len(problems)} failed")
    sys.exit(bool(problems))


main()
