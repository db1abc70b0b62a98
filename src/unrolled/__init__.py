"""Recurrent networks you can train from a table, look into, and run at full CPU speed.

The names below are the public ones. Each is imported when it is first used, so that importing the
package imports nothing that is not needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from unrolled import cells as cells
    from unrolled import deploy as deploy
    from unrolled import errors as errors
    from unrolled import inspect as inspect
    from unrolled import learn as learn
    from unrolled import model as model
    from unrolled import nn as nn
    from unrolled import tasks as tasks
    from unrolled.cells import Cell
    from unrolled.deploy.convert import Conversion, convert, revert
    from unrolled.deploy.in_time import InPieces, parallel_in_time
    from unrolled.deploy.onnx_export import export_onnx
    from unrolled.deploy.onnx_import import import_onnx
    from unrolled.deploy.quantize import quantize
    from unrolled.deploy.stream import Stream
    from unrolled.errors import DivergedError, InputError
    from unrolled.inspect.diagnose import diagnose
    from unrolled.inspect.diagnosis import Diagnosis
    from unrolled.inspect.flow_picture import draw
    from unrolled.inspect.record import record
    from unrolled.inspect.report import report
    from unrolled.inspect.trace import Trace
    from unrolled.learn.estimator import SequenceRegressor
    from unrolled.learn.predict import predict_table
    from unrolled.learn.settings import TrainSettings
    from unrolled.learn.train import train_table
    from unrolled.model import load_run
    from unrolled.nn import GRU, LSTM, RNN, GRUCell, LSTMCell, Recurrent, RNNCell, which_backend
    from unrolled.scan.engine import backend

_HOMES = {
    "Cell": "unrolled.cells",
    "Conversion": "unrolled.deploy.convert",
    "Diagnosis": "unrolled.inspect.diagnosis",
    "DivergedError": "unrolled.errors",
    "GRU": "unrolled.nn",
    "GRUCell": "unrolled.nn",
    "InPieces": "unrolled.deploy.in_time",
    "InputError": "unrolled.errors",
    "LSTM": "unrolled.nn",
    "LSTMCell": "unrolled.nn",
    "RNN": "unrolled.nn",
    "RNNCell": "unrolled.nn",
    "Recurrent": "unrolled.nn",
    "SequenceRegressor": "unrolled.learn.estimator",
    "Stream": "unrolled.deploy.stream",
    "Trace": "unrolled.inspect.trace",
    "TrainSettings": "unrolled.learn.settings",
    "backend": "unrolled.scan.engine",
    "convert": "unrolled.deploy.convert",
    "diagnose": "unrolled.inspect.diagnose",
    "draw": "unrolled.inspect.flow_picture",
    "export_onnx": "unrolled.deploy.onnx_export",
    "import_onnx": "unrolled.deploy.onnx_import",
    "load_run": "unrolled.model",
    "parallel_in_time": "unrolled.deploy.in_time",
    "predict_table": "unrolled.learn.predict",
    "quantize": "unrolled.deploy.quantize",
    "record": "unrolled.inspect.record",
    "report": "unrolled.inspect.report",
    "revert": "unrolled.deploy.convert",
    "train_table": "unrolled.learn.train",
    "which_backend": "unrolled.nn",
}

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Cell",
    "Conversion",
    "Diagnosis",
    "DivergedError",
    "GRUCell",
    "InPieces",
    "InputError",
    "LSTMCell",
    "RNNCell",
    "Recurrent",
    "SequenceRegressor",
    "Stream",
    "Trace",
    "TrainSettings",
    "backend",
    "convert",
    "diagnose",
    "draw",
    "export_onnx",
    "import_onnx",
    "load_run",
    "parallel_in_time",
    "predict_table",
    "quantize",
    "record",
    "report",
    "revert",
    "train_table",
    "which_backend",
]


# Not in __all__: a star import is not to put an `inspect` in the place of Python's.
_ROOMS = ("cells", "deploy", "errors", "inspect", "learn", "model", "nn", "tasks")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS, "__version__"])
