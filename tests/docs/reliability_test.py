"""The tests that docs/reliability.md names exist: reliability_test.py ROOT"""

import re
import sys
from pathlib import Path

ROOT = Path(sys.argv[1]).resolve()
PAGE = ROOT / "docs" / "reliability.md"

defined = {}  # suite -> names
for source in ROOT.glob("tests/**/*.cpp"):
    for suite, name in re.findall(r"^TEST(?:_[FP])?\((\w+),\s*(\w+)\)", source.read_text(encoding="utf-8"), re.M):
        defined.setdefault(suite, set()).add(name)
prefixed = "\n".join(path.read_text() for path in ROOT.glob("tests/**/CMakeLists.txt"))

wrong, found = [], 0
table = PAGE.read_text(encoding="utf-8").split("## Faults, behaviour, tests")[1].split("\n## ")[0]
for row in re.findall(r"^\| .* \| .* \| (.*) \|$", table, re.M):
    for test in re.findall(r"`([^`]+)`", row):
        found += 1
        suite, dot, name = test.split("/")[-1].partition(".")
        start = re.sub(r"(\*|\.\.\.)$", "", name)
        if f"NAME {test}" in prefixed:
            continue
        if not dot:
            wrong.append(f"{PAGE.name}: there is no test '{test}'")
        elif not any(other.startswith(start) if start != name else other == name for other in defined.get(suite, ())):
            wrong.append(f"{PAGE.name}: there is no test '{test}'")
if found < 50:
    wrong.append(f"{PAGE.name}: only {found} tests were found in its table; this script no longer reads it")
print("\n".join(wrong))
sys.exit(1 if wrong else 0)
