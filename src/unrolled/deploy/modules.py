"""A torch model as a plan: recurrent modules, stacks, a trained network, an estimator, a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

import unrolled.nn
from unrolled.deploy.plain import REVERSE, scales_of
from unrolled.deploy.plan import (
    Activation,
    Array,
    Layer,
    LayerNorm,
    Linear,
    Plan,
    Recurrent,
    Scales,
    Weights,
)
from unrolled.errors import InputError
from unrolled.model import Network, Run, Scaler

EXPECTED = (
    "A run folder, a run, a fitted SequenceRegressor, an RNN, LSTM or GRU, or a "
    "torch.nn.Sequential of these with Linear, LayerNorm, Dropout and activations was expected"
)

KINDS: tuple[type[nn.Module], ...] = (
    *(unrolled.nn.RNN, unrolled.nn.LSTM, unrolled.nn.GRU, nn.RNN, nn.LSTM, nn.GRU),
    *(nn.Linear, nn.LayerNorm, nn.Dropout, nn.Identity, nn.Tanh, nn.Sigmoid, nn.ReLU),
    *(nn.LeakyReLU, nn.ELU, nn.SiLU, nn.Softplus, nn.GELU, Network),
)
"""What a stream can be made of, ours before the classes of torch that they are made from."""


def plan_of(model: Any) -> Plan:
    """The plan of a model in memory; its weights are copied.

    Raises:
        InputError: it is none that can stream, for the reason that is given.
    """
    if isinstance(model, Run):
        return _plan_of_run(model)
    if isinstance(model, nn.Module):
        return _plan(model, "")
    if hasattr(model, "network_"):
        return _plan_of_estimator(model)
    if hasattr(model, "fit") and hasattr(model, "predict"):
        raise InputError(f"{type(model).__name__} is not fitted. Call its fit first")
    raise InputError(f"{type(model).__name__} can't be streamed. {EXPECTED}")


def _plan_of_run(run: Run) -> Plan:
    table = run.table
    scalers = _scalers(run.input_scaler, run.target_scaler)
    return Plan(
        **_network(run.network),
        scales=scales_of(scalers, table.inputs, table.targets, difference=table.difference),
        inputs=tuple(table.inputs),
        targets=tuple(table.targets),
        group=table.group,
        ahead=table.ahead,
    )


def _plan_of_estimator(estimator: Any) -> Plan:
    network: Network = estimator.network_
    sizes = network.config.input_size, network.config.output_size
    scalers = _scalers(estimator.input_scaler_, estimator.target_scaler_)
    scales = Scales.of(scalers, (False,) * sizes[0], (-1,) * sizes[1])
    return Plan(**_network(network), scales=scales)


def _scalers(input_scaler: Scaler, target_scaler: Scaler) -> dict[str, Array]:
    sides = {"input": input_scaler, "target": target_scaler}
    return {
        f"{side}.{part}": getattr(scaler, part).copy()
        for side, scaler in sides.items()
        for part in ("mean", "scale")
    }


def _network(network: Network) -> dict[str, Any]:
    """What scalers stand around, in a run and in an estimator."""
    plan = _plan(network, "")
    return {name: getattr(plan, name) for name in ("dtype", "input_size", "output_size", "layers")}


def _plan(module: nn.Module, name: str) -> Plan:
    if not any(isinstance(part, nn.RNNBase) for part in module.modules()):
        raise InputError(f"{type(module).__name__} has no recurrent module. {EXPECTED}")
    numbers = {str(p.dtype).removeprefix("torch.") for p in module.parameters()}
    if len(numbers) != 1 or not numbers <= {"float32", "float64"}:
        raise InputError(
            f"weights of one type, float32 or float64, were expected, got "
            f"{', '.join(sorted(numbers))}. Convert them with model.float() or model.double()"
        )
    layers = list(_layers(module, name))
    inputs, size = None, None
    for layer in layers:
        read = _input_size(layer)
        if None not in (read, size) and read != size:
            kind = type(layer).__name__
            raise InputError(
                f"a {kind} reads {read} numbers, and what stands before it gives {size}"
            )
        inputs = read if inputs is None else inputs
        size = _output_size(layer) or size
    assert inputs is not None
    assert size is not None
    if sum(isinstance(layer, Recurrent) for layer in layers) == 1:  # its states need no place
        layers = [replace(x, name="") if isinstance(x, Recurrent) else x for x in layers]
    return Plan(numbers.pop(), inputs, size, tuple(layers))


def _input_size(layer: Layer) -> int | None:
    """How many numbers a layer reads; None of any number."""
    match layer:
        case Recurrent(_, weights):
            return int(weights[0].ih.shape[1])
        case Linear(weight, _):
            return int(weight.shape[1])
        case LayerNorm(size):
            return size
        case Activation():
            return None


def _output_size(layer: Layer) -> int | None:
    """How many numbers come out; None for as many as went in."""
    match layer:
        case Recurrent():
            return layer.output_size
        case Linear(weight, _):
            return int(weight.shape[0])
        case LayerNorm() | Activation():
            return None


def _layers(module: nn.Module, name: str) -> Iterator[Layer]:
    _insist_on_nothing_more(module, name)
    if isinstance(module, nn.RNNBase):
        yield _recurrent(module, name)
    elif isinstance(module, Network | nn.Sequential | nn.ModuleList):
        for key, child in module.named_children():
            yield from _layers(child, f"{name}.{key}" if name else key)
    elif isinstance(module, nn.Linear):
        yield Linear(_array(module.weight), _array_or_none(module.bias))
    elif isinstance(module, nn.LayerNorm):
        if len(module.normalized_shape) != 1:
            raise InputError(
                f"a LayerNorm over one dimension was expected, got {list(module.normalized_shape)}"
            )
        affine = _array_or_none(module.weight), _array_or_none(module.bias)
        yield LayerNorm(module.normalized_shape[0], *affine, module.eps)
    elif isinstance(module, nn.Identity):
        return
    elif isinstance(module, nn.Dropout):
        _insist_on_eval(module, module.p)
    else:
        yield _activation(module, name)


def _insist_on_nothing_more(module: nn.Module, name: str) -> None:
    """That a module computes what its weights say, and no code of its own."""
    where = f"{name or 'the model'} ({type(module).__name__})"
    if module._forward_hooks or module._forward_pre_hooks:
        raise InputError(f"{where} has forward hooks, which a stream would not run. Remove them")
    kind = next((kind for kind in KINDS if isinstance(module, kind)), None)
    if kind is not None and type(module).forward is not kind.forward:
        raise InputError(
            f"{where} has a forward of its own, which a stream can't read from its weights. "
            "Put the modules that it is made of into a torch.nn.Sequential"
        )


def _recurrent(module: nn.RNNBase, name: str) -> Recurrent:
    if module.bidirectional:
        raise InputError(
            f"can't be streamed: {name or 'the ' + type(module).__name__} {REVERSE}. "
            "Use a model with bidirectional=False"
        )
    _insist_on_eval(module, module.dropout if module.num_layers > 1 else 0.0)
    weights = tuple(
        Weights(
            _array(getattr(module, f"weight_ih_l{layer}")),
            _array(getattr(module, f"weight_hh_l{layer}")),
            *[
                _array_or_none(getattr(module, f"{part}_l{layer}", None))
                for part in ("bias_ih", "bias_hh", "weight_hr")
            ],
        )
        for layer in range(module.num_layers)
    )
    return Recurrent(module.mode, weights, name)


def _insist_on_eval(module: nn.Module, dropout: float) -> None:
    if module.training and dropout > 0:
        raise InputError(
            f"a {type(module).__name__} with dropout={dropout:g} is in training mode, in which it "
            "zeroes numbers at random. Call model.eval() first"
        )


def _activation(module: nn.Module, name: str) -> Activation:
    match module:
        case nn.Tanh():
            return Activation("tanh")
        case nn.Sigmoid():
            return Activation("sigmoid")
        case nn.ReLU():
            return Activation("relu")
        case nn.LeakyReLU():
            return Activation("leaky_relu", float(module.negative_slope))
        case nn.ELU():
            return Activation("elu", float(module.alpha))
        case nn.SiLU():
            return Activation("silu")
        case nn.Softplus() if module.threshold == 20:
            return Activation("softplus", float(module.beta))
        case nn.GELU():
            return Activation("gelu" if module.approximate == "none" else "gelu_tanh")
    where = f"{name}: " if name else ""
    raise InputError(f"{where}{type(module).__name__} can't be streamed. {EXPECTED}")


def _array(tensor: Tensor) -> Array:
    copied: Array = tensor.detach().to("cpu", copy=True).numpy()
    return copied


def _array_or_none(tensor: Tensor | None) -> Array | None:
    return None if tensor is None else _array(tensor)
