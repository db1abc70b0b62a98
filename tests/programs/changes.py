"""What is changed in place, of values, weights and modules, and what hooks are hung where."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from programs.drawing import Drawing, Module, Often

NO_GRAD = "with torch.no_grad():\n    "

# Of an output, a state, an input or what was computed from them.
CHANGES: dict[str, Any] = {
    "mul_": "{v}.mul_(0.5)",
    "mul_mask": "{v} *= (noise({v}) > -0.5)",
    "mul_other": "{v}.mul_({w})",
    "add_": "{v} += 0.1",
    "add_other": "{v}.add_({w})",
    "relu_": "{v}.relu_()",
    "tanh_": "torch.tanh_({v})",
    "dropout_": "F.dropout({v}, 0.4, inplace=True)",
    "functional_relu_": "F.relu({v}, inplace=True)",
    "zero_": "{v}.zero_()",
    "copy_": "{v}.copy_(noise({v}))",
    "clamp_": "{v}.clamp_(-0.3, 0.3)",
    "masked_fill_": "{v}.masked_fill_({v} > 0.2, 0.0)",
    "item": "{v}[0] = 0.5",
    "slice_zero_": "{v}[..., :1].zero_()",
    "select_mul_": "{v}.select(0, -1).mul_(0.5)",
    "transposed_mul_": "{v}.transpose(0, -1).mul_(0.5)",
    "alias_mul_": "{v}.view_as({v}).mul_(0.5)",
    "index_add_": "{v}.index_add_(0, torch.tensor([0]), torch.ones_like({v}[:1]))",
    "detached_mul_": "{v}.detach().mul_(0.5)",
    "no_grad_mul_": NO_GRAD + "{v}.mul_(0.5)",
    "no_grad_zero_": NO_GRAD + "{v}.zero_()",
    "no_grad_relu_": NO_GRAD + "{v}.relu_()",
    "data_mul_": "{v}.data.mul_(0.5)",
    "data_assigned": "{v}.data = {v}.data * 0.5",
    "numpy": "{v}.detach().numpy().fill(0.25)",
    "detach_": Often(0.3, "{v}.detach_()"),
    "requires_grad_": Often(0.5, "{v}.requires_grad_()"),
    "batch_sizes_zero_": Often(1, ""),
    "batch_sizes_mul_": Often(1, ""),
    "packed_data_mul_": Often(1, ""),
}

_ON_LEAVES = ("no_grad_mul_", "no_grad_zero_", "data_mul_", "data_assigned", "numpy")
_OF_PACKED = {
    "batch_sizes_zero_": "{p}.batch_sizes.zero_()",
    "batch_sizes_mul_": "{p}.batch_sizes.mul_(2)",
    "packed_data_mul_": "{p}.data.mul_(0.5)",
}

WEIGHT_CHANGES: dict[str, str] = {
    "no_grad_mul_": NO_GRAD + "{m}.{weight}.mul_(0.9)",
    "no_grad_zero_": NO_GRAD + "{m}.{weight}[0].zero_()",
    "data_mul_": "{m}.{weight}.data.mul_(0.9)",
    "sgd": "torch.optim.SGD({m}.parameters(), 0.1).step()",
    "load_state_dict": "{m}.load_state_dict({{n: w * 0.9 for n, w in {m}.state_dict().items()}})",
    "assigned": "{m}.{weight} = torch.nn.Parameter({m}.{weight}.detach() * 0.9)",
    "data_assigned": "{m}.{weight}.data = {m}.{weight}.data * 0.9",
    "frozen": "{m}.{weight}.requires_grad_(False)",
}

# Before a module is called for the first time, or between two calls.
MODULE_CHANGES: dict[str, Any] = {
    "eval": Often(2, "{m}.eval()"),
    "frozen": Often(2, "{m}.{weight}.requires_grad_(False)"),
    "all_frozen": Often(1.5, "{m}.requires_grad_(False)"),
    "only_one_trained": "{m}.requires_grad_(False)\n{m}.{weight}.requires_grad_()",
    "tied_layers": Often(2, "{m}.weight_hh_l1 = {m}.weight_hh_l0"),
    "tied_modules": Often(6, "{other}.{weight} = {m}.{weight}"),
    "weight_norm": Often(2, 'weight_norm({m}, "{weight}")'),
    "squashed": Often(1.5, 'register_parametrization({m}, "{weight}", Squashed())'),
    "spectral_norm": 'spectral_norm({m}, "{weight}")',
    "noisy": 'register_parametrization({m}, "{weight}", Noisy())',
    "deepcopy": "{new} = copy.deepcopy({m})",
    "deepcopy_in_inference": "with torch.inference_mode():\n    {new} = copy.deepcopy({m})",
    "flatten_parameters": Often(0.5, "{m}.flatten_parameters()"),
}

HOOKS: dict[str, Any] = {
    "watched": Often(2, "{seen} = watched({v})"),
    "scales": Often(2, "renewed({v}).register_hook(lambda gradient: gradient * 2)"),
    "strides": "renewed({v}).register_hook(strided)",
    "transposes": "renewed({v}).register_hook(transposed)",
    "replaces": "renewed({v}).register_hook(replaced)",
    "negates": "renewed({v}).register_hook(torch._neg_view)",
    "retain_grad": Often(2, "renewed({v}).retain_grad()"),
    "multi_grad": "{seen} = []\nregister_multi_grad_hook(({v}, {w}), {seen}.append)",
    "of_weight": "{seen} = watched({m}.{weight})",
    "after_accumulation": "{seen} = []\n{m}.{weight}.register_post_accumulate_grad_hook("
    "lambda w: {seen}.append(w.grad.clone()))",
    "forward_pre": "{m}.register_forward_pre_hook(lambda _, given: doubled(given))",
    "forward": "{m}.register_forward_hook(lambda _, given, result: doubled(result))",
    "forward_inputs": "{seen} = []\n{m}.register_forward_hook("
    "lambda _, given, result: {seen}.append([*map(torch.clone, nested((given, result)))]))",
    "full_backward": "{seen} = []\n{m}.register_full_backward_hook(backwards_hook({seen}, 1))",
    "full_backward_scales": "{seen} = []\n"
    "{m}.register_full_backward_hook(backwards_hook({seen}, 2))",
    "full_backward_pre": "{m}.register_full_backward_pre_hook(lambda _, out: doubled(out))",
}


def change(d: Drawing) -> None:
    """A change of a value, or, more rarely, of a weight."""
    if d.random() < 0.25:
        m = d.pick(d.modules)
        entry, template = d.entry(WEIGHT_CHANGES)
        if m.parametrized and entry in ("assigned", "load_state_dict", "frozen"):
            return
        d.emit(template.format(m=m.name, weight=d.pick(m.weights)), f"weights:{entry}")
        return
    value = d.some()
    if value is None:
        return
    entry, template = d.entry(CHANGES)
    if entry in _OF_PACKED:
        if d.packed:
            d.emit(_OF_PACKED[entry].format(p=d.pick(d.packed)), f"change:{entry}")
        return
    if value.role == "leaf" and value.tracked and entry not in _ON_LEAVES and d.random() < 0.95:
        return
    if entry == "requires_grad_" and value.tracked:
        return
    other = d.pick(d.same_shape(value.shape)).name
    d.emit(template.format(v=value.name, w=other), f"change:{entry}")


def hook(d: Drawing) -> None:
    """A hook on a value, a weight or a module."""
    entry, template = d.entry(HOOKS)
    value, other = d.some(tracked=True), d.some(tracked=True)
    m = d.pick(d.modules)
    if value is None or other is None or ("{weight}" in template and m.parametrized):
        return
    names = {"v": value.name, "w": other.name, "m": m.name, "weight": d.pick(m.weights)}
    d.emit(template.format(seen=d.new("seen"), **names), f"hook:{entry}")
    if "{m}.register" in template:
        d.replace(m, hooked=True)


def mend(d: Drawing) -> None:
    """A module made another: frozen, shared, parametrized, copied."""
    m, (entry, template) = d.pick(d.modules), d.entry(MODULE_CHANGES)
    names = {"m": m.name, "weight": d.pick(m.weights), "new": "", "other": ""}
    if m.parametrized and entry != "eval":
        return
    if "tied" in entry:
        found = _tied(d, m, entry)
        if found is None:
            return
        names |= found
    if entry in ("deepcopy", "deepcopy_in_inference"):
        names["new"] = d.new("m")
        d.modules.append(replace(m, name=names["new"]))
    if entry == "flatten_parameters" and m.is_cell:
        return
    d.emit(template.format(**names), f"modules:{entry}")
    if entry in ("all_frozen", "only_one_trained"):
        d.replace(m, trained=entry != "all_frozen")
    if entry in ("weight_norm", "squashed", "spectral_norm", "noisy"):
        d.replace(m, parametrized=True)


def _tied(d: Drawing, m: Module, entry: str) -> dict[str, str] | None:
    """The names for a tie, or None where there is nothing alike."""
    if entry == "tied_layers":
        return {} if m.layers == 2 else None
    others = [
        o
        for o in d.modules
        if o is not m
        and not o.parametrized
        and o.kind == m.kind
        and (o.width, o.projected) == (m.width, m.projected)
    ]
    if not others:
        return None
    other = d.pick(others)
    return {"other": other.name, "weight": d.pick(m.weights[:2])}
