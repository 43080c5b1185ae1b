"""What machine, what revision, and how much the machine does besides the benchmark."""

import datetime
import os
import platform
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")


def git(*args):
    return subprocess.run(["git", "-C", str(ROOT), *args], capture_output=True, text=True, check=False).stdout.strip()


def describe():
    fields = {}
    with open("/proc/cpuinfo") as cpuinfo:
        for line in cpuinfo:
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    with open("/proc/meminfo") as meminfo:
        memory_kib = int(meminfo.readline().split()[1])
    flags = fields.get("flags", "").split()
    huge_pages = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "processor": fields.get("model name", platform.machine()),
        "family_model": f"{fields.get('cpu family', '?')}/{fields.get('model', '?')}",
        "processors": os.cpu_count(),
        "isa": [flag for flag in flags if flag in ("avx2", "fma") or flag.startswith(("avx512", "avx_", "amx"))],
        "virtual": "hypervisor" in flags,
        "memory_bytes": memory_kib * 1024,
        "huge_pages": huge_pages.read_text().strip() if huge_pages.exists() else "",
        "kernel": platform.release(),
        "commit": git("rev-parse", "HEAD"),
        # Results themselves do not make a tree dirty.
        "dirty": bool(git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results")),
    }


def processor_slug(machine):
    name = re.sub(r"\(R\)|\(TM\)|CPU|Processor|@.*", "", machine["processor"])
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "unknown"


def busy_seconds():
    """Processor seconds spent since boot: (in any process, stolen by the hypervisor)."""
    with open("/proc/stat") as stat:
        user, nice, system, _, _, irq, softirq, steal, *_ = [int(x) for x in stat.readline().split()[1:]]
    return (user + nice + system + irq + softirq) / TICKS, steal / TICKS


def process_seconds(pid):
    """Processor seconds that a process has spent, all its threads."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def new_file(folder, stem):
    """`stem`.json, or with a number if there was a run today already."""
    number, path = 1, folder / f"{stem}.json"
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}.json"
    return path
