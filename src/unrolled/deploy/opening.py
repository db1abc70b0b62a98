"""What the lines of a stream are, as its first one tells: CSV by name or by position, or JSON.

A name may be a number, as where a frame without names was written. Then a row may look like a
header, and one that is taken for it is lost and changes the columns' order, without a word. So of
such names a first line is a row, unless the caller says that it is a header.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from unrolled.deploy.lines import (
    Csv,
    Format,
    HeaderError,
    Json,
    LineError,
    fields_of,
    is_numbered,
    is_of_names,
    json_of,
    listed,
    may_be_a_value,
    outer_of,
)


class Begun(NamedTuple):
    """What a first line tells: the format, whether it is a header, and what is to be said of it."""

    format: Format
    is_header: bool
    remark: str = ""


def format_of(
    first: str,
    inputs: Sequence[str],
    targets: Sequence[str],
    group: str | None,
    has_header: bool | None = None,
) -> Begun:
    """The format of a stream whose first line is this.

    Args:
        first: the line, with the white space around it, which may be part of a name.
        inputs: the columns that a row has.
        targets: the columns that an output has.
        group: the column that tells series apart, if there is one.
        has_header: whether the line is a header. None leaves it to the line, which is one if it has
            the names of all inputs and can't be a row: where the names are all numbers, it can.

    Raises:
        HeaderError: it is no row, and a header of other columns; or it has to be said that it is
            one.
    """
    try:
        fields = fields_of(first.strip())
    except LineError:
        fields = []
    outer = outer_of(first, fields)
    header = None if has_header is False else _header_of(outer, fields, inputs, group)
    is_told = has_header or not (is_numbered(inputs) or _is_json(first))
    if header is not None and is_told:
        _insist_on_once(header, [*inputs, *([] if group is None else [group])])
        return Begun(Csv(inputs, targets, group, header), is_header=True)
    if has_header:
        _refuse_header(outer, inputs)
    remark = "" if header is None else _remark(fields, inputs, is_json=_is_json(first))
    if first.lstrip().startswith(("{", "[")):
        return Begun(Json(inputs, targets, group), is_header=False, remark=remark)
    if has_header is None:
        _refuse_names(outer, inputs)
    return Begun(Csv(inputs, targets, group, None), is_header=False, remark=remark)


def _insist_on_once(header: list[str], read: list[str]) -> None:
    counted = Counter(header)
    for name in read:
        if counted[name] > 1:
            raise HeaderError(f"the header has {name} twice. Leave one of them out")


def _refuse_header(fields: list[str], inputs: Sequence[str]) -> None:
    """Of a line that should be a header and lacks a name."""
    names = [field.strip() for field in fields]
    missing = _missing(inputs, fields, names)
    raise HeaderError(
        f"a header with {listed(inputs, inputs)} was expected, got "
        f"{listed(fields, inputs) or 'no CSV'}{_hint(fields, inputs)}. "
        f"Name {listed(missing or inputs, inputs)} in it, or leave --header out"
    )


def _missing(inputs: Sequence[str], fields: list[str], names: Collection[str]) -> list[str]:
    """The inputs that are not among the names, or, where only white space tells, the fields."""
    missing = [name for name in inputs if name.strip() not in names]
    return missing or [name for name in inputs if name not in fields]


def _remark(fields: list[str], inputs: Sequence[str], *, is_json: bool) -> str:
    """What is said of a first line that has all the names and may be a row as well.

    Raises:
        HeaderError: it has more fields than a row.
    """
    if not is_json and len(fields) != len(inputs):
        raise HeaderError(
            f"{len(inputs)} fields were expected, got {len(fields)}, among them the names "
            f"{listed(inputs)}. If it is a header, add --header: these names could be numbers of "
            "a row. If it is a row, leave the other fields out"
        )
    return (
        f"{listed(fields)} is read as a row, though it has the names of the run's inputs: they "
        "could be numbers of a row. If it is a header, add --header, and if not, --no-header"
    )


def _refuse_names(fields: list[str], inputs: Sequence[str]) -> None:
    """Of a line that is no header of these inputs, if it is one of others."""
    names = [field.strip() for field in fields]
    there = {name for name in names if not may_be_a_value(name)}
    missing = _missing(inputs, fields, there)
    if fields and (len(missing) < len(inputs) or is_of_names(names)):
        told = " and add --header" if is_numbered(inputs) else ""
        raise HeaderError(
            f"a row of numbers or a header with {listed(inputs, inputs)} was expected, got "
            f"{listed(fields, inputs)}{_hint(fields, inputs)}. "
            f"Name {listed(missing, inputs)} in the header"
            f"{told}, or give numbers alone, in this order"
        )


def _hint(fields: list[str], inputs: Sequence[str]) -> str:
    return " (fields are told apart by commas)" if len(fields) == 1 < len(inputs) else ""


def _header_of(
    outer: list[str], fields: list[str], inputs: Sequence[str], group: str | None
) -> list[str] | None:
    """The fields as names, if all inputs are among them; blanks around a name may be missing.

    As they stand in the line they come first: white space may be what tells two names apart.
    """
    for found in (outer, fields):
        if set(inputs) <= set(found):
            return _with_group(found, inputs, group)
    short = {name.strip(): name for name in inputs}
    names = [field.strip() for field in fields]
    if len(short) == len(set(inputs)) and short.keys() <= set(names):
        return _with_group([short.get(name, name) for name in names], inputs, group)
    return None


def _with_group(names: list[str], inputs: Sequence[str], group: str | None) -> list[str]:
    """The names with the group's own, if only white space is missing around it."""
    if group is None or group in names:
        return names
    near = [
        place
        for place, name in enumerate(names)
        if name.strip() == group.strip() and name not in inputs
    ]
    return [group if near == [place] else name for place, name in enumerate(names)]


def _is_json(line: str) -> bool:
    """Whether it is a row's array or object, whatever is in it."""
    try:
        return isinstance(json_of(line), list | dict)
    except LineError:
        return False
