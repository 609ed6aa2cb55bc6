"""Open and read the media files of strangers with PyAV; what PyAV raises on an odd one is one error of this program.

libav reports damage by its own errors, and PyAV raises almost any type of Python's beside them: AttributeError where no
decoder exists, IndexError where streams appear late. All of them are the file's fault, so they are caught in one place
and by no list of types. A lack of memory is not the file's fault alone: the engine decides (see `pipeline.workers`).

    with reading_media("invalid_media"), open_media(path) as container:
        stream = video_stream(container, "invalid_media")  # of pipeline.footage.stream
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av

from pipeline.errors import PermanentError, RetryableError
from pipeline.joined_flv import FileParts, inner_headers, without_headers

_DEMUXERS = "mov,mp4,matroska,webm,avi,flv,mpegts,mpeg,mpegvideo,ogg,asf,3gp,h264,hevc,ivf,m4v,dv,gxf,mxf,nut,gif,apng"
# by name and protocol, so that a playlist or a script named .mp4 cannot make libav open other files and addresses
_OPTIONS = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}
_OF_THE_MACHINE = {errno.EACCES, errno.EMFILE, errno.ENFILE, errno.ENOENT, errno.EISDIR, errno.ESTALE}
_LONGEST_TEXT = 200


def open_media(path: Path, start: int = 0) -> Any:
    """Return an open container (`av.container.InputContainer`), to be used inside `reading_media`.

    Args:
        path: the file.
        start: the byte at which it begins.
    """
    if start:
        part = FileParts(path, [start], [path.stat().st_size])
        return av.open(part, options=_OPTIONS, metadata_errors="replace")
    # tags of old tools are in any encoding, and nothing here reads them
    if headers := inner_headers(path):
        return av.open(without_headers(path, headers), options=_OPTIONS, metadata_errors="replace")
    return av.open(str(path), options=_OPTIONS, metadata_errors="replace")


@contextmanager
def reading_media(error_class: str, *, explain: Callable[[], str] = str) -> Iterator[None]:
    """Turn whatever PyAV raises on an odd file into a PermanentError.

    Args:
        error_class: of that error.
        explain: returns what the message begins with, where the bytes of the file say more than PyAV does.

    Raises:
        PermanentError: the file cannot be read.
        MemoryError: it needs more memory than there is.
        OSError: this machine cannot open it.
    """
    try:
        yield
    except (PermanentError, RetryableError, AssertionError):
        raise
    except av.error.FFmpegError as error:
        if isinstance(error, MemoryError):
            raise
        if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
            raise OSError(error.errno, error.strerror or type(error).__name__) from error
        what = error.strerror or type(error).__name__
        raise PermanentError(f"{explain()}libav cannot read it ({what})", error_class=error_class) from error
    except (MemoryError, OSError):
        raise
    except Exception as error:  # PyAV raises any type on odd files
        said = " ".join(str(error).split())[:_LONGEST_TEXT]
        text = f"{explain()}PyAV cannot read it ({type(error).__name__}: {said})"
        raise PermanentError(text, error_class=error_class) from error
