import dataclasses

import pytest
import torch

from models.networks.transformer import Block
from models.runtime.weights import WeightsError, load_states, prefixed
from models.training import muon
from models.training.muon import Muon, block_matrices, newton_schulz
from models.training.optimizer import Optimizer, decayed
from pipeline.config import load_config, preset
from pipeline.config.world import OptimizerConfig, StackConfig
from pipeline.errors import UserError
from tests.numerics.small import DYNAMICS, LAM, TOKENIZER, fresh_networks

SMALL = StackConfig(layers=1, d_model=32, heads=4, head_dim=8, kv_heads=2)
MUON = OptimizerConfig(
    learning_rate=1e-2, final_learning_rate=1e-3, warmup_steps=0, schedule="wsd", algorithm="muon", weight_decay=0.0,
    clip_norm=1e9,
)  # fmt: skip


def block_and_optimizer(config=MUON):
    """Return a block without zero weights, and its optimizer."""
    torch.manual_seed(0)
    block = Block(SMALL, 4)
    for weight in block.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return block, Optimizer(block, config, 10)


def loss_of(block, step):
    x = torch.randn(2, 3, 6, 32, generator=torch.Generator().manual_seed(step))
    return (block(x, (2, 3)) - x.roll(1, 2)).square().mean()


def step_of(block, optimizer, step=0):
    """Take a step, and return the change of each weight."""
    before = {name: weight.detach().clone() for name, weight in block.named_parameters()}
    optimizer.step(loss_of(block, step), step)
    return {name: weight.detach() - before[name] for name, weight in block.named_parameters()}


def test_iterations_bring_all_singular_values_near_one_and_keep_the_directions():
    matrices = (
        torch.randn(3, 12, 20, generator=torch.Generator().manual_seed(0))
        * torch.tensor([1e-4, 1.0, 1e4])[:, None, None]
    )
    found = newton_schulz(matrices)
    assert torch.linalg.svdvals(found).min() > 0.6
    assert torch.linalg.svdvals(found).max() < 1.3
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    inside = left.mT @ found @ right.mT
    torch.testing.assert_close(inside, torch.diag_embed(inside.diagonal(dim1=1, dim2=2)), atol=2e-3, rtol=0)
    assert torch.equal(newton_schulz(torch.zeros(1, 3, 4)), torch.zeros(1, 3, 4)), "no gradient, no step"


def test_muon_moves_the_matrices_of_all_blocks_and_nothing_else():
    networks = fresh_networks(TOKENIZER, LAM, DYNAMICS, 30, 44)
    demo = preset("demo")
    networks = [
        *networks.values(),
        *fresh_networks(demo.tokenizer, demo.latent_actions, demo.dynamics, 30, 40).values(),
    ]
    for network in networks:
        inside = {name for name in decayed(network) if ".blocks." in name and ".conv." not in name}
        assert set(block_matrices(network)) == inside
        weights = dict(network.named_parameters())
        assert all(sum(rows) == len(weights[name]) for name, rows in block_matrices(network).items())


def test_a_step_is_that_of_torch_but_queries_keys_and_values_are_three_matrices():
    block, optimizer = block_and_optimizer()
    plain, _ = block_and_optimizer()
    loss_of(plain, 0).backward()
    whole = [weight for name, weight in plain.named_parameters() if name in block_matrices(plain)]
    before = {name: weight.detach().clone() for name, weight in plain.named_parameters()}
    torch.optim.Muon(whole, lr=1e-2, weight_decay=0.0, adjust_lr_fn="match_rms_adamw").step()
    theirs = {name: weight.detach() - before[name] for name, weight in plain.named_parameters()}
    ours = step_of(block, optimizer)
    for name in block_matrices(block):
        far = float((ours[name] - theirs[name]).norm() / theirs[name].norm())
        # torch computes in bf16, which tells where a gradient has singular values near 0
        assert far > 0.8 if "qkv" in name else far < 0.4, name


def test_the_size_of_the_values_gradient_changes_no_step_of_queries_or_keys():
    changes = []
    for scale in (1.0, 100.0):
        block, optimizer = block_and_optimizer()
        weight = block.spatial.qkv.weight
        weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
        weight.grad[-16:] *= scale
        before = weight.detach().clone()
        optimizer.apply(0)
        changes.append(weight.detach() - before)
    torch.testing.assert_close(*changes, atol=1e-6, rtol=1e-4)
    sizes = torch.linalg.svdvals(changes[0][32:48]) / (1e-2 * 0.2 * 32**0.5)
    assert 0.6 < float(sizes.min()) <= float(sizes.max()) < 1.3


def test_the_rest_moves_as_with_adamw_and_the_scale_is_of_the_matrices_alone():
    adamw = step_of(*block_and_optimizer(dataclasses.replace(MUON, algorithm="adamw")))
    once = step_of(*block_and_optimizer())
    twice = step_of(*block_and_optimizer(dataclasses.replace(MUON, muon_lr_scale=2.0)))
    matrices = block_matrices(block_and_optimizer()[0])
    for name, change in once.items():
        torch.testing.assert_close(twice[name], (2 if name in matrices else 1) * change, atol=1e-6, rtol=1e-3)
        assert torch.equal(adamw[name], change) == (name not in matrices), name


def test_a_rate_of_adamw_makes_steps_of_muon_of_about_the_same_size():
    adamw = step_of(*block_and_optimizer(dataclasses.replace(MUON, algorithm="adamw")))
    muons = step_of(*block_and_optimizer())
    for name in block_matrices(block_and_optimizer()[0]):
        ratio = float(muons[name].square().mean().sqrt() / adamw[name].square().mean().sqrt())
        assert 0.05 < ratio < 0.5, name


def test_weights_decay_by_the_rate():
    block, optimizer = block_and_optimizer(dataclasses.replace(MUON, weight_decay=0.5, muon_lr_scale=3.0))
    before = block.ffw[0].weight.detach().clone()
    for weight in block.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.apply(0)
    torch.testing.assert_close(block.ffw[0].weight.detach(), before * (1 - 1e-2 * 0.5))


def test_few_at_once_or_all_make_the_same_step(monkeypatch):
    whole = step_of(*block_and_optimizer())
    monkeypatch.setattr(muon, "_AT_ONCE", 1500)
    parts = step_of(*block_and_optimizer())
    for name, change in whole.items():
        torch.testing.assert_close(parts[name], change, atol=1e-6, rtol=1e-4)


def test_two_halves_of_a_sharded_network_take_the_step_of_the_whole():
    whole = Muon({"m": matrix()}, {"m": (8, 4)}, 0.9, 0.1)
    before = whole._named["m"].detach().clone()
    whole.step(0.1)
    gradient = whole._named["m"].grad
    ahead = gradient.lerp(whole.momentum["m"], 0.9)

    class Half:
        def __init__(self, rows):
            self.rows = rows

        def gather(self, name, part):
            assert torch.equal(part, ahead[self.rows])
            return ahead

        def part_of(self, name, tensor):
            return tensor[self.rows]

    for rows in (slice(0, 6), slice(6, 12)):
        part = torch.nn.Parameter(before[rows].clone())
        part.grad = gradient[rows].clone()
        half = Muon({"m": part}, {"m": (8, 4)}, 0.9, 0.1, Half(rows))
        half.step(0.1)
        assert torch.equal(part, whole._named["m"][rows])
        assert half.momentum["m"].shape == part.shape


def matrix():
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(12, 10, generator=generator))
    weight.grad = torch.randn(12, 10, generator=generator)
    return weight


def test_saved_momentum_continues_exactly_and_is_one_tensor_a_matrix():
    whole, optimizer = block_and_optimizer()
    for step in range(6):
        optimizer.step(loss_of(whole, step), step)
    first, half = block_and_optimizer()
    for step in range(3):
        half.step(loss_of(first, step), step)
    saved = prefixed("network", first.state_dict()) | prefixed("optimizer", half.tensors())
    second, rest = block_and_optimizer()
    load_states({"network": second}, {"optimizer": rest}, saved)
    for step in range(3, 6):
        rest.step(loss_of(second, step), step)
    assert all(torch.equal(whole.state_dict()[name], second.state_dict()[name]) for name in whole.state_dict())
    kept = [name for name in rest.tensors() if name.startswith("spatial.qkv")]
    assert kept == ["spatial.qkv.weight.momentum"]


def test_the_state_of_the_other_algorithm_is_refused():
    block, adamw = block_and_optimizer(dataclasses.replace(MUON, algorithm="adamw"))
    adamw.step(loss_of(block, 0), 0)
    _, optimizer = block_and_optimizer()
    with pytest.raises(WeightsError, match=r"optimizer\.spatial\.qkv\.weight\.\w+ is unexpected"):
        load_states({}, {"optimizer": optimizer}, prefixed("optimizer", adamw.tensors()))


@pytest.mark.parametrize(
    ("values", "why", "fix"),
    [
        ({"muon_momentum": 0.9}, r"muon_momentum = 0\.9 acts only .* 'muon'", {"algorithm": "muon"}),
        ({"muon_lr_scale": 2}, r"muon_lr_scale = 2 acts only .* or muon_lr_scale = 1$", {"muon_lr_scale": 1}),
        ({"decay_share": 0.5}, r"decay_share = 0\.5 acts only .*optimizer\.schedule = 'wsd'", {"schedule": "wsd"}),
    ],
)  # fmt: skip
def test_a_setting_without_effect_is_refused_and_both_fixes_work(values, why, fix):
    with pytest.raises(UserError, match=why):
        load_config(None, base="demo", dynamics={"optimizer": values})
    load_config(None, base="demo", dynamics={"optimizer": {**values, **fix}})


def test_rates_of_decay_lie_below_one():
    for field in ("beta1", "beta2", "muon_momentum"):
        with pytest.raises(UserError, match=rf"optimizer\.{field} = 1\.0: must"):
            OptimizerConfig(**{"algorithm": "muon", field: 1.0})
