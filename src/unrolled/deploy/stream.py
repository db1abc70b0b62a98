"""A model that reads one row at a time: what it needs is NumPy, and safetensors for a file."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.deploy import stepping
from unrolled.deploy.carried import Constants, States
from unrolled.deploy.eight_bits import in_eight_bits
from unrolled.deploy.plan import Array, Plan, called, same
from unrolled.deploy.rows import by_name, numbers, refuse_masked
from unrolled.errors import InputError, clip
from unrolled.files import short
from unrolled.masked import is_masked_array
from unrolled.resources import LARGEST_SIZE


class Stream:
    """A model at work on rows as they come, with its state carried from each row to the next.

    A step gives the same bits as the model's own pass over the whole sequence, for its recurrent
    part; a Linear sums in another order than torch and differs in the last places. Weights are
    copied: later changes of the model are not seen. A stream belongs to one thread at a time.
    A copy of a stream, by the module ``copy`` or by ``pickle``, goes on by itself from where the
    stream was, to the same bits.

    Args:
        model: a run folder (its path, or what :func:`unrolled.load_run` gives), a fitted
            :class:`~unrolled.SequenceRegressor`, an RNN, LSTM or GRU (unrolled's or torch.nn's), an
            :class:`unrolled.Recurrent` of any cell (in eval mode where the cell draws random
            numbers), or a ``torch.nn.Sequential`` of such modules, Linear, LayerNorm, Dropout (in
            eval mode) and activations, in which a recurrent module hands on its output. Rows enter
            and leave a run and an estimator in the units of the data: the scalers are applied on
            both sides.
        batch_size: B, how many streams run side by side.
        constants: what a cell of the model reads that is the same at every step, by name, each
            [B, ·]; see :attr:`constants`.
        int8: whether an RNN, LSTM or GRU multiplies in 8 bits, to the same bits as the model that
            :func:`unrolled.quantize` gives.

    Attributes:
        batch_size: B.
        input_size: I, the numbers in a row.
        output_size: O, the numbers in an output.
        inputs: the columns that a run reads, in their order; empty where the model is no run.
        targets: the columns that a run predicts.
        group: the column that told a run's series apart; None without one. A stream reads one.
        ahead: how many rows after the present one the prediction is about.
        dtype: of the outputs: the module's, or float64 for a run and an estimator.
        backend: what takes the steps: ``native (avx512)``, for example, or ``numpy``, slower, where
            the package was installed without a compiler, or the core can't run a cell of the model.

    Raises:
        InputError: the model can't be streamed, and why: a bidirectional one would have to know
            the rows to come. Or constants are missing.
    """

    def __init__(
        self,
        model: Any,
        batch_size: int = 1,
        constants: Mapping[str, Any] | None = None,
        *,
        int8: bool = False,
    ) -> None:
        size = _whole(batch_size)
        if size is None or not 1 <= size <= LARGEST_SIZE:
            raise InputError(
                f"batch_size should be a whole number from 1 to {LARGEST_SIZE}, got "
                f"{short(batch_size)}"
            )
        source = os.path.abspath(model) if isinstance(model, str | Path) else None
        plan = _plan_of(model)
        self._set_up(in_eight_bits(plan) if int8 else plan, size, source)
        self._constants.write(self._constants.checked(constants))

    def _set_up(self, plan: Plan, batch_size: int, source: str | None) -> None:
        self._plan = plan
        self._source = source  # a text, which a pickle takes to any system
        self._limit = None if plan.scales is None else plan.scales.limit
        self._stepper = stepping.build(plan, batch_size)
        self._run = self._stepper.step
        self._states = States(plan, self._stepper, batch_size)
        self._constants = Constants(plan, self._stepper, batch_size)
        self.batch_size = batch_size
        self.input_size, self.output_size = plan.input_size, plan.output_size
        self.inputs, self.targets = plan.inputs, plan.targets
        self.group, self.ahead = plan.group, plan.ahead
        self.dtype = plan.outside
        self.backend = stepping.backend_of(self._stepper)

    def step(self, x: Any, out: Array | None = None) -> Array:
        """Takes one step.

        Args:
            x: the row [B, I]; in a stream of one also [I], and where that is one number a float.
                Of a data frame, and of a row with names (a pandas series, a dict, a named tuple, a
                record), a run takes its own columns by their names, in whatever order. A run and
                an estimator take finite numbers only, and none that is so large that the network's
                own numbers can't hold it: 5e29 standard deviations.
            out: where the result goes, of the result's shape and :attr:`dtype`; None for a new
                array, which is all the memory that a step takes.

        Returns:
            The output [B, O], or [O] where ``x`` had no batch dimension. In a run that reads
            changes (``--difference``), NaN for the first row of a stream, which has none before it.

        Raises:
            InputError: ``x`` or ``out`` is none of these. The state has not moved then.
        """
        y = self._run(x, out)
        if y is None:
            y = self._run(self._prepared(x), out)
            if y is None:
                self._refuse(out)
        return y  # type: ignore[no-any-return]

    def step_many(self, xs: Any) -> Array:
        """Takes T steps in one call, the same to the last bit as one by one.

        Args:
            xs: the rows [T, B, I]; in a stream of one also [T, I], or [T] where I is 1. Columns
                with names are taken as in :meth:`step`.

        Returns:
            The outputs [T, B, O], or [T, O] where ``xs`` had no batch dimension.

        Raises:
            InputError: as in :meth:`step`; no step has been taken then.
        """
        given = numbers(self._by_name(xs, "xs"), "xs")
        x = given[:, np.newaxis] if given.ndim == 1 and self.input_size == 1 else given
        is_single = x.ndim == 2 and self.batch_size == 1
        x = x[:, np.newaxis] if is_single else x
        if x.ndim != 3 or x.shape[1:] != (self.batch_size, self.input_size):
            raise InputError(
                f"xs should be [T, {self.batch_size}, {self.input_size}], got {list(given.shape)}"
            )
        self._insist_on_limits(x)
        y = np.empty((len(x), self.batch_size, self.output_size), self.dtype)
        self._stepper.step_many(np.require(x, self.dtype, ["C", "A"]), y)
        return y[:, 0] if is_single else y

    def reset(
        self,
        rows: int | Sequence[int] | None = None,
        constants: Mapping[str, Any] | None = None,
    ) -> None:
        """Puts the states of these rows, or of all, back to where a stream begins: zero.

        Args:
            rows: which; None for all.
            constants: what these rows have from here on, by name, each [len(rows), ·]; None for
                what they had.

        Raises:
            InputError: there is no such row, or the constants are not the model's. Nothing is
                reset then.
        """
        refuse_masked(rows, "rows")
        chosen = range(self.batch_size) if rows is None else np.atleast_1d(np.asarray(rows))
        for row in chosen:
            if not isinstance(row, int | np.integer) or not 0 <= row < self.batch_size:
                raise InputError(
                    f"rows from 0 to {self.batch_size - 1} were expected, got {rows!r}"
                )
        if constants is not None:
            of_all = self._constants.of_rows(constants, np.asarray(chosen, np.int64))
            self._constants.write(of_all)
        for row in chosen:
            self._stepper.reset(int(row))

    @property
    def state(self) -> dict[str, Array]:
        """All that a stream carries from one row to the next, as copies; it can be assigned.

        ``hidden`` [L, B, P] and of an LSTM ``cell`` [L, B, H], as the module returns them, and of a
        :class:`unrolled.Recurrent` each state [L, B, ·] by its name in the cell; where a stack has
        several recurrent modules each name has the module's before it (``0.hidden``). ``steps``
        [B]: how many rows each stream has read. ``last`` [B, I], in a run that reads changes: the
        row before, NaN before the first.

        Raises:
            InputError: on assignment, the names or a shape are not those of this stream, or a
                number is none that it comes to: negative steps, a run's state that is not finite.
        """
        return self._states.read()

    @state.setter
    def state(self, state: Mapping[str, Any]) -> None:
        self._states.write(self._states.checked(state))

    @property
    def constants(self) -> dict[str, Array]:
        """What cells read that is the same at every step, as copies; it can be assigned.

        Each [B, ·], by its name in the cell (``static`` of :class:`~unrolled.cells.EALSTM`), with
        the module's name before it where a stack has several recurrent modules; empty where no cell
        has any. They are saved and copied with the stream, and stay as they are when it is reset.

        Raises:
            InputError: on assignment, the names or a shape are not those of this stream.
        """
        return self._constants.read()

    @constants.setter
    def constants(self, constants: Mapping[str, Any]) -> None:
        self._constants.write(self._constants.checked(constants))

    def save(self, path: str | Path) -> None:
        """Writes the model and the state to one safetensors file.

        The file that was there is replaced by a whole one or not at all, whenever the process or
        the machine stops. It may be the one that the stream was loaded from, but no file of the run
        that it was made from.

        Raises:
            InputError: it can't be written there, or is a file of the run; what was there is still
                there.
        """
        from unrolled.deploy import stored

        if self._source is not None:
            stored.check_is_no_source(Path(path), Path(self._source))
        stored.write(Path(path), self._plan, self.state, self.constants)

    @classmethod
    def load(cls, path: str | Path) -> Stream:
        """The stream that was saved; it goes on to the same bits as if it had never stopped.

        On a machine with another instruction set the last places may differ.

        Raises:
            InputError: the file is missing, damaged, no stream's, or of another version.
        """
        from unrolled.deploy import stored

        plan, state, constants = stored.read(Path(path))
        rows = state.get("steps", np.empty(0))
        if rows.ndim != 1 or rows.size == 0:
            raise InputError(f"{path}: damaged (it holds no steps). Restore the file")
        stream = cls.__new__(cls)
        stream._set_up(plan, len(rows), os.path.abspath(path))
        try:
            stream.state, stream.constants = state, constants
        except InputError as error:
            raise InputError(f"{path}: damaged ({clip(error)}). Restore the file") from error
        return stream

    def __getstate__(self) -> dict[str, Any]:
        """For ``copy`` and ``pickle``: what a saved file has, the model and the state."""
        return {
            "plan": self._plan,
            "batch_size": self.batch_size,
            "state": self.state,
            "constants": self.constants,
            "source": self._source,
        }

    def __setstate__(self, copied: Mapping[str, Any]) -> None:
        self._set_up(copied["plan"], copied["batch_size"], copied["source"])
        self._states.write(copied["state"])
        self._constants.write(copied["constants"])

    def is_of_same_model(self, other: Stream) -> bool:
        """Whether both run the same model: layers, weights, scalers and columns."""
        return same(self._plan, other._plan)

    def __repr__(self) -> str:
        layers = ", ".join(map(called, self._plan.layers))
        return (
            f"Stream({layers}: {self.input_size} → {self.output_size}, "
            f"batch_size={self.batch_size}, backend={self.backend!r})"
        )

    def _prepared(self, x: Any) -> Array:
        """``x`` as the stepper takes it."""
        given = numbers(self._by_name(x, "x"), "x")
        row = given.reshape(1) if given.ndim == 0 else given
        shapes: list[tuple[int, ...]] = [(self.batch_size, self.input_size)]
        shapes += [(self.input_size,)] if self.batch_size == 1 else []
        if row.shape not in shapes:
            words = " or ".join(str(list(shape)) for shape in shapes)
            raise InputError(f"x should be {words}, got {list(given.shape)}")
        self._insist_on_limits(row)
        return np.require(row, self.dtype, ["C", "A"])

    def _by_name(self, x: Any, name: str) -> Any:
        """What has names, with this run's columns, in its order."""
        is_plain = isinstance(x, np.ndarray) and x.dtype.names is None
        return x if is_plain or not self.inputs else by_name(x, self.inputs, name)

    def _insist_on_limits(self, x: Array) -> None:
        if self._limit is None:
            return
        fits = np.abs(x) <= self._limit  # NaN does not
        if fits.all():
            return
        place = tuple(np.argwhere(~fits)[0].tolist())
        name = f" ({self.inputs[place[-1]]})" if self.inputs else ""
        expected = f"numbers of at most {self._limit[place[-1]]:.3g} in size were"
        if not np.isfinite(x[place]):
            expected = "finite numbers were"
        raise InputError(
            f"x{list(place)}{name} is {x[place]}: {expected} expected, since the state "
            "would never be rid of another. Leave the row out, or fill in a value"
        )

    def _refuse(self, out: Any) -> None:
        shape = [self.batch_size, self.output_size]
        kind = "masked " if is_masked_array(out) else ""
        raise InputError(
            f"out should be a dense {self.dtype} array {shape}, or {shape[1:]} where x has no "
            f"batch dimension, got {kind}{getattr(out, 'dtype', type(out).__name__)} "
            f"{list(getattr(out, 'shape', []))}"
        )


def _whole(value: Any) -> int | None:
    """A whole number of Python's, NumPy's or another's; None where it is none."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def _plan_of(model: Any) -> Plan:
    if isinstance(model, str | Path):
        from unrolled.deploy.plain import read_run

        if Path(model).is_file():
            raise InputError(
                f"{model}: is a file, and a run is a folder. Stream.load reads a saved stream"
            )
        return read_run(Path(model))
    try:
        from unrolled.deploy.modules import plan_of
    except ModuleNotFoundError as error:
        raise InputError(
            f"{type(model).__name__} can't be streamed where there is no {error.name}. "
            "Give the path of a run folder, or Stream.load a saved stream"
        ) from error
    return plan_of(model)
