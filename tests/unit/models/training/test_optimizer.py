import dataclasses

import pytest
import torch

from models.runtime.weights import WeightsError, load_states, prefixed
from models.training.optimizer import Optimizer, decayed
from models.training.schedules import learning_rate, long_warm_ups
from pipeline.config import preset
from pipeline.config.world import OptimizerConfig
from tests.numerics.small import DYNAMICS, LAM, TOKENIZER, fresh_networks

LATE = OptimizerConfig(learning_rate=1.0, final_learning_rate=0.1, warmup_steps=4, schedule="late_linear")


def test_the_rate_warms_up_in_a_line_stays_and_falls_in_a_line():
    rates = [learning_rate(LATE, step, 21) for step in range(21)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert set(rates[4:11]) == {1.0}
    assert rates[15] == pytest.approx(0.55)
    assert rates[20] == pytest.approx(0.1)


def test_the_papers_rate_falls_by_a_cosine():
    paper = OptimizerConfig()
    assert learning_rate(paper, 4999, 125_000) == pytest.approx(3e-5)
    assert learning_rate(paper, 65_000, 125_000) == pytest.approx((3e-5 + 3e-6) / 2, rel=0.01)
    assert learning_rate(paper, 124_999, 125_000) == pytest.approx(3e-6)


def test_a_flat_rate_stays_at_the_peak():
    flat = dataclasses.replace(LATE, schedule="flat")
    assert [learning_rate(flat, step, 9) for step in range(9)] == [0.25, 0.5, 0.75, *[1.0] * 6]


def test_wsd_stays_at_the_peak_and_falls_in_a_line_over_the_last_share_of_the_steps():
    wsd = dataclasses.replace(LATE, schedule="wsd", decay_share=0.2)
    rates = [learning_rate(wsd, step, 56) for step in range(56)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert set(rates[4:46]) == {1.0}
    assert rates[50] == pytest.approx(0.55)
    assert rates[55] == pytest.approx(0.1)
    longer = [learning_rate(wsd, step, 500) for step in range(46)]
    assert longer == rates[:46], "more steps change nothing before the decay"


def test_half_of_the_steps_of_wsd_are_late_linear():
    half = dataclasses.replace(LATE, schedule="wsd", decay_share=0.5)
    assert [learning_rate(half, s, 40) for s in range(40)] == [learning_rate(LATE, s, 40) for s in range(40)]


def test_a_warm_up_longer_than_the_steps_of_a_network_is_told_with_one_that_fits():
    """The paper's warm-ups are of 10,000 and 5,000 steps, which a first trial with fewer steps meets at once."""
    paper = preset("platformers")
    assert long_warm_ups(paper, "video_tokenizer") == long_warm_ups(paper, "world_model") == []
    short = dataclasses.replace(
        paper,
        tokenizer=dataclasses.replace(paper.tokenizer, steps=60),
        dynamics=dataclasses.replace(paper.dynamics, steps=4999),
    )
    assert long_warm_ups(short, "video_tokenizer") == [
        "tokenizer.optimizer.warmup_steps = 10,000 is longer than the 60 steps: the learning rate ends at 1.8e-06 and "
        "never reaches tokenizer.optimizer.learning_rate = 0.0003. Set tokenizer.optimizer.warmup_steps=3, or raise "
        "tokenizer.steps"
    ]
    lam, dynamics = long_warm_ups(short, "world_model")
    assert lam.startswith("latent_actions.optimizer.warmup_steps = 5,000 is longer than the 4,999 steps")
    assert dynamics.endswith("Set dynamics.optimizer.warmup_steps=249, or raise dynamics.steps")


def test_the_warm_up_of_a_lam_is_held_to_the_steps_of_its_own_schedule():
    paper = preset("platformers")

    def told(steps=400, led_by="latent_actions", **lam):
        dynamics = dataclasses.replace(paper.dynamics, steps=steps, led_by=led_by)
        lam = dataclasses.replace(paper.latent_actions, **lam)
        found = long_warm_ups(dataclasses.replace(paper, latent_actions=lam, dynamics=dynamics), "world_model")
        return [sentence.partition(":")[0] for sentence in found if sentence.startswith("latent_actions")]

    many, rests = {"unquantized_steps": 9000}, {"unquantized_steps": 4000, "update_every": 0}
    assert told(**many) == []
    assert told(**rests) == ["latent_actions.optimizer.warmup_steps = 5,000 is longer than the 4,000 steps"]
    assert told(**rests, steps=9000) == told(**rests), "it rests in the joint steps"
    assert told(**rests, led_by="true_actions") == [], "no LAM learns"


@pytest.mark.parametrize("schedule", ["cosine", "late_linear", "flat", "wsd"])
@pytest.mark.parametrize("total", [1, 2, 5, 30])
def test_rates_of_short_runs_stay_between_nothing_and_the_peak_and_never_rise_after_the_warm_up(schedule, total):
    config = dataclasses.replace(LATE, schedule=schedule, **{"decay_share": 1.0} if schedule == "wsd" else {})
    rates = [learning_rate(config, step, total) for step in range(total)]
    assert all(0 < rate <= 1 for rate in rates)
    after = rates[3:]
    assert after == sorted(after, reverse=True)


def test_a_step_goes_down_the_gradient_and_is_clipped():
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 1)
    optimizer = Optimizer(network, LATE, 10)
    before = network.weight.detach().clone()
    norm = optimizer.step(1000 * network(torch.ones(1, 3)).sum(), 3)
    assert norm == pytest.approx(2000)
    assert float(network.weight.grad.norm()) <= 1.0
    assert bool((network.weight < before).all())


def test_saved_state_continues_exactly():
    def steps(network, optimizer, first, last):
        for step in range(first, last):
            x = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
            optimizer.step(network(x).square().mean(), step)

    def fresh():
        torch.manual_seed(0)
        network = torch.nn.Linear(3, 2)
        return network, Optimizer(network, LATE, 10)

    whole, optimizer = fresh()
    steps(whole, optimizer, 0, 10)
    first, half = fresh()
    steps(first, half, 0, 5)
    second, rest = fresh()
    saved = prefixed("network", first.state_dict()) | prefixed("optimizer", half.tensors())
    load_states({"network": second}, {"optimizer": rest}, saved)
    steps(second, rest, 5, 10)
    assert torch.equal(whole.weight, second.weight)


def test_state_of_another_network_is_refused_and_a_parameter_without_gradient_needs_none():
    network = torch.nn.ModuleDict({"used": torch.nn.Linear(3, 2), "idle": torch.nn.Linear(3, 2)})
    optimizer = Optimizer(network, LATE, 10)
    optimizer.step(network["used"](torch.ones(1, 3)).sum(), 0)
    saved = optimizer.tensors()
    assert sorted({name.split(".")[0] for name in saved}) == ["used"]
    load_states({}, {"optimizer": optimizer}, prefixed("optimizer", saved))
    part = {name: tensor for name, tensor in saved.items() if name != "used.bias.exp_avg"}
    for wrong, why in (
        (part, "optimizer.used.bias.exp_avg is missing"),
        ({**saved, "other.step": torch.zeros(())}, "optimizer.other.step is unexpected"),
        ({**saved, "used.bias.exp_avg": torch.zeros(3)}, r"exp_avg is float32 \(3,\) instead of float32 \(2,\)"),
    ):
        with pytest.raises(WeightsError, match=why):
            load_states({}, {"optimizer": optimizer}, prefixed("optimizer", wrong))


def test_state_lies_where_the_parameters_are_and_steps_are_counted_on_the_cpu():
    here = torch.nn.Linear(3, 2)
    optimizer = Optimizer(here, LATE, 10)
    optimizer.step(here(torch.ones(1, 3)).sum(), 0)
    with torch.device("meta"):  # stands for a device that is not the checkpoint's
        there = torch.nn.Linear(3, 2)
    moved = Optimizer(there, LATE, 10)
    load_states({}, {"optimizer": moved}, prefixed("optimizer", optimizer.tensors()))
    devices = {name.rsplit(".", 1)[1]: tensor.device.type for name, tensor in moved.tensors().items()}
    assert devices == {"exp_avg": "meta", "exp_avg_sq": "meta", "step": "cpu"}


def test_weights_of_products_and_convolutions_decay_and_nothing_else_does():
    paper, demo = (
        fresh_networks(TOKENIZER, LAM, DYNAMICS, 30, 44),
        fresh_networks(
            *(getattr(preset("demo"), part) for part in ("tokenizer", "latent_actions", "dynamics")), 30, 40
        ),
    )
    for network in (*paper.values(), *demo.values()):
        small = decayed(network)
        for name, parameter in network.named_parameters():
            last = name.split(".")[-1]
            kept = (
                parameter.dim() < 2
                or last in ("positions", "lag_bias", "codebook")
                or (name == "embed.weight" and (isinstance(network.embed, torch.nn.Embedding)))
            )
            assert (name in small) != kept, name


def test_without_a_gradient_a_weight_gets_smaller_and_the_rest_stays():
    torch.manual_seed(0)
    network = torch.nn.ModuleDict({"norm": torch.nn.LayerNorm(3), "linear": torch.nn.Linear(3, 2)})
    optimizer = Optimizer(network, dataclasses.replace(LATE, weight_decay=0.1), 10)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.apply(3)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"linear.weight"}
    torch.testing.assert_close(network["linear"].weight.detach(), 0.9 * before["linear.weight"])
