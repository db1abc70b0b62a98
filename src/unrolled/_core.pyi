"""The compiled core: addresses and sizes, in the order of csrc/contract.h.

scan/native.py is the only caller, and checks what it hands over.
"""

def isas() -> list[str]: ...
def activation_f32(isa: int, name: str, x: int, y: int, count: int, /) -> None: ...
def activation_f64(isa: int, name: str, x: int, y: int, count: int, /) -> None: ...
def busy_f32(isa: int, rounds: int, /) -> int: ...
def busy_f64(isa: int, rounds: int, /) -> int: ...

Place = tuple[int, int, int]
Addresses = tuple[int, ...]

class Layout:
    def __init__(
        self,
        steps: int,
        rows: int,
        offsets: int,
        sizes: int,
        reverse: bool,
        begin: int,
        end: int,
        /,
    ) -> None: ...

class PassF32:
    def __init__(
        self, isa: int, cell: int, inputs: int, hidden: int, projection: int, /
    ) -> None: ...
    def sums_size(self, layout: Layout, /) -> int: ...
    def forward(
        self,
        layout: Layout,
        weights: Addresses,
        input: Place,
        h0: int,
        c0: int,
        output: Place,
        h_n: int,
        c_n: int,
        gates: int,
        cells: int,
        raw: int,
        threads: int,
        /,
    ) -> None: ...
    def backward(
        self,
        layout: Layout,
        weights: Addresses,
        input: Place,
        h0: int,
        c0: int,
        output: Place,
        gates: int,
        cells: int,
        raw: int,
        d_output: Place,
        d_h_n: int,
        d_c_n: int,
        d_h0: int,
        d_c0: int,
        carried: Addresses,
        d_input: Place,
        adds_to_input: bool,
        sums: int,
        gradients: Addresses,
        threads: int,
        /,
    ) -> None: ...

class PassF64(PassF32): ...
