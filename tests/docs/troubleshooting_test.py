"""docs/troubleshooting.md has every problem that --doctor can print, and no other: by its source, and by running it.

troubleshooting_test.py ROOT [BIN]
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(sys.argv[1]).resolve()
PAGE = "docs/troubleshooting.md"
SOURCES = ("engine/train/doctor.cpp", "engine/cuda/load.cpp")
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')


def flat(text):
    return re.sub(r"\s+", " ", text)


def sentences(name):
    """What a source says of problems: its string literals of several words, neighbours joined."""
    source = re.sub(r'(?<!\\)"\s*"', "", re.sub(r"^\s*//.*$", "", (ROOT / name).read_text(), flags=re.M))
    if name.endswith("doctor.cpp"):  # of a problem, the remedy: what stands behind name and value
        calls = re.findall(r'report\.problem\(("\w+", .*?)\);', source, re.S)
        found = [[text for text in LITERAL.findall(call)][1:] for call in calls]
        literals = [text for call in found for text in call
                    if len(text.split()) > 3 and "cannot be written" not in text]
    else:
        literals = [text for text in LITERAL.findall(source) if len(text.split()) > 5]
    return [flat(text.replace('\\"', '"')) for text in literals]


def pieces(sentence):
    """The parts between values."""
    return [part.strip(' ();,"') for part in re.split(r"\{[^}]*\}|…", sentence) if len(part.split()) > 2]


def main():
    wrong = []
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    section = page.split("## What `--doctor` prints")[1].split("\n## ")[0]
    shown = flat(section)
    sources = re.sub(r'(?<!\\)"\s*"', "", "".join((ROOT / name).read_text() for name in SOURCES))
    said = flat("…".join(LITERAL.findall(sources)))
    for name in SOURCES:
        found = sentences(name)
        if len(found) < 5:
            wrong.append(f"{name}: only {len(found)} messages were found in it; this test cannot read it any more")
        for text in found:
            wrong += [f"{PAGE}: the message of {name} is missing: {part}" for part in pieces(text) if part not in shown]
    for row in re.findall(r"^\| (`.*?) \|", section, re.M):
        for message in re.findall(r"`([^`]*)`", row):
            wrong += [f"{PAGE}: --doctor does not say: {part}" for part in pieces(message) if part not in said]
    headings = set(re.findall(r"[\w]+", " ".join(re.findall(r"^### (.*)", section, re.M))))
    for name in re.findall(r'report\.problem\("(\w+)"', (ROOT / SOURCES[0]).read_text()):
        if name not in headings:
            wrong.append(f"{PAGE}: no section for the problem '{name}'")

    if len(sys.argv) > 2:
        program = Path(sys.argv[2]).resolve() / "resnet-train"
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "file"
            file.touch()
            everything_wrong = {"OMP_NUM_THREADS": "64", "XDG_CACHE_HOME": str(file)}
            for environment, expected in ((everything_wrong, ("threads", "cache")), ({"HOME": ""}, ("cache",))):
                clean = {key: value for key, value in os.environ.items() if key not in ("XDG_CACHE_HOME", "HOME")}
                out = subprocess.run([program, "--doctor"], cwd=folder, env=clean | environment, capture_output=True,
                                     text=True).stdout
                marked = re.findall(r"^(\w+) .*\(!\)$", out, re.M)
                for name in expected:
                    if name not in marked:
                        wrong.append(f"--doctor sees nothing wrong with {name} in {environment}:\n{out}")
                for remedy in re.findall(r"^\(!\) (.*)", out, re.M):
                    words = re.sub(r"\(.*", "", re.sub(r"\d+", "…", remedy)).strip()
                    if words not in re.sub(r"\d+", "…", shown):
                        wrong.append(f"{PAGE}: it does not have what --doctor prints: {words}")
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
