"""What `lampworks doctor` says of the network that embeds clips."""

from __future__ import annotations

from pathlib import Path

from assets.cli.doctor import check_embedding
from assets.settings import load_settings


def test_the_network_of_the_embedding_is_checked_where_it_is_used(tmp_path: Path) -> None:
    def found(text: str) -> list[tuple[bool, str]]:
        (tmp_path / "lamp.yaml").write_text(f"source: {{spec: 'folder:{tmp_path}'}}\nembedding: {text}\n", "utf-8")
        settings = load_settings(str(tmp_path / "root"), config=tmp_path / "lamp.yaml")
        return [(one.ok, one.detail) for one in check_embedding(settings)]

    assert found("{}") == [(True, "efficientnet-lite0, SHA-256 579344248a93...")]
    [(ok, said)] = found("{network: none.pt}")
    assert not ok
    assert "cannot be read (No such file or directory): name a file that is there, or set embedding.network" in said
    assert found("{network: none.pt, enabled: false}") == []
