"""Work on a picture that never ends or fills the memory, for tests of the limits; worker processes import it."""

from __future__ import annotations

import time


def sleep_long(upload: object) -> None:
    """Take longer than any picture may."""
    time.sleep(60)


def fill_memory(upload: object) -> None:
    """Hold more memory than any picture may."""
    held = bytearray(600 << 20)
    time.sleep(60)
    del held
