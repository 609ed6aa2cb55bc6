"""Commands that texts suggest, completed with the options that name the root, so that they work when they are pasted.

Errors, status lines and pages name commands in backticks or in `<code>`. Whoever writes such a text knows what is to be
done, and not how the reader named the root; what shows the text does:

    with_root("train it (`lampworks run`)", " --root 'my root'")    # train it (`lampworks run --root 'my root'`)
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO, cast

from assets.settings import Settings
from pipeline.storage.home import home_of

WITHOUT_ROOT = frozenset({
    "arcade", "episodes", "tabletop", "shards", "study", "study scaling", "study tokenizers", "study lam-input",
    "study injection", "study decoding", "study coinrun", "study read-actions",
})  # fmt: skip
"""Commands, and groups of commands, that take no root."""
_GROUPS = frozenset({"shards", "study"})
_COMMAND = re.compile(r"(?<=`)lampworks [a-z][^`]*(?=`)|(?<=<code>)lampworks [a-z][^<]*(?=</code>)")
_PLACEHOLDER = re.compile(r" --root (?:DIR|ROOT)\b")
# `play` of a packed world; one that names its root
_STAYS = re.compile(r"play [^-]|.*--(?:root|help)\b", re.DOTALL)


def root_option(root: str) -> str:
    """Return ` --root ROOT`, quoted for a shell."""
    return f" --root {shlex.quote(root)}"


def options_of(settings: Settings) -> str:
    """Return the options by which a command finds these settings: the root, and the home where it is another folder."""
    store, folder = settings.store, settings.home.folder
    own = home_of(store, None).folder
    return root_option(store.root) + ("" if folder == own else f" --home {shlex.quote(str(folder))}")


def with_root(text: str, options: str) -> str:
    """Return a text whose commands name the root.

    Args:
        text: commands are in backticks or in `<code>`; those that take no root, or name one, stay as they are.
        options: what is added to each, as ` --root DIR` (a placeholder `--root DIR` gives way); escaped for HTML where
            the text is HTML. "" changes nothing.
    """
    return _COMMAND.sub(lambda found: _completed(found[0], options), text) if options else text


def _completed(command: str, options: str) -> str:
    words = _PLACEHOLDER.sub("", command).removeprefix("lampworks ")
    first, _, rest = words.partition(" ")
    names = {first, f"{first} {rest.partition(' ')[0]}"} if first in _GROUPS else {first}
    return command if _STAYS.match(words) or names <= WITHOUT_ROOT else f"lampworks {words}{options}"


@contextmanager
def completed_output(options: str) -> Iterator[None]:
    """Complete the commands in all that is written to stdout and stderr in the block."""
    if not options:
        yield
        return
    out, err = _Completing(sys.stdout, options), _Completing(sys.stderr, options)
    with redirect_stdout(cast(TextIO, out)), redirect_stderr(cast(TextIO, err)):
        yield


class _Completing:
    """A stream of text whose commands name the root."""

    def __init__(self, stream: TextIO, options: str) -> None:
        self._stream, self._options = stream, options

    def write(self, text: str) -> int:
        """Write a text, which holds its commands whole."""
        self._stream.write(with_root(text, self._options))
        return len(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)
