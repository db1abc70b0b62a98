"""Looking into recurrent models: what every gate did, and how far the model remembers."""

from typing import TYPE_CHECKING

from unrolled.lazy import submodules

if TYPE_CHECKING:
    from unrolled.inspect import diagnose as diagnose
    from unrolled.inspect import diagnosis as diagnosis
    from unrolled.inspect import gates as gates
    from unrolled.inspect import lags as lags
    from unrolled.inspect import pictures as pictures
    from unrolled.inspect import record as record
    from unrolled.inspect import report as report
    from unrolled.inspect import scene as scene
    from unrolled.inspect import trace as trace

__all__ = [
    "diagnose",
    "diagnosis",
    "gates",
    "lags",
    "pictures",
    "record",
    "report",
    "scene",
    "trace",
]

__getattr__, __dir__ = submodules(__name__, __all__)
