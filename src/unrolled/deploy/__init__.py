"""A model where it is used: on this package's modules, as an ONNX file, on a stream."""

from typing import TYPE_CHECKING

from unrolled.lazy import submodules

if TYPE_CHECKING:
    from unrolled.deploy import convert as convert
    from unrolled.deploy import onnx_export as onnx_export
    from unrolled.deploy import onnx_import as onnx_import
    from unrolled.deploy import onnx_modules as onnx_modules
    from unrolled.deploy import onnx_quantize as onnx_quantize
    from unrolled.deploy import stream as stream

__all__ = [
    "convert",
    "onnx_export",
    "onnx_import",
    "onnx_modules",
    "onnx_quantize",
    "stream",
]

__getattr__, __dir__ = submodules(__name__, __all__)
