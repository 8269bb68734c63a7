#!/usr/bin/env python3
"""Does what a Dockerfile's steps say, as far as that goes without an engine, and compares the result with an image.

    dockerfile.py DOCKERFILE IMAGE

Every step must be one that is known here. The step that makes the root is run on this machine, into a folder of its
own; what it leaves and what the last stage declares must be what the image holds.
"""

import json
import pathlib
import shlex
import subprocess
import sys
import tempfile

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY / "provider-image"))
sys.dont_write_bytecode = True
import gvmi  # noqa: E402


def steps(text):
    """(instruction, rest) of each step, without comments, continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            instruction, _, rest = line.strip().partition(" ")
            yield instruction.upper(), " ".join(rest.split())


def tree(root):
    """{path: (mode, content)} of everything below a folder."""
    found = {}
    for path in root.rglob("*"):
        content = None if path.is_dir() else path.read_bytes()
        found[str(path.relative_to(root))] = (path.stat().st_mode & 0o7777, content)
    return found


def fail(text):
    sys.exit(f"dockerfile: {text}")


def main():
    dockerfile, image = map(pathlib.Path, sys.argv[1:])
    config = {"Cmd": None, "Env": [], "User": ""}
    stage, root, made = None, None, None
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for instruction, rest in steps(dockerfile.read_text()):
            words = shlex.split(rest)
            if instruction == "FROM":
                stage = words[-1]
            elif instruction == "RUN" and words[:2] == ["apt-get", "update"]:
                names = words[words.index("install") + 1 : words.index("rm") - 1]
                for name in (name for name in names if not name.startswith("-")):
                    if subprocess.run(["apt-cache", "show", name], capture_output=True, check=False).returncode != 0:
                        fail(f"apt does not know the package {name}")
            elif instruction == "RUN" and words[:2] == ["provider-image/build", "--root"] and len(words) == 3:
                root, made = words[2], folder / "made"
                subprocess.run([REPOSITORY / words[0], "--root", made], check=True)
            elif instruction == "COPY" and stage == "build" and words == [".", "."]:
                continue
            elif instruction == "COPY" and stage == "scratch" and words == ["--from=build", f"{root}/", "/"]:
                continue
            elif instruction == "WORKDIR" and stage == "build":
                continue
            elif instruction == "WORKDIR":
                config["WorkingDir"] = rest
            elif instruction == "VOLUME":
                config["Volumes"] = {path: {} for path in json.loads(rest)}
            elif instruction == "ENTRYPOINT":
                config["Entrypoint"] = json.loads(rest)
            else:
                fail(f"a step that this test does not know: {instruction} {rest}")
        squashfs, packed = gvmi.split(image.read_bytes())
        if config != packed:
            fail(f"it declares {config}, the image {packed}")
        (folder / "squashfs").write_bytes(squashfs)
        command = ["unsquashfs", "-quiet", "-no-progress", "-dest", folder / "held", folder / "squashfs"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        if made is None or tree(made) != tree(folder / "held"):
            fail("the root it makes is not what the image holds")
    print("dockerfile: its root and its settings are the image's")


if __name__ == "__main__":
    main()
