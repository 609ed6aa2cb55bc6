"""Link every asset to its source: to the git host of this checkout's `origin`, or to the local file."""

from __future__ import annotations

import configparser
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import dagster as dg

_HOSTS = ("github.com", "gitlab.com")


def linked_to_source(assets: Iterable[dg.AssetsDefinition], checkout: Path) -> Sequence[dg.AssetsDefinition]:
    """Return the assets with code references that Dagster's pages show.

    Args:
        assets: assets that decorated functions define.
        checkout: folder of the repository; without a remote on a host that Dagster knows, links go to local files.
    """
    with warnings.catch_warnings():
        # beta since 1.7, and shown in the UI's asset pages
        warnings.simplefilter("ignore", dg.BetaWarning)
        linked = dg.with_source_code_references(list(assets))
        url = remote_url(checkout)
        if url is not None:
            linked = dg.link_code_references_to_git(
                linked,
                git_url=url,
                git_branch=_branch(checkout),
                file_path_mapping=dg.AnchorBasedFilePathMapping(checkout, "."),
            )
    return [asset for asset in linked if isinstance(asset, dg.AssetsDefinition)]


def remote_url(checkout: Path) -> str | None:
    """Return the https address of `origin` on GitHub or GitLab; None where there is none."""
    # git repeats keys (`fetch`) and indents with tabs
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    try:
        parser.read(checkout / ".git" / "config", encoding="utf-8")
        url = parser.get('remote "origin"', "url", fallback="")
    except configparser.Error:
        return None
    match = re.fullmatch(r"(?:https://|ssh://)?(?:[^@/]+@)?([\w.-]+)[:/](.+?)(?:\.git)?/?", url)
    return f"https://{match[1]}/{match[2]}" if match and match[1] in _HOSTS else None


def _branch(checkout: Path) -> str:
    try:
        head = (checkout / ".git" / "HEAD").read_text("utf-8").strip()
    except OSError:
        return "main"
    # a detached head is a commit, which hosts take in place of a branch
    return head.removeprefix("ref: refs/heads/")
