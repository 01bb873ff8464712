"""The one thing in an MP4 file that PyAV cannot write in all supported versions: the rotation flag."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_ONE = 1 << 16


def boxes(stream: BinaryIO, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Walk the boxes of an ISO base media file (ISO/IEC 14496-12, 4.2).

    Args:
        stream: The file.
        start: Position of the first box.
        stop: End of the last one.

    Yields:
        (type, start of the content, end of the box); stops at a box that is not whole or not sensible.
    """
    position = start
    while position + 8 <= stop:
        stream.seek(position)
        header = stream.read(16)
        length, kind = struct.unpack(">I4s", header[:8])
        content = position + 8
        if length == 1 and len(header) == 16:
            length = struct.unpack(">Q", header[8:])[0]
            content += 8
        elif length == 0:
            length = stop - position
        if position + length > stop or position + length < content:
            return
        yield kind, content, position + length
        position += length


def set_display_matrix(path: Path, rotation: int, *, mirrored: bool = False) -> None:
    """Write the rotation flag of an MP4 file's video track in place (the matrix in ``tkhd``, ISO/IEC 14496-12, 8.3.2).

    Args:
        path: An MP4 file.
        rotation: Degrees clockwise (0, 90, 180, 270) by which players shall turn the frames.
        mirrored: Whether they shall flip them left-right before.
    """
    if rotation == 0 and not mirrored:
        return
    sine, cosine = {0: (0, 1), 90: (1, 0), 180: (0, -1), 270: (-1, 0)}[rotation]
    a, b, c, d = cosine, sine, -sine, cosine
    if mirrored:
        a, b = -a, -b
    # The picture's corner must come back to the origin: x and y undo the negative coordinates that the turn makes.
    with path.open("r+b") as stream:
        size = path.stat().st_size
        for kind, start, stop in boxes(stream, 0, size):
            if kind != b"moov":
                continue
            for inner, track, end in boxes(stream, start, stop):
                if inner != b"trak" or not _is_video(stream, track, end):
                    continue
                for leaf, _, leaf_end in boxes(stream, track, end):
                    if leaf == b"tkhd":
                        stream.seek(leaf_end - 8)
                        width, height = struct.unpack(">II", stream.read(8))
                        x = max(0, -a) * width + max(0, -c) * height
                        y = max(0, -b) * width + max(0, -d) * height
                        stream.seek(leaf_end - 44)
                        stream.write(
                            struct.pack(">9i", a * _ONE, b * _ONE, 0, c * _ONE, d * _ONE, 0, x, y, 1 << 30)
                        )
                        return
    raise RuntimeError(f"{path} has no video track to carry the rotation flag.")


def _is_video(stream: BinaryIO, start: int, stop: int) -> bool:
    for kind, content, end in boxes(stream, start, stop):
        if kind == b"mdia":
            for inner, handler, _ in boxes(stream, content, end):
                if inner == b"hdlr":
                    stream.seek(handler + 8)
                    return stream.read(4) == b"vide"
    return False
