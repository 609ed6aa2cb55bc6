"""Published sizes: what the paper's tables say, built without memory, and the demo's own."""

import dataclasses
import json

import pytest

from models.bench.sizes import networks_of, preset_sizes, usual_block_ratio
from models.registry import parameters_of
from pipeline.config import PRESETS, preset
from pipeline.config.world import DYNAMICS_SIZES


def networks(name, height=90, width=160):
    config = preset(name)
    return networks_of(dataclasses.replace(config, clips=dataclasses.replace(config.clips, height=height, width=width)))


def millions(network):
    return parameters_of(network) / 1e6


def test_the_papers_networks_have_the_papers_sizes():
    tokenizer, lam, dynamics = networks("platformers")
    assert tokenizer.num_tokens == 920
    assert millions(tokenizer) == pytest.approx(200, rel=0.05)
    assert millions(dynamics) == pytest.approx(10_100, rel=0.05)
    # the block that fits everything else gives 346M where the paper says 300M
    assert millions(lam) == pytest.approx(346, rel=0.02)
    assert millions(tokenizer) + millions(lam) + millions(dynamics) == pytest.approx(10_700, rel=0.02)


@pytest.fixture(scope="module")
def counted():
    """The sizes of all presets: building their networks takes seconds."""
    return preset_sizes()


@pytest.mark.parametrize("size", DYNAMICS_SIZES)
def test_every_published_dynamics_has_its_published_size(counted, size):
    published = DYNAMICS_SIZES[size]
    [found] = [each.dynamics / 1e6 for each in counted if each.preset == f"platformers-{size}"]
    assert found == pytest.approx(published.parameters, rel=0.035)
    # another number of key and value heads that divides the heads would not be nearer
    stack = published.stack
    extra = 2 * 2 * stack.head_dim * stack.d_model * stack.layers / 1e6
    others = [kv for kv in range(1, stack.heads + 1) if stack.heads % kv == 0]
    distance = {kv: abs(found + (kv - stack.kv_heads) * extra - published.parameters) for kv in others}
    assert min(distance, key=distance.get) == stack.kv_heads


def test_the_coinrun_preset_has_six_actions_and_its_own_depths():
    tokenizer, lam, dynamics = networks("coinrun", 64, 64)
    assert lam.config.num_actions == 6
    assert len(tokenizer.encoder.blocks) == len(tokenizer.decoder.blocks) == len(lam.encoder.blocks) == 8
    assert len(dynamics.transformer.blocks) == 12
    # a row of learned positions a token is all that the frame's size adds
    assert millions(tokenizer) == pytest.approx(35.7, rel=0.05)
    assert millions(dynamics) == pytest.approx(26.7, rel=0.05)


def test_the_demo_is_small_enough_for_two_cores():
    tokenizer, lam, dynamics = networks("demo")
    assert tokenizer.num_tokens == 144
    assert [round(millions(network), 2) for network in (tokenizer, lam, dynamics)] == [1.45, 0.99, 0.4]


@pytest.mark.parametrize(("name", "tokens"), [("demo", 144), ("coinrun", 256)])
def test_the_table_of_sizes_counts_what_the_networks_hold(name, tokens):
    (size,) = preset_sizes([name])
    built = networks_of(preset(name))
    assert [size.tokenizer, size.latent_actions, size.dynamics] == [parameters_of(network) for network in built]
    assert size.total == size.tokenizer + size.latent_actions + size.dynamics
    assert size.tokens == built[0].num_tokens == tokens
    assert size.ratios == {}


@pytest.fixture
def main(counted, monkeypatch):
    """The command, which counts what is counted already."""
    from assets.cli.main import main

    monkeypatch.setattr("models.bench.sizes.preset_sizes", lambda: counted)
    return main


def test_the_table_holds_every_preset_beside_its_published_count(main, capsys):
    assert main(["bench", "sizes", "--json"]) == 0
    sizes = {size["preset"]: size for size in json.loads(capsys.readouterr().out)["presets"]}
    assert sizes.keys() == PRESETS.keys()
    final = sizes["platformers"]["ratios"]
    assert final["tokenizer"] == pytest.approx(1, abs=0.05)
    assert final["latent_actions"] == pytest.approx(346 / 300, abs=0.02)
    assert final["total"] == pytest.approx(1, abs=0.02)
    assert {name for name, size in sizes.items() if not size["published"]} == {"demo", "coinrun", "robotics-small"}
    assert sizes["robotics"]["ratios"] == {"total": pytest.approx(1, abs=0.02)}
    for size in sizes.values():
        assert size["ratios"].get("dynamics", 1) == pytest.approx(1, abs=0.035), size["preset"]


def test_the_table_tells_people_how_the_published_counts_were_met(main, counted, capsys):
    assert main(["bench", "sizes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1 : 1 + len(PRESETS)]] == list(PRESETS)
    size = next(size for size in counted if size.preset == "platformers")
    assert f"{size.ratios['dynamics']:.3f}" in lines[1 + list(PRESETS).index("platformers")]
    explanation, _, trainings = "\n".join(lines[1 + len(PRESETS) :]).partition("\nTrainings on GPUs. ")
    assert len(explanation.splitlines()) == 4, "an empty line and three of explanation"
    assert f"{size.latent_actions / 1e6:.0f}M where the paper says 300M" in explanation.splitlines()[-1]
    assert "no run of these was made: 40% of 625 TFLOP/s" in trainings


def test_full_attentions_and_a_wide_feed_forward_would_be_nearly_twice_too_large():
    assert usual_block_ratio() == pytest.approx(1.9, abs=0.05)
