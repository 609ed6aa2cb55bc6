"""Weights in 16 bits: half the bytes, nearly the same values."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.export.weights import in_half, weight_bytes


def product(values):
    weight = numpy_helper.from_array(np.asarray(values, np.float32), "weight")
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, len(values)])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, len(values[0])])
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "weight"], ["y"])], "g", [given], [made], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_large_weights_take_half_the_bytes_and_move_by_a_2048th_at_most():
    values = np.random.default_rng(0).normal(size=(16, 16))
    before = product(values)
    after = in_half(before)
    onnx.checker.check_model(after)
    assert weight_bytes(after) * 2 == weight_bytes(before)
    [weight] = after.graph.initializer
    np.testing.assert_allclose(numpy_helper.to_array(weight).astype(np.float32), values, rtol=1 / 2048, atol=1e-7)
    assert [node.op_type for node in after.graph.node] == ["Cast", "MatMul"]
    # the given graph stays as it was
    assert [node.op_type for node in before.graph.node] == ["MatMul"]


def test_small_weights_and_those_that_16_bits_cannot_hold_stay():
    assert in_half(product(np.ones((2, 2)))) == product(np.ones((2, 2)))
    large = product(np.full((16, 16), 70_000.0))
    assert in_half(large) == large
