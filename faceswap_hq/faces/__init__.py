"""From a frame to an aligned face: landmarks, tracking, alignment, regions, pose."""
