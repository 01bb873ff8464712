"""From a folder of clips to a report: do detectors that know crude face swaps find good ones, and after fine-tuning?

    python examples/reproduce_paper/reproduce.py CAST_DIR -o OUT
    python examples/reproduce_paper/reproduce.py actors -o OUT      (virtual actors instead of footage)

README.md beside this file says what is done and what it costs.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from reproduce_paper.command import main

    sys.exit(main())
