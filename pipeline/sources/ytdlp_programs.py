"""The programs that yt-dlp may start: JavaScript runtimes, which get a script of YouTube's player and no network.

ffmpeg, curl, rtmpdump or PhantomJS would open connections of their own, to addresses that nobody checked, and would
get cookies on their command lines, where every user of the machine can read them.
"""

from __future__ import annotations

import os
from typing import Any

from yt_dlp.postprocessor import FFmpegPostProcessor
from yt_dlp.utils import Popen

from pipeline.errors import PermanentError
from pipeline.outside import clean_text

NO_FFMPEG = "/dev/null/ffmpeg"
"""A path that cannot exist."""
_RUNTIMES = frozenset({"deno", "node", "nodejs", "bun", "qjs", "quickjs", "qjs-ng"})


def needs_program(what: str) -> PermanentError:
    """Return the error of something that takes a program besides these.

    Args:
        what: begins the message, as `a stream of rtmp`.
    """
    return PermanentError(
        f"{clean_text(what, 60)} needs ffmpeg or another program to fetch it; none is used, because it would open "
        "connections that are not checked, with cookies on its command line",
        error_class="permanent",
    )


def refuse_other_programs() -> None:
    """Let yt-dlp start no other program in this process, where all of its children are made by one class."""
    # some of its parts look for ffmpeg without a client's options, in each thread for itself
    FFmpegPostProcessor._ffmpeg_location.set(NO_FFMPEG)
    start = Popen.__init__
    if getattr(start, "refuses", False):
        return

    def checked(self: Any, args: Any, *more: Any, **named: Any) -> None:
        program = os.path.basename(str(args if isinstance(args, str) else next(iter(args), "")))
        if program.removesuffix(".exe") not in _RUNTIMES:
            raise needs_program(f"a page that {program} would read")
        start(self, args, *more, **named)

    checked.refuses = True  # type: ignore[attr-defined]
    Popen.__init__ = checked
