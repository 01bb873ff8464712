"""Swap a face with the packages as a library: extract two people, train for a few minutes, render one signed video.

python examples/swap.py A.mp4 B.mp4 swapped.mp4 --minutes 20
"""

from __future__ import annotations

import argparse
from pathlib import Path

from faceswap_hq.facesets import open_person
from faceswap_hq.fakes import open_swap, render_file
from faceswap_hq.render import RenderSettings
from faceswap_hq.training.loop import Budget, train
from faceswap_hq.training.settings import load_preset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="clip of the person whose face is put in")
    parser.add_argument("target", type=Path, help="clip of the person it is put onto")
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--model", type=Path, default=Path("models/example"))
    options = parser.parse_args()

    # One faceset a person; extraction is cached by the clip's content.
    facesets = [open_person(clip)[0] for clip in (options.source, options.target)]
    print({faceset.name: len(faceset.rows) for faceset in facesets})

    # One shared encoder, one decoder a person. Running again resumes.
    result = train(options.model, facesets, load_preset("fast"), Budget(minutes=options.minutes), say=print)
    print(f"{result.progress.step} steps, look at {result.preview}")

    # The first person's face onto the person in the video; signed, or there is no file.
    counts = render_file(options.target, open_swap(options.model, RenderSettings()), options.output)
    print(f"{counts.swapped} of {counts.frames} frames swapped: {options.output}")


if __name__ == "__main__":
    main()
