"""Assets link to their source on a git host where the checkout has one."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from assets.graph.code_links import linked_to_source, remote_url
from assets.graph.train import video_tokenizer

CHECKOUT = Path(__file__).parents[4]


def cloned_from(url: str, folder: Path) -> Path:
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text(
        f'[core]\n\tbare = false\n[remote "origin"]\n\turl = {url}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n'
    )
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/feature/x\n")
    return folder


def links_of(checkout: Path) -> list[str]:
    (asset,) = linked_to_source([video_tokenizer], checkout)
    metadata = asset.metadata_by_key[asset.key]["dagster/code_references"]
    return [reference.source for reference in metadata.code_references]


@pytest.mark.parametrize(
    "url",
    ["https://github.com/someone/lampworks.git", "git@github.com:someone/lampworks.git", "https://u:secret@github.com/someone/lampworks"],
)  # fmt: skip
def test_the_address_of_the_remote_is_a_page_without_credentials(url: str, tmp_path: Path) -> None:
    assert remote_url(cloned_from(url, tmp_path)) == "https://github.com/someone/lampworks"


@pytest.mark.parametrize("url", ["/srv/git/lampworks", "https://git.example.org/a/b", ""])
def test_a_remote_on_another_host_is_not_linked(url: str, tmp_path: Path) -> None:
    assert remote_url(cloned_from(url, tmp_path)) is None


def test_without_a_repository_links_go_to_the_local_file(tmp_path: Path) -> None:
    assert remote_url(tmp_path) is None
    (link,) = links_of(tmp_path)
    assert Path(link.split(":")[0]) == CHECKOUT / "assets" / "graph" / "train.py"


def test_with_a_repository_links_go_to_the_line_on_its_branch(tmp_path: Path) -> None:
    (asset,) = linked_to_source([video_tokenizer], cloned_from("https://github.com/a/b", tmp_path))
    (reference,) = asset.metadata_by_key[asset.key]["dagster/code_references"].code_references
    assert isinstance(reference, dg.UrlCodeReference)
    assert reference.url.startswith("https://github.com/a/b/tree/feature/x/")
    assert "train.py#L" in reference.url
