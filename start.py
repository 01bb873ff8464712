#!/usr/bin/env python3
"""Set up and run, with Python alone: makes .venv, installs the toolkit into it, and starts the command asked for.

    python3 start.py demo       the whole loop on virtual actors
    python3 start.py test       the unit tests
    python3 start.py COMMAND    any command of faceswap-hq, e.g. `train --src A --dst B`; `stress-test ...` works too

Only the standard library is used here. FACESWAP_HQ_VENV names another place for the environment.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = Path(os.environ.get("FACESWAP_HQ_VENV", ROOT / ".venv"))
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
# MediaPipe brings the OpenCV build that needs a desktop's libGL; where there is none, the same release without windows:
OPENCV = "opencv-contrib-python"
HEADLESS = "opencv-contrib-python-headless==4.11.0.86"


def run(*command: str | Path, quiet: bool = False) -> int:
    """Run a command, never through a shell; returns its exit code."""
    return subprocess.call([str(part) for part in command], stdout=subprocess.DEVNULL if quiet else None)  # noqa: S603


def install(extra: str) -> None:
    """Make the environment, if it isn't there or pyproject.toml has changed since."""
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest() + extra
    stamp = VENV / f"installed{extra}.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    if not PYTHON.exists():
        print(f"making {VENV}", flush=True)
        venv.create(VENV, with_pip=True)
    print("installing faceswap-hq and what it needs (several GB with PyTorch, a few minutes)", flush=True)
    pip = (PYTHON, "-m", "pip", "--disable-pip-version-check")
    if run(*pip, "install", "--quiet", "--editable", f"{ROOT}{extra}"):
        sys.exit("The installation failed; pip's own message stands above. Run the same command again to go on.")
    if subprocess.call([str(PYTHON), "-c", "import cv2"], stderr=subprocess.DEVNULL):  # noqa: S603
        print("this machine has no libGL: taking OpenCV's build without windows", flush=True)
        run(*pip, "uninstall", "--quiet", "--yes", OPENCV)
        if run(*pip, "install", "--quiet", "--no-deps", HEADLESS):
            sys.exit(f"Installing {HEADLESS} failed; pip's own message stands above.")
    stamp.write_text(wanted)


def main() -> int:
    """Install what the command needs, then run it."""
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        found = ".".join(map(str, sys.version_info[:2]))
        sys.exit(f"Python 3.10, 3.11 or 3.12 is needed (this is {found}): start this file with one of them.")
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    if arguments[0] == "test":
        install("[test]")
        os.chdir(ROOT)
        workers = str(min(4, os.cpu_count() or 1))
        return run(PYTHON, "-m", "pytest", "-n", workers, "--dist", "loadfile", *arguments[1:])
    install("")
    if arguments[0] == "stress-test":
        return run(PYTHON, "-m", "stress", *arguments[1:])
    return run(PYTHON, "-m", "faceswap_hq", *arguments)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
