"""What the receipt of a takedown says to do: train again without the video, and the next model has not seen it."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from pathlib import Path

import pytest

from assets.cli.main import main
from assets.settings import Settings, save_config
from pipeline.inspect.status import status
from pipeline.model_choice import models_in_use
from pipeline.shards.read import current_shards
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.grep import find_bytes
from tests.laws.stages import World


@pytest.mark.slow
def test_the_command_of_the_receipt_trains_again_without_it(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "root"
    shutil.copytree(world.finished.root, root)
    store, video_id = Store(root), world.video("train")
    # two steps train no tokenizer that a gate lets through
    config = dataclasses.replace(world.config, tokenizer=dataclasses.replace(world.config.tokenizer, min_psnr=1.0))
    save_config(Settings(store, config, home_of(store)))
    before = models_in_use(store, config)
    assert main(["takedown", video_id, "--reason", "asked", "--root", str(root)]) == 0
    told = capsys.readouterr().out
    (line,) = [line for line in told.splitlines() if "train again" in line]
    command = shlex.split(line.partition("`")[2].partition("`")[0])
    assert command[0] == "lampworks"
    version = current_shards(store)
    assert main(command[1:]) == 0
    after = models_in_use(store, config)
    for kind in ("classifier", "tokenizer", "world"):
        old, new = getattr(before, kind), getattr(after, kind)
        assert old is not None
        assert new is not None
        assert new.model_id != old.model_id
    assert after.world is not None
    assert after.world.shards_version == current_shards(store)
    assert version is not None
    # the search of the pass met the file again, and left it out
    assert status(store, config).violations == []
    assert find_bytes(root, [video_id.encode()]) == []
    assert main(["why", video_id, "--root", str(root)]) == 1
