"""Reads the project's Markdown pages: fenced blocks with their marks, headings, links."""

import re
from dataclasses import dataclass, field
from pathlib import Path

CHECKED = ("sh", "bash", "console", "cpp", "c++", "cmake", "python", "cuda")
REASONS = ("GPU", "root", "network", "hours", "cluster", "packages", "whole build")
# Two steps on small pictures.
SMALL = ("--max-steps 2 -b 4 --crop rrc --train-crop-size 32 --val-resize-size 32 --val-crop-size 32 --limit-val 4 "
         "--workers 1")

MARK = re.compile(r"<!-- test(?P<setup> setup)?: (?P<text>.*?) -->$")
FENCE = re.compile(r"^(\s*)(`{3,}|~{3,})\s*([\w+-]*)")


@dataclass
class Block:
    line: int  # of the fence, from 1
    language: str
    text: str
    mark: str = ""


@dataclass
class Page:
    path: Path
    blocks: list = field(default_factory=list)
    anchors: set = field(default_factory=set)
    links: list = field(default_factory=list)  # (line, target)
    spans: list = field(default_factory=list)  # (line, code within a sentence)


@dataclass
class Mark:
    kind: str  # run, same, elsewhere, not
    argument: str = ""  # a file, or the reason
    replacements: tuple = ()
    exit_codes: tuple = (0,)


class Wrong(Exception):
    pass


def parse_mark(text):
    """The forms that a mark may have; tests/docs/check_pages.py lists them."""
    if text.startswith("same as "):
        return Mark("same", text.removeprefix("same as "))
    if text.startswith("run by "):
        return Mark("elsewhere", text.removeprefix("run by "))
    if text.startswith("not here: "):
        reason = text.removeprefix("not here: ")
        if not reason.startswith(REASONS):
            raise Wrong(f"'{reason}' is no reason not to run a block; one begins with {', '.join(REASONS)}")
        return Mark("not", reason)
    first, *items = [item.strip() for item in text.split(";")]
    if first != "run":
        raise Wrong(f"the mark '{text}' is none of: run, same as FILE, run by FILE, not here: REASON")
    replacements, exit_codes = [], (0,)
    for item in items:
        if item.startswith("exit "):
            exit_codes = tuple(int(code) for code in item.split()[1:])
        elif " => " in item:
            old, new = item.split(" => ", 1)
            replacements.append((old, new.replace("SMALL", SMALL)))
        else:
            raise Wrong(f"'{item}' in a mark is neither 'exit CODE...' nor 'OLD => NEW'")
    return Mark("run", "", tuple(replacements), exit_codes)


def slug(heading, seen):
    """The anchor that GitHub gives a heading."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    text = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
    count = seen.get(text, 0)
    seen[text] = count + 1
    return f"{text}-{count}" if count else text


def read_page(path):
    page, seen = Page(path), {}
    lines = path.read_text(encoding="utf-8").splitlines()
    mark, index = "", 0
    while index < len(lines):
        line = lines[index]
        fence = FENCE.match(line)
        if fence:
            indent, ticks, language = fence.groups()
            begin = index
            index += 1
            body = []
            while index < len(lines) and not lines[index].strip().startswith(ticks):
                body.append(lines[index].removeprefix(indent))
                index += 1
            page.blocks.append(Block(begin + 1, language, "\n".join(body) + "\n", mark))
            mark = ""
        elif found := MARK.match(line.strip()):
            if found["setup"]:
                page.blocks.append(Block(index + 1, "sh", found["text"].replace("SMALL", SMALL) + "\n", "run"))
            else:
                mark = found["text"]
        elif line.strip():
            mark = ""
            if heading := re.match(r"#{1,6} +(.*)", line):
                page.anchors.add(slug(heading.group(1), seen))
            page.anchors.update(re.findall(r'<a id="([^"]+)"', line))
            page.spans += [(index + 1, span) for span in re.findall(r"`([^`]+)`", line)]
            prose = re.sub(r"`[^`]*`", "", line)
            page.links += [(index + 1, target) for target in re.findall(r"\]\(([^)\s]+)\)", prose)]
        index += 1
    return page
