"""The Python environment that the peers run in."""

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


class MissingProgram(Exception):
    pass


def _works(python, packages):
    statement = "import " + ", ".join("PIL" if package == "pillow" else package for package in packages)
    return subprocess.run([str(python), "-c", statement], capture_output=True, check=False).returncode == 0


def _reachable(url):
    try:
        with urllib.request.urlopen(url + "/torch/", timeout=10):
            return True
    except OSError:
        return False


def python_with(packages):
    """A Python that imports `packages`: of the folder ENGINE_PEERS_ENV, or of build/peers-env, made on first use.

    torch comes as PyTorch's CPU build when its index can be reached and has the newest version, else as PyPI's usual wheel,
    which is larger and also runs without a GPU.
    """
    folder = Path(os.environ.get("ENGINE_PEERS_ENV") or ROOT / "build" / "peers-env")
    python = folder / "bin" / "python"
    if python.exists() and _works(python, packages):
        return python
    if not python.exists():
        print(f"Making a Python environment in {folder}", file=sys.stderr)
        made = subprocess.run([sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise MissingProgram(f"python3 -m venv failed; on Debian and Ubuntu: apt-get install -y python3-venv\n{made.stdout}{made.stderr}")
    print(f"Installing {', '.join(packages)} with pip into {folder}", file=sys.stderr)
    index = ["--extra-index-url", CPU_INDEX] if _reachable(CPU_INDEX) else []
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--upgrade", *index, *packages], check=False)
    if not _works(python, packages):
        raise MissingProgram(f"pip could not install {' '.join(packages)} into {folder}; set ENGINE_PEERS_ENV to an environment that has them")
    return python
