"""The compiled core: memory by its address and size, in the order of csrc/contract.h.

It keeps within the memory that it is told of, and raises ValueError where a call would reach
further. scan/native.py and scan/linked.py are the only callers.
"""

from typing import Any, overload

Memory = tuple[int, int]
Place = tuple[int, int, int, int, int]
Memories = tuple[Memory, ...]

def isas() -> list[str]: ...
def busy_f32(isa: int, rounds: int, /) -> int: ...
def busy_f64(isa: int, rounds: int, /) -> int: ...

class Sizes:
    def __init__(self, rows: int, sizes: list[int], /) -> None: ...
    def offset(self, step: int, /) -> int: ...

class Layout:
    @overload
    def __init__(self, steps: int, rows: int, reverse: bool, begin: int, end: int, /) -> None: ...
    @overload
    def __init__(self, sizes: Sizes, reverse: bool, begin: int, end: int, /) -> None: ...

class PassF32:
    def __init__(
        self, isa: int, cell: str, inputs: int, hidden: int, projection: int, /
    ) -> None: ...
    def sums_size(self, layout: Layout, wanted: int, /) -> int: ...
    def forward(
        self,
        layout: Layout,
        weights: Memories,
        input: Place,
        h0: Memory,
        c0: Memory,
        output: Place,
        h_n: Memory,
        c_n: Memory,
        gates: Memory,
        cells: Memory,
        raw: Memory,
        threads: int,
        /,
    ) -> None: ...
    def backward(
        self,
        layout: Layout,
        weights: Memories,
        input: Place,
        h0: Memory,
        c0: Memory,
        output: Place,
        gates: Memory,
        cells: Memory,
        raw: Memory,
        d_output: Place,
        d_h_n: Memory,
        d_c_n: Memory,
        d_h0: Memory,
        d_c0: Memory,
        carried: Memories,
        d_input: Place,
        adds_to_input: bool,
        wanted: int,
        sums: Memory,
        gradients: Memories,
        threads: int,
        /,
    ) -> None: ...

class PassF64(PassF32): ...

def cells() -> list[tuple[str, int, int]]: ...
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

class ProgramF32:
    def __init__(self, isa: int, program: Program, /) -> None: ...
    def sums_size(self, layout: Layout, wanted: int, /) -> int: ...
    def forward(
        self,
        layout: Layout,
        weights: list[Memory],
        inputs: list[Place],
        constants: list[Memory],
        before: list[Memory],
        output: Place,
        after: list[Memory],
        kept: Memory,
        threads: int,
        /,
    ) -> None: ...
    def backward(
        self,
        layout: Layout,
        weights: list[Memory],
        inputs: list[Place],
        constants: list[Memory],
        before: list[Memory],
        output: Place,
        kept: Memory,
        d_output: Place,
        d_after: list[Memory],
        d_before: list[Memory],
        carried: list[Memory],
        total: Memory,
        d_input: Place,
        adds_to_input: bool,
        d_constants: list[Memory],
        wanted: int,
        sums: Memory,
        gradients: list[Memory],
        threads: int,
        /,
    ) -> None: ...

class ProgramF64(ProgramF32): ...
