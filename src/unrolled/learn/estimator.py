"""``SequenceRegressor``: a recurrent network with scikit-learn's manners."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted
from torch import Tensor

from unrolled.cells import Cell, Description
from unrolled.cells.built_in import DEFAULT
from unrolled.cells.in_runs import check_sizes, equations_of
from unrolled.learn.arrays import Batch, Goals, read_goals, read_sequences
from unrolled.learn.cell_choice import cell_of
from unrolled.learn.cells import SMALLEST, only_rounding, too_far, too_small
from unrolled.learn.columns import Array
from unrolled.learn.duration import AUTO, Limit, resolve
from unrolled.learn.features import BATCH_AT_ONCE
from unrolled.learn.footprint import check_fit
from unrolled.learn.kinds import check_kind
from unrolled.learn.loop import LARGEST_RATE, FitSettings, fit
from unrolled.learn.parameters import (
    above_zero,
    check_parameters,
    counts,
    one_of,
    share,
    whole,
    yes_or_no,
)
from unrolled.learn.runtime import alone_where_forked, reproducible
from unrolled.learn.train import masked_mse
from unrolled.learn.watch import PROBED, Probe, Record, watching
from unrolled.model import Network, NetworkConfig, Scaler
from unrolled.model.choice import CellName
from unrolled.model.network import Precision
from unrolled.model.scaler import MOST, MOST_SQUARED, is_rounding, moments
from unrolled.resources import LARGEST_SIZE, MOST_LAYERS

TargetChoice = Literal["auto", "step", "sequence"]

PARAMETERS = {
    "hidden_size": whole(most=LARGEST_SIZE),
    "sizes": counts(most=LARGEST_SIZE),
    "num_layers": whole(most=MOST_LAYERS),
    "bidirectional": yes_or_no(),
    "dropout": share(),
    "target": one_of(get_args(TargetChoice)),
    "epochs": whole(AUTO),
    "patience": whole(AUTO, None),
    "validation_fraction": share(),
    "batch_size": whole(),
    "learning_rate": above_zero(LARGEST_RATE),
    "clip": above_zero(math.inf, None),
    "precision": one_of(get_args(Precision)),
    "watch": yes_or_no(),
    "watch_every": whole(),
}
"""All but the cell, and the random state, which scikit-learn checks."""


class SequenceRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # no stubs
    """Predicts numbers from sequences with an Elman RNN, an LSTM, a GRU or another cell.

    X is [n, T, I], or [n, T] for one input, or a list of ragged [T_i, I]. y is one value for each
    sequence, [n] or [n, O], or one for each step, [n, T], [n, T, O] or a list of [T_i] or
    [T_i, O]. A y of shape [n, T] is read as steps where its second axis is as long as X's
    (``target`` says otherwise). Inputs and targets are standardised on the training sequences.

    Args:
        cell: "rnn", "lstm" or "gru", the name of a cell in ``unrolled.cells``, or a
            :class:`~unrolled.Cell`, its class or its description.
        hidden_size: hidden units H.
        num_layers: layers.
        sizes: the sizes that the cell has of its own, by their names: ``{"proj": 8}`` for
            ``ProjectedLSTM``. None for a cell that has none.
        bidirectional: whether to read each sequence in both directions. For targets of steps each
            prediction then sees the steps after it as well.
        dropout: between the layers.
        target: "step", "sequence", or "auto" to tell by the shape of y.
        epochs: at most so many passes over the training sequences. "auto" is 100, or in small data
            as many as hold 2,000 updates.
        patience: stop after so many epochs without a better validation error, None never to.
            "auto" is 15, or in small data as many as hold 500 updates.
        validation_fraction: the share of the sequences kept for early stopping, chosen at random;
            without patience none are.
        batch_size: sequences in one update.
        learning_rate: Adam's.
        clip: bound on the norm of the gradient, None for none.
        random_state: seed of the weights, the validation split and the order.
        precision: what the recurrent products multiply in training: "float32", or "bf16" for
            bfloat16. Weights, states and predictions are float32.
        watch: whether to keep gradients by layer and lag, gates and states on the way, and to name
            explosions. The weights come out the same.
        watch_every: updates from one :class:`~unrolled.learn.watch.Snapshot` to the next.

    Attributes:
        network_: the trained :class:`~unrolled.model.Network`.
        input_scaler_: the inputs' scaling.
        target_scaler_: the targets' scaling.
        history_: the errors of every epoch.
        watch_: with ``watch``, a :class:`~unrolled.learn.watch.Snapshot` of the first update and of
            every ``watch_every``-th, and an :class:`~unrolled.learn.watch.Explosion` wherever there
            was one, also where a DivergedError ended it all; else empty.
        n_iter_: epochs trained.
        n_features_in_: I, or T where X is [n, T].
        target_: "step" or "sequence".
    """

    def __init__(
        self,
        cell: str | Cell | type[Cell] | Description = DEFAULT,
        hidden_size: int = 32,
        *,
        num_layers: int = 1,
        sizes: Mapping[str, int] | None = None,
        bidirectional: bool = False,
        dropout: float = 0.0,
        target: TargetChoice = "auto",
        epochs: Limit = AUTO,
        patience: Limit | None = AUTO,
        validation_fraction: float = 0.2,
        batch_size: int = 32,
        learning_rate: float = 3e-3,
        clip: float | None = 1.0,
        random_state: int | np.random.RandomState | None = None,
        precision: Precision = "float32",
        watch: bool = False,
        watch_every: int = 50,
    ) -> None:
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.sizes = sizes
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.target = target
        self.epochs = epochs
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.clip = clip
        self.random_state = random_state
        self.precision = precision
        self.watch = watch
        self.watch_every = watch_every

    def fit(self, X: Any, y: Any) -> SequenceRegressor:
        """Trains on the sequences.

        Raises:
            ValueError: X, y or a parameter is not what the class describes.
            DivergedError: training met a number that is not finite.
        """
        cell = cell_of(self.cell, "cell")
        check_parameters(self.get_params(deep=False), PARAMETERS)
        sizes = {name: int(number) for name, number in (self.sizes or {}).items()}
        check_sizes(equations_of(cell), sizes, "Give it: sizes={{'{}': 8}}, or another number")
        # Until this fit has succeeded there is nothing to predict with: the network of an earlier
        # one would not belong to the new scaling.
        self.__dict__.pop("network_", None)
        batch = read_sequences(self, X, reset=True)
        goals = read_goals(y, batch, self.target)
        random = check_random_state(self.random_state)
        train, held_out = self._split(len(batch.data), random)
        epochs, patience = resolve(self.epochs, self.patience, len(train), self.batch_size)

        config = self._config(cell, sizes, batch, goals)
        parts = [len(train), len(held_out)]
        check_fit(config, parts, batch.data.shape[1], int(self.batch_size), BATCH_AT_ONCE)
        self.target_ = goals.target
        self._columns, self._form = goals.columns, batch.form
        inputs = _real_steps(batch.data[train], batch.lengths[train])
        targets = goals.data[train].reshape(-1, goals.data.shape[-1])
        self.input_scaler_, self.target_scaler_ = Scaler.fit(inputs), Scaler.fit(targets)
        _check_spread("X", inputs, self.input_scaler_)
        _check_spread("y", targets, self.target_scaler_)
        _check_reach("y", goals.data, self.target_scaler_, MOST_SQUARED)
        with reproducible(int(random.randint(2**31))) as generator:
            data, lengths = self._tensors(batch)
            scaled = torch.from_numpy(self.target_scaler_.transform(goals.data)).float()
            network = Network(config).float()
            network.precision = self.precision
            probe = self._probe(data, lengths, scaled, train) if self.watch else None
            self.watch_: list[Record] = []
            with watching(network, probe, self.watch_every, self.watch_.append) as see:
                self.history_ = fit(
                    network,
                    losses=lambda: self._losses(network, data, lengths, scaled, train, generator),
                    validate=lambda: masked_mse(
                        self._outputs(network, data[held_out], lengths[held_out]), scaled[held_out]
                    ).item(),
                    settings=FitSettings(
                        epochs, self.learning_rate, self.clip, patience, ("learning_rate", "clip")
                    ),
                    on_gradients=see,
                )
        self.network_ = network
        self.n_iter_ = len(self.history_.validation)
        if self.history_.interrupted:
            warnings.warn(
                f"interrupted after {self.n_iter_} epochs; the best weights so far are kept",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def predict(self, X: Any) -> Any:
        """The predictions, in the shape that y had in fit: a list where X is ragged by steps."""
        check_is_fitted(self, "network_")
        batch = read_sequences(self, X, reset=False)
        values = self._predicted(batch)
        if not self._columns:
            values = values[..., 0]
        if self.target_ == "step" and batch.form == "ragged":
            return [row[:length] for row, length in zip(values, batch.lengths, strict=True)]
        return values

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R² over all sequences, or over all steps of all sequences.

        Args:
            X: as in fit.
            y: as in fit.
            sample_weight: one weight for each sequence [n], or None.
        """
        check_is_fitted(self, "network_")
        batch = read_sequences(self, X, reset=False)
        truth = read_goals(y, batch, self.target_).data
        predicted = self._predicted(batch)
        known = np.isfinite(truth).all(axis=-1)
        weights = None
        if sample_weight is not None:
            check_kind(sample_weight, "sample_weight")
            weight = check_array(
                sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight"
            )
            check_consistent_length(truth, weight)
            weights = np.broadcast_to(weight.reshape(-1, *[1] * (known.ndim - 1)), known.shape)
            weights = weights[known]
        return float(r2_score(truth[known], predicted[known], sample_weight=weights))

    def _split(
        self, count: int, random: np.random.RandomState
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The sequences to train on and those that stop the training (the same, if too few)."""
        held_out = int(count * self.validation_fraction) if self.patience is not None else 0
        order = random.permutation(count)
        return (order[held_out:], order[:held_out]) if held_out else (order, order)

    def _config(
        self, cell: CellName | Description, sizes: dict[str, int], batch: Batch, goals: Goals
    ) -> NetworkConfig:
        return NetworkConfig(
            cell=cell,
            input_size=batch.data.shape[-1],
            output_size=goals.data.shape[-1],
            hidden_size=self.hidden_size,
            sizes=sizes,
            num_layers=self.num_layers,
            bidirectional=self.bidirectional,
            dropout=self.dropout,
        )

    def _tensors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The scaled inputs [n, T, I] and the lengths [n]."""
        _check_reach("X", batch.data, self.input_scaler_, MOST)
        scaled = self.input_scaler_.transform(batch.data)
        return torch.from_numpy(scaled).float(), torch.from_numpy(batch.lengths)

    def _probe(
        self, data: Tensor, lengths: Tensor, goals: Tensor, train: NDArray[np.int64]
    ) -> Probe:
        """A few of the training sequences, with the goals at their ends."""
        chosen = torch.from_numpy(train[:PROBED])
        ends = goals[chosen]
        if self.target_ == "step":
            ends = ends[torch.arange(len(chosen)), lengths[chosen] - 1]
        return Probe(data[chosen], ends, lengths[chosen])

    def _losses(
        self,
        network: Network,
        data: Tensor,
        lengths: Tensor,
        goals: Tensor,
        train: NDArray[np.int64],
        generator: torch.Generator,
    ) -> Iterator[Tensor]:
        shuffled = torch.from_numpy(train)[torch.randperm(len(train), generator=generator)]
        for chosen in torch.split(shuffled, int(self.batch_size)):
            output = self._read(network, data[chosen], lengths[chosen])
            yield masked_mse(output, goals[chosen])

    @alone_where_forked()
    def _predicted(self, batch: Batch) -> Array:
        """[n, O] or [n, T, O], in the target's units."""
        with torch.no_grad():
            output = self._outputs(self.network_, *self._tensors(batch))
        return self.target_scaler_.inverse(output.double().numpy())

    def _outputs(self, network: Network, data: Tensor, lengths: Tensor) -> Tensor:
        """The scaled outputs, [n, O] or [n, T, O], a bounded number of sequences at a time."""
        chunks = zip(
            torch.split(data, BATCH_AT_ONCE), torch.split(lengths, BATCH_AT_ONCE), strict=True
        )
        return torch.cat([self._read(network, *chunk) for chunk in chunks])

    def _read(self, network: Network, data: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is not None and bool((lengths == data.shape[1]).all()):
            lengths = None  # sorting and packing rows of one length would cost for nothing
        if self.target_ == "sequence":
            return network.final(data, lengths)
        output: Tensor = network(data, None, lengths)[0]
        return output

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.input_tags.three_d_array = True
        tags.non_deterministic = False
        return tags


def _check_spread(name: str, values: Array, scaler: Scaler) -> None:
    """That a column of ``values`` [N, F] that varies does so as single precision can hold."""
    if (least := scaler.scale.min()) < SMALLEST:
        raise ValueError(f"{name} has a column that {too_small(least)}")
    rounded = is_rounding(*moments(values))
    for column in values.T[rounded]:
        known = column[np.isfinite(column)]
        if known.min() < known.max():
            raise ValueError(f"{name} has a column that {only_rounding(known)}")


def _check_reach(name: str, values: Array, scaler: Scaler, most: float) -> None:
    """That no number of ``values`` [..., F] is further away than single precision can tell."""
    far = scaler.is_beyond(values, most)
    if far.any():
        place = tuple(np.argwhere(far)[0].tolist())
        raise ValueError(
            f"{name} holds a number that the network can't compute with: "
            f"{too_far(values[place], most, 'what it is trained on')}. Correct it, or leave its "
            "sequence out"
        )


def _real_steps(data: Array, lengths: NDArray[np.int64]) -> Array:
    """The steps within the lengths, [N, I]."""
    real: Array = data[np.arange(data.shape[1]) < lengths[:, np.newaxis]]
    return real
