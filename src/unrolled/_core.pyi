"""The compiled core: memory by its address and size, in the order of csrc/contract.h.

It keeps within the memory that it is told of, and raises ValueError where a call would reach
further. scan/native.py, scan/plan.py and scan/layer.py are the only callers.
"""

from typing import Any, overload

Memory = tuple[int, int]
Place = tuple[int, int, int, int, int]
Read = tuple[list[Memory], list[Place], list[Memory], list[Memory]]
Left = tuple[Place, list[Memory]]

def isas() -> list[str]: ...
def products(isa: int, /) -> list[str]: ...
def busy_f32(isa: int, products: str, rounds: int, /) -> int: ...
def busy_f64(isa: int, products: str, rounds: int, /) -> int: ...

class Sizes:
    def __init__(self, rows: int, sizes: list[int], /) -> None: ...
    def offset(self, step: int, /) -> int: ...

class Layout:
    @overload
    def __init__(self, steps: int, rows: int, reverse: bool, begin: int, end: int, /) -> None: ...
    @overload
    def __init__(self, sizes: Sizes, reverse: bool, begin: int, end: int, /) -> None: ...

class PassF32:
    """One kind of layer in one direction."""

    kept: list[int]
    def sums_size(self, layout: Layout, wanted: int, /) -> int: ...
    def forward(
        self, layout: Layout, read: Read, left: Left, after: list[Memory], threads: int, /
    ) -> None: ...
    def backward(
        self,
        layout: Layout,
        read: Read,
        left: Left,
        loss: tuple[Place, list[Memory]],
        found: tuple[list[Memory], Place, bool, list[Memory]],
        carried: tuple[list[Memory], Memory],
        sums: tuple[int, Memory, list[Memory]],
        threads: int,
        /,
    ) -> None: ...

class PassF64(PassF32): ...

class KernelF32(PassF32):
    def __init__(
        self,
        isa: int,
        products: str,
        cell: str,
        inputs: int,
        hidden: int,
        projection: int,
        biased: bool,
        /,
    ) -> None: ...

class KernelF64(KernelF32): ...

class ProgramF32(PassF32):
    def __init__(self, isa: int, products: str, program: Program, /) -> None: ...

class ProgramF64(ProgramF32): ...

def cells() -> list[tuple[str, int]]: ...
def instructions() -> list[tuple[str, int]]: ...
def instruct_f32(isa: int, name: str, x: list[Memory], y: Memory, /) -> None: ...
def instruct_f64(isa: int, name: str, x: list[Memory], y: Memory, /) -> None: ...

class Program:
    def __init__(
        self,
        inputs: list[int],
        constants: list[int],
        states: list[int],
        weights: list[tuple[int, int]],
        numbers: list[float],
        infer: Any,
        train: Any,
        back: Any,
        kept: int,
        derivatives: int,
        state_places: list[int],
        to_input: list[Any],
        weight_gradients: list[Any],
        /,
    ) -> None: ...
