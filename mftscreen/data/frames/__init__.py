"""Frames of a force field that stay where they are, and are read one by one by number.

For sets that do not fit into memory. What is held does not grow with the number of
frames, but at most with the number of files.
"""

from mftscreen.data.frames.frames import Frames
from mftscreen.data.frames.order import permuted

__all__ = ["Frames", "permuted"]
