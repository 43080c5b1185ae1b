#!/usr/bin/env python3
"""What the pages say is true.

  check_pages.py ROOT links             links lead to files and headings that exist; docs/README.md reaches every page
  check_pages.py ROOT run BIN PAGE...   every block of code of these pages, by its mark

Every ```sh, cpp, cmake or python block needs a mark on the line before it, which readers do not see:

  <!-- test: run -->                       runs as it stands: in an empty folder that looks like the repository after a
                                           release build, after the page's earlier blocks
  <!-- test: run; OLD => NEW; exit 0 9 --> likewise with replacements, or with other exit codes to be expected
  <!-- test: same as FILE -->              stands in FILE, line by line, which another test compiles or runs
  <!-- test: run by FILE -->               these commands are what the test FILE runs
  <!-- test: not here: REASON -->          cannot run everywhere: GPU, root, network, hours, cluster, packages,
                                           whole build, and why

SMALL in a replacement stands for flags that make a training last two steps. <!-- test setup: COMMAND --> runs a command
that readers do not see.

/data/flowers, /data/imagenet, /data/cifar-10-batches-bin and /data/photos are small sets made here. In every sh block,
and in code within a sentence, each command of ours has to exist, and each of its flags to stand in its --help; a flag
that stands alone has to be one of any command or script of ours, and the path of a file of ours has to exist.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from pages import CHECKED, Wrong, parse_mark, read_page

FOLDERS_OF_OURS = ("tools", "tests", "bench")
FOLDERS = FOLDERS_OF_OURS + ("engine", "kernels", "models", "docs", "cmake")
TIMEOUT = 100


def all_pages(root):
    found = [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("kernels/**/*.md"), *root.glob("bench/**/*.md")]
    return sorted(page for page in found if "build" not in page.relative_to(root).parts)


def check_links(root):
    wrong, anchors, linked = [], {}, set()
    for path in all_pages(root):
        anchors[path.resolve()] = read_page(path)
    for path, page in anchors.items():
        for line, target in page.links:
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            file = (path.parent / name).resolve() if name else path
            where = f"{path.relative_to(root)}:{line}"
            if not file.exists():
                wrong.append(f"{where}: the link to {target} leads nowhere")
            elif anchor and file in anchors and anchor not in anchors[file].anchors:
                wrong.append(f"{where}: {name or 'this page'} has no heading #{anchor}")
            elif path == root / "docs" / "README.md":
                linked.add(file)
    for path in anchors:
        if path.parent == root / "docs" and path.name != "README.md" and path not in linked:
            wrong.append(f"docs/README.md: it does not mention {path.name}")
    return wrong


def commands(text):
    """The commands of a shell block: lines joined at backslashes, without comments."""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # an open quote: a here-document or a string over several lines
            continue
        if words:
            yield words


class Runner:
    def __init__(self, root, bin_folder, scratch):
        self.root, self.bin, self.scratch = root, bin_folder, Path(scratch)
        self.helps, self.data, self.known = {}, self.scratch / "data", ""
        make_data(root, self.data)

    def workplace(self, page):
        """A folder that looks like the repository after a release build."""
        place = self.scratch / page.replace("/", "_")
        (place / "build" / "release").mkdir(parents=True)
        (place / "build" / "release" / "bin").symlink_to(self.bin)
        for entry in self.root.iterdir():
            if entry.name not in ("build", "runs", ".git"):
                (place / entry.name).symlink_to(entry)
        return place

    def check_page(self, name):
        page, wrong, ran = read_page(self.root / name), [], 0
        place = self.workplace(name)
        for block in page.blocks:
            where = f"{name}:{block.line}"
            if block.language not in CHECKED:
                continue
            if not block.mark:
                wrong.append(f"{where}: the {block.language} block has no mark <!-- test: ... -->; "
                             "tests/docs/check_pages.py lists them")
                continue
            try:
                mark = parse_mark(block.mark)
                if block.language in ("sh", "bash"):
                    self.check_flags(block.text)
                if mark.kind == "same":
                    self.check_same(block.text, mark.argument)
                elif mark.kind == "elsewhere":
                    self.check_elsewhere(block.text, block.language, mark.argument)
                elif mark.kind == "run":
                    self.run(block, mark, place)
                    ran += 1
            except Wrong as error:
                wrong.append(f"{where}: {error}")
        for line, span in page.spans if name != "CHANGELOG.md" else ():  # what once was stays there
            try:
                self.check_span(span)
            except Wrong as error:
                wrong.append(f"{name}:{line}: {error}")
        print(f"{name}: {len(page.blocks)} blocks, {ran} ran")
        return wrong

    def check_same(self, text, name):
        file = self.root / name
        if not file.exists():
            raise Wrong(f"there is no {name}")
        if text not in file.read_text(encoding="utf-8"):
            raise Wrong(f"the block does not stand in {name} line by line; one of the two was changed")

    def check_elsewhere(self, text, language, name):
        file = self.root / name
        if not file.exists():
            raise Wrong(f"there is no {name}")
        source = file.read_text(encoding="utf-8")
        for words in commands(text) if language == "sh" else ():
            program = next(word for word in words if "=" not in word)
            if Path(program).name not in source:
                raise Wrong(f"{name} does not mention '{program}'")

    def program(self, word):
        """The file of a command of ours, or None."""
        if word.startswith("build/release/bin/"):
            return self.bin / word.removeprefix("build/release/bin/")
        if word.startswith("resnet-"):
            return self.bin / word
        if word.split("/")[0] in FOLDERS_OF_OURS and "/" in word:
            return self.root / word
        return None

    def help(self, program):
        if program not in self.helps:
            done = subprocess.run([program, "--help"], capture_output=True, text=True)
            self.helps[program] = done.stdout + done.stderr
        return self.helps[program]

    def check_flags(self, text):
        for words in commands(text):
            for index, word in enumerate(words):
                program = self.program(word)
                # A command of ours may stand behind a launcher; a script is looked for at the beginning only.
                if program is None or (program.parent != self.bin and not all("=" in other for other in words[:index])):
                    continue
                if not os.access(program, os.X_OK):
                    raise Wrong(f"'{word}' does not exist")
                if program.parent != self.bin:
                    break
                for flag in words[index + 1:]:
                    if flag in ("|", ">", "&&", "||", ";", "--"):
                        break
                    flag = flag.partition("=")[0]
                    if re.match(r"--?[a-z]", flag) and \
                            not re.search(rf"(^|[ ,]){re.escape(flag)}([ ,=\[]|$)", self.help(program), re.M):
                        raise Wrong(f"'{word}' has no flag {flag}")
                break

    def check_span(self, span):
        if flag := re.match(r"--[a-z][\w-]*", span):
            if not self.known:
                folders = [self.root / folder for folder in FOLDERS_OF_OURS]
                scripts = [file for folder in folders for file in folder.rglob("*")
                           if file.suffix in (".py", ".sh", "") and file.is_file() and "results" not in file.parts]
                self.known = "\n".join([self.help(program) for program in self.bin.glob("resnet-*")] +
                                       [file.read_text(encoding="utf-8", errors="ignore") for file in scripts])
            if not re.search(rf"{flag[0]}(?![\w-])", self.known):
                raise Wrong(f"no command and no script of ours has the flag {flag[0]}")
        elif " " in span and "..." not in span:
            self.check_flags(span)
        elif re.match(rf"({'|'.join(FOLDERS)})/[\w./*-]+$", span) and not re.search("[A-Z]{4}", span):
            if not any(self.root.glob(span.rstrip("/"))) and not any(self.root.glob(span + ".*")):
                raise Wrong(f"there is no file {span}")

    def run(self, block, mark, place):
        text = block.text
        for old, new in mark.replacements:
            if old not in text:
                raise Wrong(f"the mark replaces '{old}', which does not stand in the block")
            text = text.replace(old, new)
        text = text.replace("/data/", f"{self.data}/")
        command = {"sh": ["bash", "-euo", "pipefail", "-c", text], "bash": ["bash", "-euo", "pipefail", "-c", text],
                   "python": [sys.executable, "-c", text]}.get(block.language)
        if command is None:
            raise Wrong(f"a {block.language} block cannot be run; let it be the same as a file that a test compiles")
        environment = os.environ | {"PATH": f"{self.bin}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1", "NO_COLOR": "1",
                                    "XDG_CACHE_HOME": str(self.scratch / "cache")}
        try:
            done = subprocess.run(command, cwd=place, env=environment, stdin=subprocess.DEVNULL, timeout=TIMEOUT,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        except subprocess.TimeoutExpired:
            raise Wrong(f"it did not end within {TIMEOUT} s") from None
        if done.returncode not in mark.exit_codes:
            tail = "\n    ".join(done.stdout.splitlines()[-8:])
            raise Wrong(f"it ended with exit code {done.returncode}, expected {mark.exit_codes}:\n    {tail}")


def make_data(root, folder):
    """Photographs in class folders, and CIFAR-10 in its binary files, as small as they may be."""
    golden = root / "tests" / "data" / "golden"
    pictures = [golden / name for name in ("420.jpg", "422.jpg", "444_progressive.jpg", "cmyk.jpg")]
    for name, copies in (("flowers", 4), ("imagenet", 12)):
        for part in ("train", "val"):
            for number, kind in enumerate(("daisy", "rose", "tulip")):
                place = folder / name / part / kind
                place.mkdir(parents=True)
                for copy in range(copies):
                    (place / f"{copy}.jpg").symlink_to(pictures[(copy + number) % len(pictures)])
    (folder / "photos").mkdir()
    for number, picture in enumerate(pictures):
        (folder / "photos" / f"{number}.jpg").symlink_to(picture)
    cifar = folder / "cifar-10-batches-bin"
    cifar.mkdir()
    kinds = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    (cifar / "batches.meta.txt").write_text("".join(f"{kind}\n" for kind in kinds))
    for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
        records = b"".join(bytes([i % 10]) + bytes((i * 7 + j) % 256 for j in range(3072)) for i in range(20))
        (cifar / name).write_bytes(records)


def main(arguments):
    root = Path(arguments[0]).resolve()
    if arguments[1:] == ["links"]:
        wrong = check_links(root)
    elif len(arguments) > 3 and arguments[1] == "run":
        with tempfile.TemporaryDirectory() as scratch:
            runner = Runner(root, Path(arguments[2]).resolve(), scratch)
            wrong = [line for name in arguments[3:] for line in runner.check_page(name)]
    else:
        print(__doc__)
        return 2
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
