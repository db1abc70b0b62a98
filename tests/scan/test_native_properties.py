"""The compiled core against the reference on whatever hypothesis thinks of."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import unrolled
from support_native import assert_like_the_reference
from unrolled.scan import native

if not native.is_built():
    pytest.skip("built without a compiler", allow_module_level=True)

MODULES = (unrolled.RNN, unrolled.LSTM, unrolled.GRU)


@st.composite
def lengths_of(draw, batch, steps):
    """No lengths, all equal, or any: zeros and ones, sorted or not."""
    kind = draw(st.sampled_from(["none", "equal", "any", "sorted"]))
    if kind == "none":
        return None
    if kind == "equal":
        return [draw(st.integers(0, steps))] * batch
    lengths = draw(st.lists(st.integers(0, steps), min_size=batch, max_size=batch))
    return sorted(lengths, reverse=True) if kind == "sorted" else lengths


@st.composite
def strided(draw, *shape, dtype):
    """A tensor of this shape that may lie in memory in any order, with gaps or expanded."""
    layout = draw(st.sampled_from(["plain", "permuted", "gaps", "expanded"]))
    if layout == "permuted":
        order = draw(st.permutations(range(len(shape))))
        inverse = [order.index(i) for i in range(len(shape))]
        return torch.randn([shape[i] for i in order], dtype=dtype).permute(inverse)
    if layout == "gaps":
        return torch.randn([2 * size for size in shape], dtype=dtype)[1::2, 1::2, 1::2]
    if layout == "expanded":
        return torch.randn(1, *shape[1:], dtype=dtype).expand(shape)
    return torch.randn(shape, dtype=dtype)


@st.composite
def states_of(draw, module, batch):
    """None, or states that are wanted gradients of and may not lie dense."""
    if not draw(st.booleans()):
        return None
    depth = module.num_layers * (2 if module.bidirectional else 1)
    widths = [module.proj_size or module.hidden_size]
    widths += [module.hidden_size] * (module.mode == "LSTM")
    dtype = module.weight_hh_l0.dtype
    states = [draw(strided(depth, batch, width, dtype=dtype)).detach() for width in widths]
    wanted = tuple(state.requires_grad_() for state in states)
    return wanted if len(wanted) > 1 else wanted[0]


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_shape_lengths_states_strides_and_threads(data):
    steps, batch, inputs = (data.draw(st.integers(1, high)) for high in (12, 17, 9))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    kind = data.draw(st.sampled_from(MODULES))
    hidden = data.draw(st.integers(2, 40))
    options = {
        "num_layers": data.draw(st.integers(1, 3)),
        "bidirectional": data.draw(st.booleans()),
    }
    if kind is unrolled.LSTM and data.draw(st.booleans()):
        options["proj_size"] = data.draw(st.integers(1, hidden - 1))
    module = kind(
        inputs,
        hidden,
        bias=data.draw(st.booleans()),
        batch_first=data.draw(st.booleans()),
        dtype=dtype,
        **options,
    )
    shape = (batch, steps, inputs) if module.batch_first else (steps, batch, inputs)
    x = data.draw(strided(*shape, dtype=dtype)).detach().requires_grad_()
    hx = data.draw(states_of(module, batch))
    module.recompute_every = data.draw(st.none() | st.integers(1, steps + 1))
    torch.set_num_threads(data.draw(st.sampled_from([1, 1, 1, 2])))
    assert_like_the_reference(module, x, hx, data.draw(lengths_of(batch, steps)))
