import pytest
import torch

from models.networks.attention import attend, block_causal_mask, kernel_for, rotary_table

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def rows(queries=5, keys=5, heads=4, groups=4, dtype=torch.float64):
    torch.manual_seed(0)
    return (
        torch.randn(6, heads, queries, 8, dtype=dtype),
        torch.randn(6, groups, keys, 8, dtype=dtype),
        torch.randn(6, groups, keys, 8, dtype=dtype),
    )


def by_definition(q, k, v, bias):
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
    weights = torch.einsum("nhqc,nhkc->nhqk", q, k) / q.shape[-1] ** 0.5 + bias
    weights = weights.exp() / weights.exp().sum(-1, keepdim=True)
    return torch.einsum("nhqk,nhkc->nhqc", weights, v)


@pytest.mark.parametrize("groups", [1, 2, 4], ids="{} heads of keys".format)
@pytest.mark.parametrize("causal", [False, True], ids=["all keys", "earlier keys"])
@pytest.mark.parametrize("kernel", ["fused", "plain", "packed"])
def test_every_kernel_computes_what_attention_is_defined_to_be(kernel, causal, groups):
    q, k, v = rows(groups=groups)
    hidden = torch.full((5, 5), float("-inf")).triu(1) if causal else torch.zeros(5, 5)
    found = attend(q, k, v, causal=causal, kernel=kernel)
    torch.testing.assert_close(found, by_definition(q, k, v, hidden), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", ["fused", "plain"])
def test_a_bias_of_each_head_adds_to_the_scores_and_to_what_causality_hides(kernel):
    q, k, v = rows(groups=2)
    bias = torch.randn(4, 5, 5, dtype=torch.float64)
    hidden = torch.full((5, 5), float("-inf")).triu(1)
    torch.testing.assert_close(attend(q, k, v, bias, kernel=kernel), by_definition(q, k, v, bias))
    found = attend(q, k, v, bias, causal=True, kernel=kernel)
    torch.testing.assert_close(found, by_definition(q, k, v, bias + hidden))


@pytest.mark.parametrize("kernel", ["fused", "plain", "packed"])
def test_kernels_agree_on_gradients(kernel):
    q, k, v = (x.requires_grad_() for x in rows(groups=1))
    weight = torch.randn(6, 4, 5, 8, dtype=torch.float64)
    expected = torch.autograd.grad((by_definition(q, k, v, torch.zeros(5, 5)) * weight).sum(), (q, k, v))
    found = torch.autograd.grad((attend(q, k, v, kernel=kernel) * weight).sum(), (q, k, v))
    for ours, its in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, its, rtol=0, atol=1e-10)


def test_sequences_that_are_packed_together_do_not_see_each_other():
    q, k, v = rows()
    found, changed = attend(q, k, v, kernel="packed"), v.clone()
    changed[2] += 1
    moved = attend(q, k, changed, kernel="packed")
    assert [bool((found[n] != moved[n]).any()) for n in range(6)] == [False, False, True, False, False, False]


def test_the_kernel_follows_device_dtype_and_length():
    assert kernel_for(CPU, torch.float32, 16, 16) == kernel_for(CPU, torch.float32, 256, 256) == "fused"
    assert kernel_for(CPU, torch.bfloat16, 16, 16) == kernel_for(CPU, torch.bfloat16, 256, 256) == "plain"
    assert kernel_for(GPU, torch.bfloat16, 16, 16) == "packed"
    assert kernel_for(GPU, torch.bfloat16, 920, 920) == "fused"
    assert kernel_for(GPU, torch.bfloat16, 1, 16) == "plain", "a cached frame is one query a sequence"


def test_a_token_sees_all_tokens_of_its_frame_and_of_earlier_ones():
    seen = block_causal_mask(3, 2, CPU) == 0
    assert seen[2:4].tolist() == [[True] * 4 + [False] * 2] * 2


def test_angles_are_fp32_however_coarse_the_products():
    cosines, _ = rotary_table(10_001, 8, CPU, torch.float32)
    exact = torch.cos(torch.tensor(10_000.0, dtype=torch.float64))
    assert cosines.dtype == torch.float32
    assert abs(float(cosines[10_000, 0]) - float(exact)) < 1e-3
