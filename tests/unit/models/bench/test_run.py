"""The benchmark of the model: its operations are those that are done, and both ways of playing draw the same."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from assets.cli.main import main
from models.bench.presets import COMPARED, compared
from models.bench.run import BenchRequest, bench_model
from models.bench.tasks import TASKS, Bench
from models.bench.timing import kept_mb, sheet_peak
from models.networks.dynamics import Dynamics
from models.networks.frame_cache import FrameCache
from models.networks.latent_actions import LatentActionModel
from models.networks.tokenizer import VideoTokenizer
from models.networks.transformer import STTransformer
from models.runtime import peak
from models.runtime.flops import dynamics_flops, frame_flops, lam_flops, stack_flops, tokenizer_flops
from models.runtime.peak import Cost
from pipeline.config.world import DynamicsConfig, LatentActionConfig, StackConfig, TokenizerConfig
from pipeline.errors import UserError


def counted(function):
    """Return the operations of the products that torch itself counts; in bf16 attention is made of plain ones."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), counter:
        function()
    return counter.get_total_flops()


STACKS = {
    "plain": StackConfig(layers=2, d_model=32, heads=4, head_dim=8, kv_heads=4, ffw_multiple=4),
    "multi-query": StackConfig(layers=3, d_model=48, heads=4, head_dim=16),
    "convolution": StackConfig(layers=1, d_model=32, heads=2, head_dim=8, depthwise_conv="causal"),
    "frames alone": StackConfig(layers=2, d_model=32, heads=2, head_dim=8, temporal_attention=False),
    "space and time": StackConfig(
        layers=2, d_model=32, heads=2, head_dim=8, temporal_attention=False, spacetime_attention=True
    ),
}


@pytest.mark.parametrize("config", STACKS.values(), ids=STACKS)
def test_the_formula_of_a_stack_counts_what_torch_counts(config):
    stack = STTransformer(config, (3, 4), 5)
    x = torch.randn(2, 5, 12, config.d_model)
    assert stack_flops(stack, 2, 5) == counted(lambda: stack(x))
    cache = FrameCache(5)
    counted(lambda: stack(x[:, :3], cache, keep=True))
    assert stack_flops(stack, 2, 1, past=5) == counted(lambda: stack(x[:, 3:4], cache))


TOKENIZERS = {
    "paper": {},
    "frames alone": {"architecture": "vit"},
    "space and time": {"architecture": "c_vivit"},
    "levels": {"quantizer": "fsq", "latent_dim": 5},
}


@pytest.mark.parametrize("changes", TOKENIZERS.values(), ids=TOKENIZERS)
def test_the_formula_of_a_tokenizer_counts_what_torch_counts(changes):
    config = TokenizerConfig(encoder=STACKS["plain"], decoder=STACKS["multi-query"], window=5, **changes)
    tokenizer = VideoTokenizer(config, 24, 32)
    video = torch.randint(0, 256, (2, 5, 24, 32, 3), dtype=torch.uint8)
    assert tokenizer_flops(tokenizer, 2, 5) == counted(lambda: tokenizer(video))


LAMS = {
    "paper": {},
    "pairs": {"pooling": "antisymmetric", "encoder": STACKS["frames alone"]},
    "short windows": {"window": 3},
    "tokens": {"input": "tokens"},
}


@pytest.mark.parametrize("changes", LAMS.values(), ids=LAMS)
def test_the_formula_of_latent_actions_counts_what_torch_counts(changes):
    config = LatentActionConfig(**{"encoder": STACKS["plain"], "decoder": STACKS["plain"], "patch": 8} | changes)
    lam = LatentActionModel(config, 24, 32, 5, num_codes=64, grid=(3, 4))
    video = torch.randint(0, 256, (2, 5, 24, 32, 3), dtype=torch.uint8)
    frames = torch.randint(0, 64, (2, 5, 12)) if lam.reads_tokens else video
    assert lam_flops(lam, 2, 5) == counted(lambda: lam(frames))


@pytest.mark.parametrize("injection", ["add", "prepend", "film"])
def test_the_formula_of_the_dynamics_counts_what_torch_counts(injection):
    config = DynamicsConfig(stack=STACKS["plain"], context=5, action_injection=injection)
    dynamics = Dynamics(config, num_codes=100, grid=(3, 4), action_dim=16)
    tokens, actions = torch.zeros(2, 5, 12, dtype=torch.int64), torch.randn(2, 4, 16)
    assert dynamics_flops(dynamics, 2, 5) == counted(lambda: dynamics(tokens, actions))
    cache = FrameCache(5)
    counted(lambda: dynamics.hidden(tokens[:, :3], actions[:, :2], cache, keep=True))
    assert frame_flops(dynamics, 2) == counted(
        lambda: dynamics.head(dynamics.hidden(tokens[:, 3:4], actions[:, 2:3], cache))
    )


@pytest.fixture
def short_bursts(monkeypatch):
    """Compare with products of a fiftieth of a second: nothing here depends on how well the peak is known."""
    monkeypatch.setattr(peak, "_BURST_S", 0.02)


@pytest.fixture
def tiny(monkeypatch, short_bursts):
    made = compared(24, 24, d=64, head_dim=8, blocks=(1, 1, 2), lam_patch=8, steps=4)
    monkeypatch.setitem(COMPARED, "tiny", made)


@pytest.mark.heavy
def test_every_task_is_measured_and_both_ways_of_playing_draw_the_same(tiny):
    found = bench_model(BenchRequest(preset="tiny", tasks=tuple(reversed(TASKS)), repeats=1, compare_checkpointed=True))
    assert sorted(found["tasks"]) == sorted(TASKS)
    for task in ("tokenizer", "lam", "dynamics", "cotrain"):
        measured = found["tasks"][task]
        assert measured["utilisation"] > 0
        assert measured["peak_gflops"] > 0
        assert measured["checkpointed"]["kept_mb"] < measured["kept_mb"]
    assert found["tasks"]["play"]["share_of_ids_that_differ"] < 0.05
    assert found["tasks"]["frame"]["weights_mb"] == pytest.approx(4 * found["parameters"]["dynamics"] / 1e6)


def test_a_played_frame_costs_a_pass_per_step_and_one_that_caches_it_after_the_prefill(tiny, monkeypatch):
    def in_operations(call, repeats, device):
        operations = counted(call)
        return Cost(operations, operations)

    monkeypatch.setattr("models.bench.tasks.cost_of", in_operations)
    play = bench_model(BenchRequest(preset="tiny", tasks=["play"], dtype="bf16", repeats=1))["tasks"]["play"]
    preset = COMPARED["tiny"]
    network = Dynamics(preset.dynamics, num_codes=1024, grid=(6, 6), action_dim=preset.latent_actions.latent_dim)
    # the last frame is not cached, since nothing follows it
    passes = preset.frames * preset.steps + preset.frames - 1
    assert play["seconds_after_prefill"] == pytest.approx(passes * frame_flops(network, 1), rel=0.05)
    assert play["prefill_s"] == pytest.approx(stack_flops(network.transformer, 1, preset.prompt), rel=0.05)
    # the recompute does the whole window at every step
    window = dynamics_flops(network, 1, preset.prompt + 1)
    assert play["recompute_s"] > preset.frames * preset.steps * window * 0.7


def test_weights_of_a_timed_frame_are_in_the_dtype_of_the_products(tiny):
    found = bench_model(BenchRequest(preset="tiny", tasks=["frame"], dtype="bf16", repeats=1, batch=2))
    assert found["tasks"]["frame"]["weights_mb"] == pytest.approx(2 * found["parameters"]["dynamics"] / 1e6)
    assert found["batch"] == 2
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_gain_of_compilation_is_measured_beside(tiny):
    both = BenchRequest(
        preset="tiny", tasks=["dynamics", "play"], repeats=1, compare_compiled=True, compare_checkpointed=True
    )
    found = bench_model(both)
    for task in ("dynamics", "play"):
        assert found["tasks"][task]["compiled"]["time_ratio"] > 0
    assert found["tasks"]["dynamics"]["compiled_checkpointed"]["time_ratio"] > 0


def test_what_a_pass_keeps_is_counted_once_a_memory():
    x = torch.randn(1000, requires_grad=True)
    assert kept_mb(lambda: (x.exp() * 2).square().sum()) == pytest.approx(0.008)


def test_the_data_sheets_peak_stands_beside_the_measured_one_where_it_is_known():
    gpu = torch.device("cuda")
    assert sheet_peak(gpu, torch.bfloat16, "NVIDIA H200") == 989e12
    assert sheet_peak(gpu, torch.bfloat16, "Some GPU") is None
    assert sheet_peak(gpu, torch.float32, "NVIDIA H200") is None
    assert sheet_peak(torch.device("cpu"), torch.bfloat16) is None


@pytest.mark.heavy
def test_the_command_prints_one_object_and_names_what_it_does_not_know(short_bursts, capsys):
    assert main(["bench", "model", "--preset", "demo", "--task", "lam", "--rounds", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["preset"] == "demo"
    assert list(found["tasks"]) == ["lam"]
    for wrong in (["--preset", "huge"], ["--task", "walk"], ["--dtype", "fp8"], ["--threads", "0"], ["--batch", "0"]):
        assert main(["bench", "model", *wrong]) == 2
    with pytest.raises(UserError, match=r"'huge' is unknown: choose one of cc-small, cc-90p, coinrun, demo"):
        bench_model(BenchRequest(preset="huge"))


def test_the_presets_to_compare_by_are_of_their_published_sizes():
    small, large = COMPARED["cc-small"], COMPARED["cc-90p"]
    assert (small.latent_actions.patch, large.latent_actions.patch) == (4, 16)
    assert (small.dynamics.stack.d_model, large.dynamics.stack.d_model) == (256, 512)
    assert [large.tokenizer.encoder.layers, large.tokenizer.decoder.layers, large.dynamics.stack.layers] == [4, 8, 8]


def test_a_batch_that_a_gpu_cannot_hold_is_named_with_the_fix(tiny, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 518.00 MiB. GPU 0 has a total capacity of")

    monkeypatch.setattr(Dynamics, "loss", full)
    with pytest.raises(UserError, match=r"^dynamics, batch 3: CUDA out of memory. Lower --batch.$"):
        bench_model(BenchRequest(preset="tiny", tasks=("dynamics",), batch=3))


@pytest.mark.parametrize(
    ("compiled", "checkpointed", "expected"),
    [
        (True, False, {"compiled": (True, False)}),
        (False, True, {"checkpointed": (False, True)}),
        (True, True, {"compiled": (True, False), "checkpointed": (False, True), "compiled_checkpointed": (True, True)}),
    ],
)
def test_each_variant_stands_beside_the_task_and_both_together_where_both_are_asked_for(
    tiny, monkeypatch, compiled, checkpointed, expected
):
    monkeypatch.setattr(Bench, "beside", lambda self, task, **how: {"how": tuple(how.values()), "time_ratio": 0.5})
    request = BenchRequest(
        preset="tiny", tasks=("dynamics",), repeats=1, compare_compiled=compiled, compare_checkpointed=checkpointed
    )
    told = []
    found = bench_model(request, on_progress=told.append)["tasks"]["dynamics"]
    assert {name: value["how"] for name, value in found.items() if isinstance(value, dict)} == expected
    assert ("  compiled and checkpointed: 0.50 x the time" in told[0]) == (compiled and checkpointed)


def test_a_variant_that_a_gpu_cannot_hold_takes_nothing_from_what_was_measured(tiny, monkeypatch):
    def full(self, task, **_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 116.00 MiB. GPU 0 has a total capacity of")

    monkeypatch.setattr(Bench, "beside", full)
    told = []
    request = BenchRequest(preset="tiny", tasks=("dynamics",), repeats=1, compare_checkpointed=True)
    found = bench_model(request, on_progress=told.append)["tasks"]["dynamics"]
    assert found["utilisation"] > 0
    assert found["checkpointed"] == {"reason": "CUDA out of memory"}
    assert told[0].endswith("checkpointed: not measured (CUDA out of memory): lower --batch")
