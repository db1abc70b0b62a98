"""How a small change of the state at one step changes the state at the next, from a trace."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from unrolled.scan import Weights


def state_jacobians(mode: str, values: Mapping[str, Tensor], w: Weights) -> Tensor:
    """∂s_t/∂s_{t−1} along a trajectory, in closed form from the recorded gates.

    The joint state s is the hidden state, for an LSTM followed by the cell state. With U the
    hidden weights of a gate, ⊙ by rows, and primes for the step before::

        RNN    ∂h/∂h' = (1 − h²) ⊙ U, or U where h > 0 and 0 elsewhere for max(0, ·)
        LSTM   ∂c/∂c' = diag f
               ∂c/∂h' = c'f(1−f) ⊙ U_f + gi(1−i) ⊙ U_i + i(1−g²) ⊙ U_g
               ∂h/∂·  = o(1 − tanh²c) ⊙ ∂c/∂· + tanh(c) o(1−o) ⊙ U_o (by h' alone), projected
        GRU    ∂h/∂h' = diag z + (1−z)(1−n²) ⊙ (r ⊙ U_n + m r(1−r) ⊙ U_r) + (h'−n)z(1−z) ⊙ U_z
               with m = U_n·h' + b_hn

    They follow from the equations in the modules' docstrings.

    Args:
        mode: torch's name of the cell, as ``RNN_TANH`` or ``LSTM``.
        values: the gates and states of one layer in one direction by name, [T, ..., H], in the
            order in which the layer reads the steps.
        w: that layer's and direction's weights.

    Returns:
        [T − 1, ..., n, n]: from each step to the next; n is H, for an LSTM P + H.
    """
    now = {name: value[1:] for name, value in values.items()}
    before = values["hidden"][:-1]
    if mode in ("RNN_TANH", "RNN_RELU"):
        h = now["hidden"]
        slope = 1 - h.square() if mode == "RNN_TANH" else (h > 0).to(h.dtype)
        return _rows(slope, w.hh)
    if mode == "GRU":
        u_r, u_z, u_n = w.hh.chunk(3)
        r, z, n = now["reset"], now["update"], now["candidate"]
        m = before @ u_n.T
        if w.bias_hh is not None:
            m = m + w.bias_hh.chunk(3)[2]
        by_candidate = _rows(r, u_n) + _rows(m * r * (1 - r), u_r)
        return (
            torch.diag_embed(z)
            + ((1 - z) * (1 - n.square())).unsqueeze(-1) * by_candidate
            + _rows((before - n) * z * (1 - z), u_z)
        )
    u_i, u_f, u_g, u_o = w.hh.chunk(4)
    i, f, g, o = (now[name] for name in ("input", "forget", "candidate", "output"))
    tanh_c = torch.tanh(now["cell"])
    c_by_h = (
        _rows(values["cell"][:-1] * f * (1 - f), u_f)
        + _rows(g * i * (1 - i), u_i)
        + _rows(i * (1 - g.square()), u_g)
    )
    shown = (o * (1 - tanh_c.square())).unsqueeze(-1)
    c_by_c = torch.diag_embed(f)
    h_by_h, h_by_c = shown * c_by_h + _rows(tanh_c * o * (1 - o), u_o), shown * c_by_c
    if w.hr is not None:
        h_by_h, h_by_c = w.hr @ h_by_h, w.hr @ h_by_c
    return torch.cat([torch.cat([h_by_h, h_by_c], -1), torch.cat([c_by_h, c_by_c], -1)], -2)


def _rows(factor: Tensor, matrix: Tensor) -> Tensor:
    """diag(factor)·matrix for each [..., H]."""
    return factor.unsqueeze(-1) * matrix


def lyapunov_spectrum(jacobians: Tensor, transient: int) -> Tensor:
    """The exponents at which small differences of the state grow or shrink, per step.

    λ_i = lim (1/T) Σ_t ln |R_t,ii|, where Q_t·R_t = J_t·Q_{t−1}: Benettin et al. 1980 (Meccanica
    15); for recurrent networks Engelken, Wolf & Abbott 2023, "Lyapunov spectra of chaotic
    recurrent neural networks" (Phys. Rev. Research 5), and Vogt et al. 2022, "On Lyapunov exponents
    for RNNs" (Front. Appl. Math. Stat. 8).

    Args:
        jacobians: ∂s_t/∂s_{t−1} [T, ..., n, n].
        transient: so many steps turn the directions, and are not counted.

    Returns:
        [..., n], the largest first, in nats a step; −inf where a direction is lost altogether.
    """
    q = torch.eye(jacobians.shape[-1], dtype=jacobians.dtype, device=jacobians.device)
    q = q.expand(jacobians.shape[1:]).clone()
    total = torch.zeros(jacobians.shape[1:-1], dtype=jacobians.dtype, device=jacobians.device)
    for step, jacobian in enumerate(jacobians):
        q, r = torch.linalg.qr(jacobian @ q)
        if step >= transient:
            total += r.diagonal(dim1=-2, dim2=-1).abs().log()
    return (total / max(len(jacobians) - transient, 1)).sort(-1, descending=True).values
