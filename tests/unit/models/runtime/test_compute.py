import ctypes
import dataclasses
import importlib.util
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from models.networks.attention import attend
from models.networks.frame_cache import FrameCache
from models.networks.transformer import STTransformer
from models.runtime import compute
from models.runtime.compute import (
    Compute,
    choose_compute,
    compile_played_frame,
    intra_op_threads,
    prepare_training,
)
from pipeline.config import parse_config
from pipeline.config.training import TrainingConfig
from pipeline.config.world import StackConfig
from pipeline.errors import UserError
from tests.networks import randomize

CPU = torch.device("cpu")
inductor = pytest.mark.filterwarnings("ignore")  # the compiler's own


@pytest.fixture
def attention_flags():
    """What a process says of attention on a GPU is as it was before."""
    enabled, tag = torch.backends.cuda.cudnn_sdp_enabled(), torch.compiler.config.cache_key_tag
    yield
    torch.backends.cuda.enable_cudnn_sdp(enabled)
    torch.compiler.config.cache_key_tag = tag


def test_a_gpu_never_attends_by_cudnn_nor_by_code_that_was_compiled_to(attention_flags, monkeypatch):
    torch.backends.cuda.enable_cudnn_sdp(True)
    monkeypatch.setattr(torch.compiler.config, "cache_key_tag", "mine-")
    Compute(CPU, torch.float32, "test")
    assert (torch.backends.cuda.cudnn_sdp_enabled(), torch.compiler.config.cache_key_tag) == (True, "mine-")
    for _ in range(2):
        Compute(torch.device("cuda"), torch.bfloat16, "test")
        assert not torch.backends.cuda.cudnn_sdp_enabled()
        assert torch.compiler.config.cache_key_tag == "mine-attention-without-cudnn"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gradients_of_attention_are_finite_where_all_scores_are_low():
    Compute(torch.device("cuda"), torch.bfloat16, "test")
    shape = (4, 8, 64, 32)  # 64 keys, as of 8 x 8 patches
    q, k, v = (torch.randn(shape, device="cuda", dtype=torch.bfloat16) * 0.1 for _ in range(3))
    q[..., 0], k[..., 0] = 1.0, -120 * shape[-1] ** 0.5
    for x in (q, k, v):
        x.requires_grad_()
    y = attend(q, k, v)
    y.backward(torch.randn_like(y))
    assert all(bool(torch.isfinite(x.grad).all()) for x in (q, k, v))


def test_the_dtype_asked_for_is_taken():
    compute = choose_compute(TrainingConfig(device="cpu", dtype="fp32"))
    assert (compute.device.type, compute.dtype) == ("cpu", torch.float32)
    with compute.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    with choose_compute(TrainingConfig(device="cpu", dtype="bf16")).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_an_automatic_choice_says_why():
    assert "bf16" in choose_compute(TrainingConfig(device="cpu")).reason


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_named_with_the_fix():
    with pytest.raises(UserError, match=r"training.device = 'cuda'.*'auto' or 'cpu'"):
        choose_compute(TrainingConfig(device="cuda"))


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with intra_op_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_all_cores_are_used_unless_a_number_is_asked_for():
    assert choose_compute(TrainingConfig(device="cpu", threads=3)).threads == 3
    assert choose_compute(TrainingConfig(device="cpu")).threads >= 1


def stack(layers=3):
    torch.manual_seed(0)
    made = STTransformer(StackConfig(layers=layers, d_model=16, heads=2, head_dim=8, qk_norm=True), (2, 3), 4)
    randomize(made, std=0.3)
    return made


def gradients_and_kept(network, x):
    """Return the gradients of a pass, and how many numbers were kept for its backward pass."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t.numel()), t)[1], lambda t: t):
        loss = network(x).square().mean()
    return torch.autograd.grad(loss, list(network.parameters())), sum(kept)


def test_checkpointed_blocks_keep_less_and_give_the_same_gradients():
    network, x = stack(), torch.randn(2, 4, 6, 16)
    plain, kept = gradients_and_kept(network, x)
    assert (
        prepare_training(network, TrainingConfig(activation_checkpointing="on"), CPU, steps=9)
        == "activations checkpointed"
    )
    again, kept_less = gradients_and_kept(network, x)
    assert kept_less < kept / 3
    for ours, its in zip(again, plain, strict=True):
        assert torch.equal(ours, its)


def test_activations_are_checkpointed_from_200_million_parameters_on():
    config = StackConfig(layers=1, d_model=5000, heads=1, head_dim=8)
    with torch.device("meta"):
        small, large = (STTransformer(dataclasses.replace(config, ffw_multiple=f), (1, 1), 2) for f in (3.9, 4.1))
    assert prepare_training(small, TrainingConfig(), CPU, steps=9) == ""
    assert prepare_training(large, TrainingConfig(), CPU, steps=9) == "activations checkpointed"
    assert prepare_training(large, TrainingConfig(activation_checkpointing="off"), CPU, steps=9) == ""
    assert not large.checkpointing


@pytest.mark.slow
@inductor
def test_compiled_blocks_learn_the_same_under_the_same_names():
    network, x = stack(layers=1), torch.randn(2, 4, 6, 16)
    names, (plain, _) = list(network.state_dict()), gradients_and_kept(network, x)
    assert prepare_training(network, TrainingConfig(compile="on"), CPU, steps=9) == "blocks compiled"
    compiled, _ = gradients_and_kept(network, x)
    assert list(network.state_dict()) == names
    for ours, its in zip(compiled, plain, strict=True):
        torch.testing.assert_close(ours, its, rtol=1e-4, atol=1e-6)


COMPILERS = {
    "traced": lambda network: setattr(
        network, "after_past", torch.compile(network.after_past, fullgraph=True, dynamic=False, backend="eager")
    ),
    "compiled": lambda network: compile_played_frame(network, CPU),
}


@inductor
@torch.inference_mode()
@pytest.mark.parametrize("how", ["traced", pytest.param("compiled", marks=pytest.mark.slow)])
def test_a_played_frame_is_one_graph_for_all_frames_of_a_ring(how):
    network, x = stack(layers=1), torch.randn(1, 13, 6, 16)

    def played():
        cache = FrameCache(4, ring=True)
        return [network(x[:, t : t + 1], cache, keep=True) for t in range(13)]

    plain = played()
    torch._dynamo.utils.counters.clear()
    COMPILERS[how](network)
    for ours, its in zip(played(), plain, strict=True):
        torch.testing.assert_close(ours, its, rtol=1e-4, atol=1e-5)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


FREED = """
import ctypes, sys, torch
from models.runtime.compute import hold_memory

class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd u f uordblks fordblks k".split()]

held = hold_memory() if sys.argv[1] == "held" else None
mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Mallinfo
# a step: four tensors of 20 MB, freed at its end
step = [torch.ones(5_000_000) for _ in range(4)]
used = mallinfo().uordblks + mallinfo().hblkhd
del step
print(held, used, mallinfo().fordblks)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="nothing is held elsewhere")
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="glibc before 2.33 does not say what it holds")
@pytest.mark.parametrize("how", ["held", "given back"])
@pytest.mark.heavy
def test_memory_that_a_step_frees_is_held_for_the_next(how):
    made = subprocess.run(
        [sys.executable, "-c", FREED, how], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[4]
    )
    held, used, free = made.stdout.split()
    assert held == {"held": "True", "given back": "None"}[how]
    assert int(used) > 80e6, "malloc counts the step's tensors"
    assert (int(free) > 80e6) is (how == "held")


def test_a_missing_compiler_is_named_with_the_fix(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match=r"'no-such-compiler'.*apt-get install g\+\+.*training.compile = off"):
        prepare_training(stack(), TrainingConfig(compile="on"), CPU, steps=9)


GPU = torch.device("cuda")


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    """The compiler beside a GPU, which is none: nothing here computes on it."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    found = tmp_path / "gcc"
    found.write_text("")
    found.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    return found


@pytest.fixture
def compiled(monkeypatch):
    """The networks whose blocks were to be compiled."""
    networks = []
    monkeypatch.setattr(compute, "compile_blocks", lambda network, device: networks.append(network))
    return networks


def test_blocks_of_a_long_training_on_a_gpu_are_compiled_and_of_no_other(compiler, compiled):
    network = stack()
    for config, device, steps in (
        (TrainingConfig(), CPU, 300_000),
        (TrainingConfig(), GPU, 999),
        (TrainingConfig(compile="off"), GPU, 300_000),
        (TrainingConfig(weights="sharded"), GPU, 300_000),
    ):
        assert prepare_training(network, config, device, steps=steps) == ""
    twice = TrainingConfig(activation_checkpointing="on")
    assert prepare_training(network, twice, GPU, steps=300_000) == "activations checkpointed"
    assert not compiled
    assert prepare_training(network, TrainingConfig(), GPU, steps=1000) == "blocks compiled"
    assert compiled == [network]


def test_without_a_compiler_a_training_on_a_gpu_goes_on_and_says_what_to_install(compiler, compiled, monkeypatch):
    compiler.unlink()
    network = stack()
    told = prepare_training(network, TrainingConfig(), GPU, steps=1000)
    assert told.startswith("blocks not compiled, so steps are slower: there is no C compiler (gcc or clang)")
    assert "apt-get install gcc" in told
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
    assert "this GPU is too old" in prepare_training(network, TrainingConfig(), GPU, steps=1000)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "triton" in prepare_training(network, TrainingConfig(), GPU, steps=1000)
    assert not compiled


def test_a_file_of_before_says_true_or_false():
    read = {text: parse_config(yaml.safe_load(f"training: {{compile: {text}}}")).training.compile
            for text in ("true", "off", "'auto'")}  # fmt: skip
    assert read == {"true": "on", "off": "off", "'auto'": "auto"}
