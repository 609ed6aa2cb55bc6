"""`lampworks bench world` prints a row for each variant of the demo, and refuses what it would not measure."""

from __future__ import annotations

import json

import pytest

from assets.cli.bench_world import parse_variants
from assets.cli.main import main
from models.bench.world import Levels, Row
from pipeline.config.demo import demo

STACK = "layers=1,{0}.d_model=16,{0}.heads=2,{0}.head_dim=8,{0}.kv_heads=2"
TINY = ",".join(
    [
        *(f"{name}.{STACK.format(name)}" for name in ("tokenizer.encoder", "tokenizer.decoder", "dynamics.stack")),
        *(f"{name}.{STACK.format(name)}" for name in ("latent_actions.encoder", "latent_actions.decoder")),
        "tokenizer.latent_dim=8,tokenizer.batch=2,dynamics.batch=2,training.threads=1,training.dtype=fp32,training.eval_windows=2",
        "evaluation.prompt_frames=1,evaluation.horizon=4,dynamics.optimizer.warmup_steps=1,evaluation.windows_per_clip=1,evaluation.random_draws=1",
        "evaluation.character_frames=8,evaluation.character_windows=1,evaluation.character_starts=1",
        "evaluation.bootstrap_draws=20,evaluation.shuffles=5",
    ]
)

NAMES = ("a", "b|c")


@pytest.fixture(autouse=True)
def few_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.bench.world.LEVELS", Levels(range(2), range(500, 502), 16))


@pytest.mark.slow
def test_each_variant_has_a_row_of_what_it_cost_and_gave_and_the_oracle_one_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.bench.world._SAID_EVERY_S", 0.0)
    more = ["--variant", f"quick:{TINY},dynamics.steps=1", "--variant", f"again:{TINY},evaluation.maskgit_steps=2"]
    assert main(["bench", "world", "--steps", "2", "--variant", f"tiny:{TINY}", *more, "--oracle", "--json"]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert (found["levels"]["train"], found["levels"]["held_out"], found["levels"]["frames"]) == (2, 2, 16)
    names = [(row["name"], row["oracle"]) for row in found["rows"]]
    assert names == [(name, oracle) for name in ("tiny", "quick", "again") for oracle in (False, True)]
    tiny, oracle, quick, _, again, _ = found["rows"]
    assert [tiny[f"{part}_steps"] for part in ("tokenizer", "lam", "joint")] == [2, 2, 2]
    assert (oracle["lam_steps"], oracle["lam_cpu_s"], quick["joint_steps"]) == (0, 0, 1)
    for name in ("accuracy", "psnr_t1", "psnr_t4", "character_kept_t8", "character_kept_held_t8"):
        assert all(row["figures"][name]["num_sources"] >= 1 for row in found["rows"])
    assert tiny["figures"]["tokenizer_psnr"]["value"] > 15
    assert tiny["figures"]["latent_action_mutual_information_of"]["value"] > 0.5
    assert oracle["figures"]["latent_action_jump_information"]["reason"] == "true actions led the dynamics"
    # what is measured in another way is trained once; its figures may differ, and those of the training do not
    assert again["joint_cpu_s"] == tiny["joint_cpu_s"]
    assert again["figures"]["accuracy"] == tiny["figures"]["accuracy"]
    assert quick["figures"] != tiny["figures"]
    assert shown.err.count("world after") == 4
    # each row as soon as it is measured, before the next one is trained
    assert shown.err.count("what stays in play") == 6
    assert shown.err.index("what stays in play") < shown.err.rindex("world after")
    assert shown.err.count(" dB after") == 1
    assert "tiny: joint steps, 2 of 2 steps, about 0 minutes left" in shown.err


def test_the_tables_are_markdown_with_a_line_for_each_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {"value": 0.975, "low": 0.95, "high": 1.0, "num_sources": 2}
    figures = {"tokenizer_psnr": {"value": 45.5}, "character_kept_t4": kept, "psnr_t1": {**kept, "value": 31.26}}
    rows = [Row(name, name == "b|c", "cpu, 1 threads, float32", 11.4, 0, 5.6, 80, 500, 1600, figures) for name in NAMES]
    asked: dict[str, object] = {}
    monkeypatch.setattr("models.bench.world.bench_worlds", lambda variants, levels, **more: asked.update(more) or rows)
    assert main(["bench", "world", "--seed", "3", "--variant", f"tiny:{TINY}"]) == 0
    assert asked["oracle"] is False
    shown = capsys.readouterr().out
    assert shown.startswith("2 levels of 16 frames to train on, 2 held out\ncpu, 1 threads, float32")
    assert "seed 3" in shown
    tables = [part.splitlines() for part in shown.split("\n\n")[1:]]
    assert [len(table) for table in tables] == [4, 4, 4]
    for table in tables:
        assert len({len(line) for line in table}) == 1
        assert table[2].startswith("| a ")
        assert table[3].startswith("| b\\|c, true actions ")
    costs, codes, play = ([cell.strip() for cell in table[2].split("|")] for table in tables)
    assert costs[2:9] == ["11", "80", "0", "500", "6", "1,600", "45.50"]
    assert codes[2] == "-", "what is not known is no 0"
    assert play[2:4] == ["-", "0.97 [0.95, 1.00]"]
    assert play[8] == "31.3"


def test_variants_change_the_demo_and_values_may_hold_commas() -> None:
    given = [
        "preset:",
        "a:dynamics.changed_weight=1, evaluation.maskgit_steps=3",
        "b:tokenizer.fsq_levels=[3,4],training.seed=7",
    ]
    found = parse_variants(given, seed=2, steps=30)
    assert list(found) == ["preset", "a", "b"]
    assert found["preset"].evaluation == demo().evaluation
    assert [config.training.seed for config in found.values()] == [2, 2, 7]
    assert (found["a"].dynamics.changed_weight, found["a"].evaluation.maskgit_steps) == (1, 3)
    assert found["b"].tokenizer.fsq_levels == (3, 4)
    steps = found["preset"]
    assert (steps.tokenizer.steps, steps.latent_actions.unquantized_steps, steps.dynamics.steps) == (30, 30, 30)
    assert parse_variants(["preset:"])["preset"].dynamics.steps == demo().dynamics.steps


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--variant", "dynamics.steps=3"], "begin with a name and a colon"),
        (["--variant", ":dynamics.steps=3"], "begin with a name and a colon"),
        (["--variant", "a:", "--variant", "a:dynamics.steps=3"], "give each a name of its own"),
        (["--variant", "a:dynamics.stepz=3"], "--variant a: configuration with settings given over it: unknown field"),
        (["--variant", "a:dynamics.stepz=3"], "did you mean dynamics.steps?"),
        (["--variant", "a:dynamics.steps=0"], "dynamics.steps = 0: must be at least 1"),
        (["--variant", "a:dynamics"], "write NAME=VALUE"),
        (["--variant", "a:dynamics=3"], "name one of its settings, as dynamics.NAME=1"),
        (["--variant", "a:clips.crf=23"], "change settings of tokenizer, latent_actions, dynamics, training"),
        (["--variant", "a:play.maskgit_steps=3"], "rollouts are sampled as `evaluation` says"),
        (["--variant", "a:dynamics.context=5"], "raise tokenizer.window to 5"),
        (["--variant", "a:training.go_on=abc"], "training.go_on names a model of a root"),
        (["--variant", "a:evaluation.character_frames=30"], "lower evaluation.character_frames"),
        (["--oracle", "--variant", "a:evaluation.character_frames=8,latent_actions.num_actions=4"], "num_actions to 6"),
        (["--steps", "0"], "--steps = 0: must be at least 1"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_the_fix_before_anything_is_trained(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "world", *arguments]) == 2
    assert told in capsys.readouterr().err
