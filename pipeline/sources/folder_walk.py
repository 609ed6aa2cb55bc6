"""Walk a folder of this machine for files, through links to folders too; every folder is entered once.

Real folders come first, then the folders that links lead to, in the order in which the links were met. So a file keeps
the path (and with it the id) that it has without links. A folder that was entered is known by its device and inode: a
loop of links ends, and a second way into a folder is named and not taken. A link back to the folder itself, or to one
that holds it, is named and not taken either.

    walk = FolderWalk(Path("/videos"))
    for path in walk.files():
        ...
    walk.problems, walk.loops, walk.links
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_Place = tuple[int, int] | str


@dataclass
class FolderWalk:
    """One walk, and what it met beside files."""

    folder: Path
    problems: dict[str, str] = field(default_factory=dict)
    """Folders that cannot be read, by path, with the reason."""
    loops: dict[str, str] = field(default_factory=dict)
    """Links to folders that were not taken, by path, with the reason."""
    links: dict[str, str] = field(default_factory=dict)
    """Links to folders that were taken, by path, with the folder that each leads to."""
    hidden: int = 0
    """Files and folders left out because their name begins with a dot."""
    _entered: dict[_Place, str] = field(default_factory=dict)
    """The path by which each folder was entered."""
    _waiting: deque[str] = field(default_factory=deque)
    """Links to folders that were met and not looked at yet."""

    def files(self) -> Iterator[Path]:
        """Yield every file that is not hidden: those of a folder by name, then those of the folders in it."""
        yield from self._below(str(self.folder))
        while self._waiting:
            link = self._waiting.popleft()
            if reason := self._why_not(link):
                self.loops[link] = reason
            else:
                self.links[link] = os.path.realpath(link)
                yield from self._below(link)

    def _why_not(self, link: str) -> str:
        """Return why a link to a folder is not taken; "" where it is."""
        target = os.path.realpath(link)
        if Path(os.path.realpath(self.folder)).is_relative_to(target):
            return f"a link back to {target!r}, which holds it: not entered again"
        try:
            entered = self._entered.get(_place(link))
        except OSError:
            return ""  # it cannot be read, which `_below` says
        if entered is None:
            return ""
        return f"a link to {target!r}, whose videos are read once, as those of {entered!r}"

    def _below(self, top: str) -> Iterator[Path]:
        # not `os.walk`: it calls itself for each level, and the interpreter's stack ends at a thousand
        folders = [top]
        while folders:
            folder = folders.pop()
            try:
                place = _place(folder)
                if place in self._entered:
                    self.loops[folder] = f"its videos are read once, as those of {self._entered[place]!r}"
                    continue
                self._entered[place] = folder
                with os.scandir(folder) as entries:
                    found = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                self.problems[folder] = f"the folder cannot be read: {error.strerror}"
                continue
            inner: list[str] = []
            for entry in found:
                if entry.name.startswith("."):
                    self.hidden += 1
                elif not _is_folder(entry):
                    yield Path(entry.path)
                elif entry.is_symlink():
                    self._waiting.append(entry.path)
                else:
                    inner.append(entry.path)
            folders += reversed(inner)


def _place(folder: str) -> _Place:
    """Return what tells a folder from all others."""
    about = os.stat(folder)
    # some network file systems number nothing
    return (about.st_dev, about.st_ino) if about.st_ino else os.path.realpath(folder)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or through a folder that this user may not enter: a file that is none
        return False
