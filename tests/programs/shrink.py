"""Makes a program that shows a difference smaller while it still shows the same one."""

from __future__ import annotations

import ast
import copy
import time
from collections.abc import Callable, Iterator

from programs.program import Program, Step

Fails = Callable[[Program], bool]
Steps = tuple[Step, ...]


def shrink(program: Program, fails: Fails, *, seconds: float = 6) -> Program:
    """The smallest found in so much of the processor's time.

    ``fails`` says whether a program shows the difference.
    """
    end = time.process_time() + seconds
    improved = True
    while improved and time.process_time() < end:
        improved = False
        for reduce in (_fewer, _shorter, _simplified):
            index = len(program.steps) - 1
            while index >= 0 and time.process_time() < end:
                for smaller in reduce(program.steps, index):
                    if fails(program.with_steps(smaller)):
                        program, improved = program.with_steps(smaller), True
                        break
                else:
                    index -= 1
                index = min(index, len(program.steps) - 1)
    return program


def _fewer(steps: Steps, index: int) -> Iterator[Steps]:
    yield _without(steps, index)


def _shorter(steps: Steps, index: int) -> Iterator[Steps]:
    if renamed := _passed_through(steps, index):
        yield renamed


def _simplified(steps: Steps, index: int) -> Iterator[Steps]:
    for source in _simpler(steps[index]):
        changed = Step(source, steps[index].features)
        yield (*steps[:index], changed, *steps[index + 1 :])


def _without(steps: Steps, index: int) -> Steps:
    """Without a step and all that need what it defines."""
    kept, missing, known = list(steps[:index]), set(steps[index].defines), set[str]()
    for step in kept:
        known |= step.defines
    missing -= known
    for step in steps[index + 1 :]:
        if step.uses & missing:
            missing |= step.defines - known
        else:
            kept.append(step)
            missing -= step.defines
            known |= step.defines
    return tuple(kept)


def _passed_through(steps: Steps, index: int) -> Steps | None:
    """``x2 = f(x1)`` left out, and x1 in the place of x2."""
    step = steps[index]
    node = step.tree.body[0]
    if not isinstance(node, ast.Assign) or len(step.defines) != 1:
        return None
    before = {name for earlier in steps[:index] for name in earlier.defines}
    sources = [
        n.id for n in ast.walk(node.value) if isinstance(n, ast.Name) and n.id in before
        and n.id[-1].isdigit()
    ]  # fmt: skip
    if not sources:
        return None
    (name,) = step.defines
    later = [Step(_renamed(s, name, sources[0]), s.features) for s in steps[index + 1 :]]
    return (*steps[:index], *later)


def _renamed(step: Step, old: str, new: str) -> str:
    if old not in step.uses:
        return step.source
    tree = copy.deepcopy(step.tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == old:
            node.id = new
    return ast.unparse(tree)


def _simpler(step: Step) -> Iterator[str]:
    """Its source with a term, an argument, an option or a block less, or a number smaller."""
    count = sum(1 for _ in ast.walk(step.tree))
    for index in range(count):
        for choice in range(8):
            tree = copy.deepcopy(step.tree)
            node = next(n for i, n in enumerate(ast.walk(tree)) if i == index)
            parent = {id(c): p for p in ast.walk(tree) for c in ast.iter_child_nodes(p)}
            if not _simplify(node, parent.get(id(node)), choice):
                break
            source = ast.unparse(tree)
            if source != step.source:
                yield source


def _simplify(node: ast.AST, parent: ast.AST | None, choice: int) -> bool:
    """Applies one of the node's simplifications; False if there are not so many."""
    match node:
        case ast.BinOp(op=ast.Add() | ast.Mult()) if choice < 2 and parent is not None:
            _replace(parent, node, node.left if choice == 0 else node.right)
            return True
        case ast.List(elts=[_, _, *_]) | ast.Tuple(elts=[_, _, _, *_], ctx=ast.Load()):
            if choice < len(node.elts):
                del node.elts[choice]
                return True
        case ast.Call():
            if choice < len(node.keywords):
                if node.keywords[choice].arg is not None:
                    del node.keywords[choice]
                return True
            if choice == len(node.keywords) and len(node.args) > 1:
                del node.args[-1]
                return True
        case ast.With(body=body) | ast.For(body=body) if choice == 0 and parent is not None:
            place = parent.body.index(node)  # type: ignore[attr-defined]
            parent.body[place : place + 1] = body  # type: ignore[attr-defined]
            return True
        case ast.Constant(value=int(value)) if choice == 0 and value > 1:
            node.value = value - 1
            return True
    return False


def _replace(parent: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for name, value in ast.iter_fields(parent):
        if value is old:
            setattr(parent, name, new)
        elif isinstance(value, list):
            setattr(parent, name, [new if item is old else item for item in value])
