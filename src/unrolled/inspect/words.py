"""The words of the report's page, in English and in Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from unrolled.errors import InputError

Language = Literal["en", "zh"]


def checked_language(language: str) -> Language:
    """The language if there is one of this name.

    Raises:
        InputError: there is not.
    """
    for known in get_args(Language):
        if language == known:
            found: Language = known
            return found
    raise InputError(f"language: one of {', '.join(get_args(Language))} was expected: {language!r}")


def phrase(table: Mapping[str, tuple[str, str]], key: str, language: Language) -> str:
    """One phrase of a table that has each in all languages."""
    return table[key][get_args(Language).index(language)]


PAGE: dict[str, tuple[str, str]] = {
    # The head and the foot.
    "noscript": (
        "The drawings need JavaScript, which this browser has switched off.",
        "图形需要 JavaScript，而此浏览器已将其关闭。",
    ),
    "facts": (
        "{cell}, {layers} × {directions}, input size {inputs}, hidden size {hidden}; "
        "row {row} of {batch}, steps {first} to {last}",
        "{cell}，{layers} × {directions}，输入大小 {inputs}，隐藏大小 {hidden}；"
        "第 {row} 行（共 {batch} 行），时间步 {first} 至 {last}",
    ),
    "facts_diagnosis": ("{cell}, measured over {steps} steps", "{cell}，在 {steps} 个时间步上测得"),
    "layer_one": ("1 layer", "1 层"),
    "layer_many": ("{n} layers", "{n} 层"),
    "direction_one": ("1 direction", "1 个方向"),
    "direction_many": ("{n} directions", "{n} 个方向"),
    "module": ("module {name}", "模块 {name}"),
    "footer": (
        "Made by unrolled {version}. The page is one file and asks the network for nothing.",
        "由 unrolled {version} 生成。此页是单个文件，不访问网络。",
    ),
    # The controls.
    "walk": ("Walk through the time steps", "逐个时间步浏览"),
    "play": ("Play", "播放"),
    "pause": ("Pause", "暂停"),
    "time_step": ("Time step", "时间步"),
    "where": ("step {step} of {last}", "第 {step} 步，末步 {last}"),
    "step": ("step", "步"),
    "step_number": ("step {step}", "第 {step} 步"),
    "layer": ("layer", "层"),
    "unit": ("unit", "单元"),
    "forward": ("forward", "正向"),
    "reverse": ("reverse", "反向"),
    "mean_option": ("mean of all", "全部单元的均值"),
    "keys": (
        "The slider, the arrow keys ← → or a click on a plot move to another time step.",
        "拖动滑块、按方向键 ← →，或点击下方的图，即可移到另一个时间步。",
    ),
    # The cell.
    "cell_heading": ("The cell at this step", "这一步的细胞"),
    "cell_label": ("Drawing of the {cell} cell.", "{cell} 细胞示意图。"),
    "quantities_caption": ("All quantities of this step", "这一步的全部数值"),
    "the_mean": ("mean of the {units} units", "{units} 个单元的均值"),
    "the_unit": ("unit {unit}", "单元 {unit}"),
    "LSTM_sentence": (
        "Step {step}, {whose}: of the cell state {cell_before} the forget gate ({forget}) keeps "
        "{kept}; the memory gate, input gate {input} times candidate {candidate}, writes "
        "{written}; the new cell state is {cell}, and the output gate ({output}) lets out the "
        "hidden state {hidden}.",
        "第 {step} 步，{whose}：细胞状态 {cell_before} 经遗忘门（{forget}）保留 {kept}；"
        "记忆门，即输入门 {input} 乘候选值 {candidate}，写入 {written}；"
        "新的细胞状态为 {cell}，输出门（{output}）放出隐藏状态 {hidden}。",
    ),
    "GRU_sentence": (
        "Step {step}, {whose}: of the hidden state {hidden_before} the update gate ({update}) "
        "keeps {kept}; the candidate {candidate}, made with the reset gate at {reset}, writes "
        "{written}; the new hidden state is {hidden}.",
        "第 {step} 步，{whose}：隐藏状态 {hidden_before} 经更新门（{update}）保留 {kept}；"
        "候选值 {candidate}（重置门为 {reset}）写入 {written}；新的隐藏状态为 {hidden}。",
    ),
    "RNN_sentence": (
        "Step {step}, {whose}: the hidden state {hidden_before} and the input make the new hidden "
        "state {hidden}. There is no gate: nothing is kept but by way of the weights.",
        "第 {step} 步，{whose}：隐藏状态 {hidden_before} 与输入共同得到新的隐藏状态 {hidden}。"
        "没有门：一切只能经由权重保留。",
    ),
    "other_sentence": ("Step {step}, {whose}: {changes}.", "第 {step} 步，{whose}：{changes}。"),
    "state_change": ("{state} from {before} to {after}", "{state} 由 {before} 变为 {after}"),
    "and": ("; ", "；"),
    "states_before": ("States before the step", "这一步之前的状态"),
    "lines": ("Lines of the equations", "方程中的各行"),
    "states_after": ("States after the step", "这一步之后的状态"),
    "forget_gate": ("Forget gate: what is kept", "遗忘门：保留什么"),
    "memory_gate": ("Memory gate: what is written", "记忆门：写入什么"),
    "cell_state": ("Cell state", "细胞状态"),
    "output_gate": ("Output gate: what is let out", "输出门：放出什么"),
    "reset_gate": ("Reset gate: what the candidate sees", "重置门：候选值看到什么"),
    "update_gate": ("Update gate: what is kept", "更新门：保留什么"),
    "candidate_heading": ("Candidate: what is written", "候选值：写入什么"),
    "hidden_state": ("Hidden state", "隐藏状态"),
    "LSTM_forget": ("forget gate f", "遗忘门 f"),
    "LSTM_cell_before": ("cell state before cₜ₋₁", "之前的细胞状态 cₜ₋₁"),
    "LSTM_kept": ("kept f ⊙ cₜ₋₁", "保留 f ⊙ cₜ₋₁"),
    "LSTM_input": ("input gate i", "输入门 i"),
    "LSTM_candidate": ("candidate g", "候选值 g"),
    "LSTM_written": ("written i ⊙ g", "写入 i ⊙ g"),
    "LSTM_cell": ("cell state cₜ = f ⊙ cₜ₋₁ + i ⊙ g", "细胞状态 cₜ = f ⊙ cₜ₋₁ + i ⊙ g"),
    "LSTM_output": ("output gate o", "输出门 o"),
    "LSTM_shown": ("tanh cₜ", "tanh cₜ"),
    "LSTM_hidden": ("hidden state hₜ = o ⊙ tanh cₜ", "隐藏状态 hₜ = o ⊙ tanh cₜ"),
    "LSTM_hidden_projected": (
        "hidden state hₜ = W_hr (o ⊙ tanh cₜ)",
        "隐藏状态 hₜ = W_hr (o ⊙ tanh cₜ)",
    ),
    "GRU_reset": ("reset gate r", "重置门 r"),
    "GRU_update": ("update gate z", "更新门 z"),
    "GRU_hidden_before": ("hidden state before hₜ₋₁", "之前的隐藏状态 hₜ₋₁"),
    "GRU_kept": ("kept z ⊙ hₜ₋₁", "保留 z ⊙ hₜ₋₁"),
    "GRU_candidate": ("candidate n", "候选值 n"),
    "GRU_written": ("written (1 − z) ⊙ n", "写入 (1 − z) ⊙ n"),
    "GRU_hidden": ("hidden state hₜ", "隐藏状态 hₜ"),
    "RNN_hidden_before": ("before hₜ₋₁", "之前 hₜ₋₁"),
    "RNN_hidden": ("after hₜ", "之后 hₜ"),
    # The network.
    "unrolled_heading": ("The network, unrolled", "按时间展开的网络"),
    "unrolled_text": (
        "The same cell, with the same weights, at one step after another: x comes in from below, "
        "the state is handed on, h goes out above.",
        "同一个细胞，用同样的权重，一步接一步：x 从下方输入，状态向后传递，h 从上方输出。",
    ),
    "unrolled_label": (
        "The network unrolled around step {step}; its hidden state there is {hidden}.",
        "网络在第 {step} 步附近展开；该处隐藏状态为 {hidden}。",
    ),
    "stack_heading": ("Layers, directions and shapes", "层、方向与形状"),
    "stack_text": (
        "T time steps, B sequences in the batch, I input size, H hidden size, L layers, D "
        "directions. The size of the output is the hidden size, once for each direction.",
        "T 时间步数，B 批中的序列数，I 输入大小，H 隐藏大小，L 层数，D 方向数。"
        "输出的大小就是隐藏大小，每个方向各一份。",
    ),
    "stack_text_projected": (
        "T time steps, B sequences in the batch, I input size, H hidden size, P size of the "
        "projection, L layers, D directions. The size of the output is that of the projection, "
        "once for each direction.",
        "T 时间步数，B 批中的序列数，I 输入大小，H 隐藏大小，P 投影大小，L 层数，D 方向数。"
        "输出的大小就是投影大小，每个方向各一份。",
    ),
    "stack_label": (
        "{layers} layers in {directions} directions. Input {input}, initial states {states}, "
        "output {output}.",
        "{layers} 层，{directions} 个方向。输入 {input}，初始状态 {states}，输出 {output}。",
    ),
    # Over time.
    "time_heading": ("Every gate, every unit, every step", "每个门、每个单元、每一步"),
    "time_text": (
        "Time runs to the right, units from the top down. A click goes to that step, a double "
        "click shows that unit in the cell above.",
        "时间向右，单元自上而下。单击移到该步，双击则在上方的细胞中显示该单元。",
    ),
    "order": ("units by", "单元排序"),
    "order_number": ("number", "编号"),
    "order_constants": ("time constant, the longest on top", "时间常数，最长者在上"),
    "order_spread": ("how much they move, the most on top", "变动幅度，最大者在上"),
    "colours": ("colours", "颜色"),
    "colours_full": ("over the gate's whole range", "覆盖门的全部范围"),
    "colours_data": ("as far as the values go", "仅到实际取值为止"),
    "input": ("input", "输入"),
    "target": ("target", "目标"),
    "prediction": ("prediction", "预测"),
    "gate": ("gate", "门"),
    "line_named": ("{name}", "{name}"),
    "gate_named": ("gate {name}", "门 {name}"),
    "state_named": ("state {name}", "状态 {name}"),
    "gate_input": ("input gate", "输入门"),
    "gate_forget": ("forget gate", "遗忘门"),
    "gate_candidate": ("candidate", "候选值"),
    "gate_output": ("output gate", "输出门"),
    "gate_reset": ("reset gate", "重置门"),
    "gate_update": ("update gate", "更新门"),
    "gate_cell": ("cell state", "细胞状态"),
    "gate_hidden": ("hidden state", "隐藏状态"),
    "heat_label": (
        "Heat map of the {gate}: {units} units over {steps} steps, colours from {low} to {high}.",
        "{gate}热图：{units} 个单元，{steps} 个时间步，颜色从 {low} 到 {high}。",
    ),
    # Memory.
    "memory_heading": ("How far it remembers", "能记多远"),
    "lag_caption": (
        "What is left of the gradient so many steps before the end, as a share of that at the end",
        "结束前若干步处还剩多少梯度（相对于结束处）",
    ),
    "lag_label": (
        "Gradient by lag: {left} of it is left {lags} steps back; it falls below {share} after "
        "{horizon} steps.",
        "梯度随滞后的变化：{lags} 步之前还剩 {left}；{horizon} 步之后降到 {share} 以下。",
    ),
    "lag_label_whole": (
        "Gradient by lag: {left} of it is left {lags} steps back; it never falls below {share}.",
        "梯度随滞后的变化：{lags} 步之前还剩 {left}；从未降到 {share} 以下。",
    ),
    "lag_axis": ("steps back", "往回的步数"),
    "lag_gradient": ("loss by the state", "损失对状态"),
    "lag_saliency": ("output by the input", "输出对输入"),
    "horizon": ("horizon: {horizon} steps ({share})", "视界：{horizon} 步（{share}）"),
    "horizon_whole": ("horizon: beyond {lags} steps ({share})", "视界：超过 {lags} 步（{share}）"),
    "spectrum_caption": (
        "Lyapunov exponents: how fast small differences of the state grow (above 0) or die out",
        "李雅普诺夫指数：状态的微小差异增长（大于 0）或消失的快慢",
    ),
    "spectrum_label": (
        "{count} Lyapunov exponents, the largest {largest}.",
        "{count} 个李雅普诺夫指数，最大为 {largest}。",
    ),
    "spectrum_axis": ("exponent, the largest first", "指数，最大者在前"),
    "constants_caption": (
        "Time constants of the units: after so many steps 1/e of the state is left",
        "各单元的时间常数：经过这么多步，状态剩下 1/e",
    ),
    "constants_axis": ("time constant τ, steps", "时间常数 τ（步）"),
    "constants_bias": ("by the biases alone", "仅由偏置"),
    "constants_mean": ("by the mean gate", "由门的均值"),
    "constants_trajectory": ("along the data", "沿数据"),
    "constants_label": (
        "{kind}: {units} units, median {median} steps.",
        "{kind}：{units} 个单元，中位数 {median} 步。",
    ),
    "median": ("median", "中位数"),
    "pinned_caption": (
        "How much of the time each gate is pinned, where it learns next to nothing",
        "各门饱和的时间占比（饱和时几乎学不到东西）",
    ),
    "pinned_low": ("low", "低端"),
    "pinned_between": ("between", "之间"),
    "pinned_high": ("high", "高端"),
    "letter_heading": ("The doctor's letter", "诊断书"),
}
