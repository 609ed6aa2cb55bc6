"""Store a graph's weights in 16 bits: half the bytes, while all products stay fp32.

Each large fp32 weight becomes fp16 and a cast back to fp32, which the runtime carries out once, when it loads the
graph. A weight moves by at most 1/2048 of its size.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_LEAST = 64
"""Values of a weight that is worth a cast."""
_LARGEST = float(np.finfo(np.float16).max)


def in_half(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a graph whose large fp32 weights are fp16, each behind a cast; others stay as they are.

    A weight with a value that fp16 cannot hold (above 65,504) stays fp32.
    """
    made = onnx.ModelProto()
    made.CopyFrom(graph)
    casts = []
    for weight in made.graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.data_type != TensorProto.FLOAT or values.size < _LEAST or np.abs(values).max() > _LARGEST:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [weight.name], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    nodes = [*casts, *made.graph.node]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


def weight_bytes(graph: onnx.ModelProto) -> int:
    """Return how many bytes the weights of a graph take."""
    return sum(numpy_helper.to_array(weight).nbytes for weight in graph.graph.initializer)
