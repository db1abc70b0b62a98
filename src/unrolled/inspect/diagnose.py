"""Measuring how far a model remembers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from unrolled.errors import InputError
from unrolled.inspect import counting, gates, lags
from unrolled.inspect.diagnosis import Diagnosis, Lyapunov
from unrolled.inspect.jacobian import lyapunov_spectrum, state_jacobians
from unrolled.inspect.record import Loss, last_outputs, record
from unrolled.inspect.steps import Layer, layers_of
from unrolled.inspect.trace import Trace
from unrolled.nn.checks import Lengths, checked_lengths
from unrolled.resources import check_memory

LEAST_STEPS = 3
MOST_OUTPUTS = 16
"""The saliency of more outputs is estimated by so many random signs."""


def diagnose(
    model: torch.nn.Module,
    inputs: Tensor,
    target: Tensor | None = None,
    loss: Loss | None = None,
    lengths: Lengths | None = None,
    *,
    module: str | None = None,
    ends: int = 8,
    horizon_share: float = 0.01,
    vanishing: float = 0.01,
    exploding: float = 100.0,
    rows: int = 4,
) -> Diagnosis:
    """Measures how far a model's recurrent module remembers on these data.

    The model runs in eval mode, several times; its weights and gradients are not touched.

    Args:
        model: as for :func:`unrolled.record`; called with ``inputs``, and with ``lengths=`` if
            they are given.
        inputs: a batch as the recurrent module reads it: [T, B, I], [B, T, I] with
            ``batch_first``, or [T, I]. A few dozen rows are plenty.
        target: for the loss: [T, B, ...] or [B, T, ...] with a value a step, or [B, ...] with one a
            row.
        loss: called with the outputs [B, F] at an end step and, if there is one, the target there;
            returns a number. Without one it is the sum of the outputs.
        lengths: how many steps of each row are real.
        module: the path of the recurrent module; None where there is one only.
        ends: the gradient by lag is averaged over so many end steps, from the middle of each row
            to its last step; the model is run on the steps before each.
        horizon_share: of g(0), at which the memory is called over.
        vanishing: below this share of g(0) at the largest lag the verdict is "vanishing",
        exploding: and above this one "exploding".
        rows: the Lyapunov spectrum is the mean over so many rows of the batch.

    Returns:
        The diagnosis; ``print`` it for its letter.

    Raises:
        InputError: the inputs have fewer than 3 steps or no rows, or what
            :func:`unrolled.record` refuses.
    """
    with _in_eval_mode(model):
        whole = record(model, inputs, lengths=lengths)
        name = whole.named(module)
        recurrent: Any = model.get_submodule(name)
        if isinstance(recurrent, torch.nn.RNNCellBase):
            raise InputError(
                f"{name!r} is a cell, which takes its steps one by one in the model's own loop. "
                "To measure its memory put an RNN, LSTM or GRU with its weights in its place"
            )
        if len(whole.masks[name]) < LEAST_STEPS:
            raise InputError(f"{LEAST_STEPS} steps at least are needed to speak of memory")
        if not whole.masks[name].shape[1]:
            raise InputError("the batch has no rows: give at least one")
        _check_finite(whole, name, recurrent.num_layers)
        run = _Runs(model, inputs, target, loss, lengths, recurrent)
        by_lag = run.gradient_by_lag(name, ends)
        saliency = run.saliency_by_lag()
    layers = recurrent.num_layers
    steps = layers_of(recurrent, whole, name)
    return Diagnosis(
        module=name,
        cell=whole.given[name].name,
        description=whole.given[name].cell,
        steps=len(whole.masks[name]),
        gradient_by_lag=by_lag,
        decay=lags.fitted_decay(by_lag),
        horizon=lags.horizon(by_lag, horizon_share),
        horizon_share=horizon_share,
        verdict=lags.verdict(by_lag, vanishing, exploding),
        thresholds=(vanishing, exploding),
        lyapunov=None if recurrent.bidirectional else _lyapunov(steps, whole.masks[name], rows),
        memories=gates.memories(steps),
        saliency_by_lag=saliency,
        saturation=gates.saturation(whole, name, layers),
        dead_units=gates.dead_units(whole, name, layers),
        counters=counting.of_one_hot(whole, name),
    )


class _Runs:
    """The model on the steps before one end or another."""

    def __init__(
        self,
        model: torch.nn.Module,
        inputs: Tensor,
        target: Tensor | None,
        loss: Loss | None,
        lengths: Lengths | None,
        recurrent: Any,
    ) -> None:
        self.model, self.inputs, self.target, self.loss = model, inputs, target, loss
        self.batch_first = bool(recurrent.batch_first)
        self.layers: int = recurrent.num_layers
        self.time = 1 if self.batch_first and inputs.dim() == 3 else 0
        self.steps = inputs.shape[self.time]
        self.batch = inputs.shape[1 - self.time] if inputs.dim() == 3 else 1
        self.lengths = None
        if lengths is not None:
            self.lengths = checked_lengths(lengths, batch=self.batch, steps=self.steps)

    def gradient_by_lag(self, name: str, ends: int) -> Tensor:
        """g(k), see :class:`Diagnosis`."""
        mean = lags.MeanByLag(self.steps)
        shares = torch.linspace(0.5, 1, ends, device="cpu").tolist() if ends > 1 else [1.0]
        for share in shares:
            lengths = self._lengths(share)
            inputs, given = self._cut(lengths)

            def loss(output: Any, inputs: Tensor = inputs, lengths: Tensor = lengths) -> Tensor:
                return self._loss(output, inputs, lengths)

            trace = record(self.model, inputs, lengths=given, loss=loss)
            mean.add(lags.joint_norms(trace, name, self.layers), lengths)
        return mean.result()

    def saliency_by_lag(self) -> Tensor | None:
        """‖∂y_T/∂x_{T−k}‖, see :class:`Diagnosis`."""
        if not self.inputs.is_floating_point():
            return None
        x = self.inputs.detach().clone().requires_grad_()
        lengths = self._lengths(1.0)
        # cuDNN differentiates a model in training only.
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            output = self._call(x, self.lengths)
            y = last_outputs(output, (x,), self.lengths, batch_first=self.batch_first)
        y = y.reshape(len(y), -1)
        probes = torch.eye(y.shape[1], dtype=y.dtype, device=y.device)
        if len(probes) > MOST_OUTPUTS:
            generator = torch.Generator("cpu").manual_seed(0)
            shape = (MOST_OUTPUTS, y.shape[1])
            signs = torch.randint(0, 2, shape, generator=generator, device="cpu") * 2 - 1
            probes = signs.to(y) / MOST_OUTPUTS**0.5
        squares = torch.zeros_like(x)
        for probe in probes if y.requires_grad else ():  # all may be detached
            (gradient,) = torch.autograd.grad(
                (y * probe).sum(), x, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            squares += gradient.square()
        rows = squares.sum(-1) if self.inputs.dim() == 3 else squares.sum(-1).unsqueeze(1)
        mean = lags.MeanByLag(self.steps)
        mean.add((rows.T if self.time else rows).sqrt(), lengths)
        return mean.result()

    def _lengths(self, share: float) -> Tensor:
        """How many steps of each row come before an end, of those that there are."""
        whole = self.lengths
        if whole is None:
            whole = torch.full((self.batch,), self.steps, device="cpu")
        return (whole * share).ceil().long()

    def _cut(self, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        """The inputs before this end, and the lengths to hand to the model."""
        if self.lengths is not None:
            return self.inputs, lengths
        return self.inputs.narrow(self.time, 0, int(lengths[0])), None

    def _call(self, inputs: Tensor, lengths: Tensor | None) -> Any:
        return self.model(inputs) if lengths is None else self.model(inputs, lengths=lengths)

    def _loss(self, output: Any, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Of the outputs at the end."""
        given = None if self.lengths is None else lengths
        y = last_outputs(output, (inputs,), given, batch_first=self.batch_first)
        if self.loss is None:
            return y.sum()
        if self.target is None:
            return self.loss(y)
        return self.loss(y, self._target(lengths))

    def _target(self, lengths: Tensor) -> Tensor:
        """The target at the end of each row that has a step."""
        target = self.target
        assert target is not None
        a_step = self.inputs.shape[: self.inputs.dim() - 1]
        if target.shape[: len(a_step)] != a_step:
            return target[lengths > 0] if len(target) == len(lengths) else target
        if self.inputs.dim() == 2:
            return target[lengths - 1]
        by_step = target.transpose(0, 1) if self.time else target
        return by_step[(lengths - 1).clamp(min=0), torch.arange(self.batch, device="cpu")][
            lengths > 0
        ]


def _lyapunov(layers: list[Layer], mask: Tensor, rows: int) -> Lyapunov | None:
    lengths = mask.sum(0)
    chosen = [row for row in range(mask.shape[1]) if int(lengths[row]) >= LEAST_STEPS][:rows]
    if not chosen:
        return None
    steps, joint = int(lengths[chosen].max()), layers[0].joint_units
    check_memory(
        steps * joint**2 * 8,
        f"the Lyapunov spectrum of {joint:,} states over {steps:,} steps",
        "Give fewer steps, or a smaller network",
    )
    transient = (int(lengths[chosen].min()) - 1) // 5
    by_layer = []
    for layer in layers:
        spectra = [
            lyapunov_spectrum(state_jacobians(layer, row, int(lengths[row])), transient)
            for row in chosen
        ]
        by_layer.append(torch.stack(spectra).mean(0))
    exponents = torch.cat(by_layer).sort(descending=True).values
    return Lyapunov(exponents, tuple(by_layer), transient)


def _check_finite(trace: Trace, name: str, layers: int) -> None:
    output = trace.given[name].cell.output.name
    for layer in range(layers):
        wrong = ~trace.get(output, name, layer).isfinite().all(-1) & trace.masks[name]
        if wrong.any():
            step, row = wrong.nonzero()[0].tolist()
            raise InputError(
                f"the {output} state of layer {layer} is not finite from step {step} of row {row} "
                "on. Look for NaN or infinity in the inputs and the weights"
            )


@contextlib.contextmanager
def _in_eval_mode(model: torch.nn.Module) -> Iterator[None]:
    was = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in was:
            module.training = True
