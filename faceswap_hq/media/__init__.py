"""Video in and out: frames with timestamps, audio kept, damage counted.

* :func:`probe` says what a file is, or why it cannot be used.
* :func:`read_frames` decodes in a background thread, frame by frame, upright RGB.
* :class:`VideoWriter` encodes in a background thread and keeps what a viewer would miss: size, timestamps, rotation
  flag, color tags and sound.
"""

from faceswap_hq.media.color import ColorTags
from faceswap_hq.media.decoding import Damage, Frame
from faceswap_hq.media.probing import VideoInfo, probe
from faceswap_hq.media.reading import read_frames
from faceswap_hq.media.writing import VideoWriter

__all__ = ["ColorTags", "Damage", "Frame", "VideoInfo", "VideoWriter", "probe", "read_frames"]
