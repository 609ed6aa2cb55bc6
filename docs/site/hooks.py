"""What the documentation site has beyond the pages of docs/: references made from the code, and the graph as a picture.

mkdocs calls these functions by their names while it builds (`hooks` in mkdocs.yml).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))
from graph_picture import graph_picture

_ROOT = Path(__file__).parents[2]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made anew at every build: they are never older than the code."""
    from assets.cli.reference import command_reference
    from pipeline.config import config_reference

    pages = {
        "reference/settings.md": config_reference(),
        "reference/commands.md": command_reference(),
        "reference/contributing.md": _from_top((_ROOT / "CONTRIBUTING.md").read_text("utf-8")),
        "reference/changelog.md": _from_top((_ROOT / "CHANGELOG.md").read_text("utf-8")),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Draw the graph of a `mermaid` block: the script that does so in a browser would come from another machine."""
    return re.sub(r"```mermaid\n(.*?)```", lambda block: graph_picture(block[1]), markdown, flags=re.DOTALL)


def _from_top(text: str) -> str:
    """Return a page of the repository's top as one of `reference/`: its links to docs/ are one folder up."""
    return re.sub(r"\]\(docs/", "](../", text)
