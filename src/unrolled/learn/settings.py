"""The settings of a training run, from flags, a file, or Python."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    field_validator,
    model_validator,
)

from unrolled.cells import Description
from unrolled.cells.built_in import DEFAULT
from unrolled.cells.in_runs import check_sizes, equations_of
from unrolled.errors import InputError, fault_of_text
from unrolled.files import parse_json, read_file, short
from unrolled.learn.cell_choice import cell_or_file
from unrolled.learn.duration import AUTO, resolve
from unrolled.learn.loop import LARGEST_RATE, FitSettings
from unrolled.model import TableConfig
from unrolled.model.choice import CellName, title
from unrolled.model.folder import Missing
from unrolled.model.network import Precision
from unrolled.nn import init
from unrolled.resources import LARGEST_SIZE, MOST_LAYERS
from unrolled.runfile import LARGEST_CONFIG


def _as_list(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return [value] if isinstance(value, str) else value


def _as_whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _name(cell: CellName | Description) -> str:
    return cell.name if isinstance(cell, Description) else cell


def _as_sizes(value: Any) -> Any:
    """Texts such as ``proj=8`` as numbers by name; what is no text is left to be refused."""
    if isinstance(value, Mapping):
        return {k: n.item() if isinstance(n, np.generic) else n for k, n in value.items()}
    texts = _as_list(value)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return value
    sizes: dict[str, int] = {}
    for text in texts:
        name, _, number = text.partition("=")
        if not (name and number.isdecimal()):
            raise ValueError(f"a name and a number were expected, proj=8, got {short(text)}")
        if name in sizes:
            raise ValueError(f"{name} is given twice. Leave one of them out")
        sizes[name] = int(number)
    return sizes


Columns = Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)]
Whole = Annotated[int, BeforeValidator(_as_whole)]
"""A whole number, which JSON may also write as 4.0."""
Epochs = Annotated[int, Field(gt=0, le=LARGEST_SIZE), BeforeValidator(_as_whole)] | Literal["auto"]
Sizes = Annotated[
    dict[str, Annotated[Whole, Field(gt=0, le=LARGEST_SIZE)]], BeforeValidator(_as_sizes)
]
TrainedCell = Annotated[
    CellName | Description, PlainValidator(cell_or_file), PlainSerializer(_name)
]
"""A cell, which a text says by its name or its place in a Python file."""
Preset = Literal["unit_forget_bias", "chrono", "orthogonal", "identity"]
"""Of the functions of :mod:`unrolled.nn.init`, without the underscore at the end."""
Presets = Annotated[list[Preset], BeforeValidator(_as_list)]

LARGEST_SEED = 2**63 - 1
MOST_THREADS = 1024


class Settings(BaseModel):
    """Numbers, truth values and texts as they are: a text or ``true`` is no number."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    @field_validator("*", mode="before")
    @classmethod
    def _of_numpy(cls, value: Any) -> Any:
        """What NumPy counts with, as Python's own."""
        return value.item() if isinstance(value, np.generic) else value


class TrainSettings(Settings):
    """What ``unrolled train`` takes; the names are those of its flags.

    ``cell`` is "rnn", "lstm" or "gru", the name of a cell in ``unrolled.cells``, a cell, its class
    or its description, or a class in a Python file, "mycell.py:MyCell", which is executed at once.
    What is kept is a name or the description. ``size`` has the sizes of the cell's own, by name:
    ``{"proj": 8}``, or texts such as "proj=8". ``init`` has initial values of
    :mod:`unrolled.nn.init`, set in their order; "chrono" spreads memories over the window.
    ``precision`` is what the recurrent products multiply in training, see :class:`Network`.
    """

    input: Columns
    target: Columns
    group: str | None = None
    window: Whole = Field(default=32, gt=0, le=LARGEST_SIZE)
    ahead: Whole = Field(default=0, ge=0, le=LARGEST_SIZE)
    difference: bool = False
    missing: Missing = "error"
    validation: float = Field(default=0.15, gt=0.0, lt=1.0)
    test: float = Field(default=0.15, gt=0.0, lt=1.0)

    cell: TrainedCell = DEFAULT
    init: Presets = Field(default_factory=list)
    hidden_size: Whole = Field(default=32, gt=0, le=LARGEST_SIZE)
    size: Sizes = Field(default_factory=dict)
    num_layers: Whole = Field(default=1, gt=0, le=MOST_LAYERS)
    bidirectional: bool = False
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)

    epochs: Epochs = AUTO
    patience: Epochs = AUTO
    batch_size: Whole = Field(default=64, gt=0, le=LARGEST_SIZE)
    learning_rate: float = Field(default=3e-3, gt=0.0, le=LARGEST_RATE)
    clip: float = Field(default=1.0, ge=0.0)
    seed: Whole = Field(default=0, ge=0, le=LARGEST_SEED)
    threads: Whole | None = Field(default=None, gt=0, le=MOST_THREADS)
    precision: Precision = "float32"
    watch: bool = False
    watch_every: Whole = Field(default=50, gt=0, le=LARGEST_SIZE)

    @model_validator(mode="after")
    def _makes_sense(self) -> TrainSettings:
        if self.validation + self.test >= 1.0:
            raise ValueError(
                f"validation ({self.validation}) and test ({self.test}) leave no rows to train on; "
                "their sum should be below 1"
            )
        for kind, names in (("input", self.input), ("target", self.target)):
            if len(set(names)) < len(names):
                raise ValueError(f"{kind} names a column twice: {', '.join(names)}")
        both = sorted(set(self.input) & set(self.target))
        if both and self.ahead == 0:
            raise ValueError(
                f"column {both[0]!r} is both input and target, so the network would only copy it. "
                "To predict its next value add --ahead 1"
            )
        if self.difference and not both:
            raise ValueError(
                "--difference is for a target whose past is known, and none of the targets is "
                "also an input. Add one with --input, or leave --difference out"
            )
        if self.dropout and self.num_layers == 1:
            raise ValueError(
                f"dropout ({self.dropout}) is between layers, and there is one. "
                "Add --num-layers 2, or leave --dropout out"
            )
        return self

    @model_validator(mode="after")
    def _has_its_sizes(self) -> TrainSettings:
        check_sizes(equations_of(self.cell), self.size, "Add --size {}=8, or another number")
        return self

    @model_validator(mode="after")
    def _begins_well(self) -> TrainSettings:
        if "chrono" in self.init and self.window < 2:
            raise ValueError(
                f"--init chrono spreads memories over the window, which has {self.window} row. "
                "Raise --window, or leave it out"
            )
        for preset in self.init:
            init.check(preset, equations_of(self.cell))
        return self

    @model_validator(mode="after")
    def _names_as_text(self) -> TrainSettings:
        """That the run's own tables, which are text, can have the columns' names."""
        for name in (*self.input, *self.target, *([] if self.group is None else [self.group])):
            if fault := fault_of_text(name):
                raise ValueError(f"the column name {name!r} has {fault}. Rename it in the table")
        return self

    @model_validator(mode="after")
    def _names_apart(self) -> TrainSettings:
        """That no two columns of ``predictions.csv`` have one name."""
        named = [self.group] if self.group is not None else []
        named += [*self.target, *(f"{name}_predicted" for name in self.target)]
        taken = {"row"} | ({"for_row"} if self.ahead else set())
        for name in named:
            if name in taken:
                raise ValueError(
                    f"the predictions would have two columns named {name!r}. "
                    "Rename the table's, or choose another group or target"
                )
            taken.add(name)
        return self

    @property
    def title(self) -> str:
        """What to call the network: LSTM, PeepholeLSTM."""
        return title(self.cell)

    def fit_settings(self, windows: int) -> FitSettings:
        """How long and how fast to train on so many windows."""
        epochs, patience = resolve(self.epochs, self.patience, windows, self.batch_size)
        return FitSettings(epochs, self.learning_rate, self.clip or None, patience)

    def table(self) -> TableConfig:
        """What a run folder keeps of these."""
        return TableConfig(
            inputs=self.input,
            targets=self.target,
            group=self.group,
            window=self.window,
            ahead=self.ahead,
            difference=self.difference,
            missing=self.missing,
        )


def read_settings(flags: dict[str, Any], config: Path | None) -> tuple[Path, Path, TrainSettings]:
    """Puts flags over the file ``config``, and checks the whole.

    Args:
        flags: what was given on the command line, by name, ``data`` and ``out`` included.
        config: a TOML or JSON file with the same names (hyphens or underscores), or None.

    Returns:
        The table's path, the run folder's path, and the settings.

    Raises:
        InputError: the file can't be read, or a name or value is wrong.
    """
    values = {**(_read_config(config) if config else {}), **flags}
    where = f"{config}: " if config else ""
    for name, flag in (("data", "the table to train on"), ("out", "--out")):
        if name not in values:
            raise InputError(f"{where}{name} is missing. Name {flag}")
        if not isinstance(values[name], str | Path):
            raise InputError(f"{where}{name}: a path was expected, got {short(values[name])}")
    data, out = Path(values.pop("data")), Path(values.pop("out"))
    try:
        return data, out, TrainSettings.model_validate(values)
    except ValidationError as error:
        raise InputError(where + _explain(error)) from error


def _read_config(path: Path) -> dict[str, Any]:
    if path.is_dir():
        raise InputError(f"{path}: is a folder. Name a .toml or .json file")
    kind = path.suffix.lower()
    if kind not in (".toml", ".json"):
        raise InputError(f"{path}: a .toml or .json file was expected")
    try:
        data = read_file(path, LARGEST_CONFIG)
        content: Any = parse_json(data) if kind == ".json" else tomllib.loads(data.decode())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file. Check --config") from None
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}. Check --config") from error
    except RecursionError:
        raise InputError(f"{path}: can't be read: is nested too deep. Correct it") from None
    except ValueError as error:
        raise InputError(f"{path}: can't be read: {error}. Correct it") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: names with values were expected, got a {type(content).__name__}")
    values: dict[str, Any] = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if name in values:
            raise InputError(f"{path}: names {name!r} twice, with - and with _. Leave one out")
        values[name] = value
    return values


def _explain(error: ValidationError) -> str:
    """The first problem as one line: which setting, what was expected, what came."""
    first, *others = error.errors()
    name = str(first["loc"][0]) if first["loc"] else ""
    flag = f"--{name.replace('_', '-')}"
    if first["type"] == "extra_forbidden":
        near = get_close_matches(name, TrainSettings.model_fields, n=1)
        return f"no setting {short(name)}. " + (
            f"Did you mean {near[0]!r}?"
            if near
            else f"There are: {', '.join(TrainSettings.model_fields)}"
        )
    if first["type"] == "missing":
        return f"{flag} is missing. Name a column of the table"
    if not name:
        return first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{flag}: {first['msg'].removeprefix('Value error, ')}"
    words = [
        e["ctx"]["expected"] for e in others if e["type"] == "literal_error" and e["loc"][0] == name
    ]
    return f"{flag}: {' or '.join([first['msg'], *words])}, got {short(first['input'])}"
