"""The phrases of the letter, in English and in Chinese."""

from __future__ import annotations

LETTER: dict[str, tuple[str, str]] = {
    "headline": (
        "The {cell} {where}, over {steps} steps: {verdict}",
        "{cell}（{where}），{steps} 个时间步：{verdict}",
    ),
    "at": ("at {name!r}", "位于 {name!r}"),
    "itself": ("(the model itself)", "模型本身"),
    "vanishing": ("VANISHING", "梯度消失"),
    "steady": ("STEADY", "梯度平稳"),
    "exploding": ("EXPLODING", "梯度爆炸"),
    "measured": ("Measured", "测得"),
    "to_try": ("To try", "可以尝试"),
    # What was measured.
    "left": (
        "Of the gradient at the end, {left} is left {lags} steps earlier (a factor {rate} a step, "
        "{scale}).",
        "结束处的梯度，在 {lags} 步之前还剩 {left}（每步乘以 {rate}，{scale}）。",
    ),
    "no_decay": ("no decay", "不衰减"),
    "scale": ("to 1/e in {steps} steps", "{steps} 步降到 1/e"),
    "times": ("{times} times as much", "{times} 倍"),
    "horizon_whole": (
        "Horizon: the whole window of {lags} steps is above {share}; the memory may reach further "
        "than was measured.",
        "视界：整个 {lags} 步的窗口都高于 {share}；记忆可能比测到的更远。",
    ),
    "horizon": (
        "Horizon: {horizon} steps; what lies further back reaches the weights with less than "
        "{share} of the gradient.",
        "视界：{horizon} 步；更早的内容只能以不到 {share} 的梯度到达权重。",
    ),
    "lyapunov": (
        "Largest Lyapunov exponent: {largest} a step, that is a factor {factor} in the long run: "
        "{means}.",
        "最大李雅普诺夫指数：每步 {largest}，即长期每步乘以 {factor}：{means}。",
    ),
    "die_out": ("differences die out", "差异会消失"),
    "grow": ("differences grow: the state is chaotic", "差异会增长：状态是混沌的"),
    "of_state": ("{state}: ", "{state}："),
    "no_constants": (
        "No time constants: no state of the {cell} is a share of itself and something new, "
        "s_t = a ⊙ s_{{t−1}} + ….",
        "没有时间常数：{cell} 没有形如 s_t = a ⊙ s_{{t−1}} + … 的状态。",
    ),
    "constant_share": (
        "Of the {state} a step always keeps {share}: its units have no time constants to measure.",
        "{state}每一步总是保留 {share}：没有可测的单元时间常数。",
    ),
    "constants_bias": (
        "Time constants by the biases alone: {spread}.",
        "仅由偏置得到的时间常数：{spread}。",
    ),
    "constants_mean": ("Time constants by the mean gate: {spread}.", "由门的均值：{spread}。"),
    "constants_trajectory": ("Time constants along the data: {spread}.", "沿数据：{spread}。"),
    "spread": ("{low} to {high} steps, median {median}", "{low} 至 {high} 步，中位数 {median}"),
    "pinned": (
        "Layer {layer}: the {gate} is pinned for {share} of the time ({low} at the bottom, {high} "
        "at the top).",
        "第 {layer} 层：{gate}有 {share} 的时间饱和（低端 {low}，高端 {high}）。",
    ),
    "dead": (
        "Layer {layer}: {n} units never move: {units}.",
        "第 {layer} 层：{n} 个单元从不变化：{units}。",
    ),
    "counters": (
        "Layer {layer}: units of the {state} that count: {units}.",
        "第 {layer} 层：{state}中计数的单元：{units}。",
    ),
    "counter": (
        "{unit} ({rise} a step of symbol {up}, {fall} a step of symbol {down})",
        "{unit}（每读到符号 {up} 变化 {rise}，每读到符号 {down} 变化 {fall}）",
    ),
    "counter_joint": (", ", "，"),
    # What to try.
    "clip": (
        "Clip the gradient's norm (torch.nn.utils.clip_grad_norm_): it grows by a factor {rate} a "
        "step.",
        "裁剪梯度的范数（torch.nn.utils.clip_grad_norm_）：它每步增长为 {rate} 倍。",
    ),
    "orthogonal": (
        "Start the recurrent weights smaller or orthogonal: the largest factor a step should be "
        "near 1.",
        "让循环权重的初始值更小，或取正交矩阵：每步的最大倍数应接近 1。",
    ),
    "use_gates": (
        "If what matters lies more than {horizon} steps back, use an LSTM or a GRU: the {cell} has "
        "no path on which the gradient is kept.",
        "若重要的内容在 {horizon} 步以前，请用 LSTM 或 GRU：{cell} 没有能保住梯度的通路。",
    ),
    "raise_bias": (
        "If what matters lies more than {horizon} steps back, raise the bias of the {gate} (to 1 "
        "or more; ln(T − 1) = {log} keeps a window of {window}): the median time constant by the "
        "biases is {median} steps.",
        "若重要的内容在 {horizon} 步以前，请提高{gate}的偏置（1 或更大；ln(T − 1) = {log} "
        "可保住 {window} 步的窗口）：仅由偏置得到的时间常数中位数是 {median} 步。",
    ),
    "lower_bias": (
        "If what matters lies more than {horizon} steps back, lower the bias of the {gate} (to −1 "
        "or less; −ln(T − 1) = −{log} keeps a window of {window}), since that gate lets the old "
        "state go: the median time constant by the biases is {median} steps.",
        "若重要的内容在 {horizon} 步以前，请降低{gate}的偏置（−1 或更小；−ln(T − 1) = −{log} "
        "可保住 {window} 步的窗口），因为这个门放走旧的状态：仅由偏置得到的时间常数中位数是 "
        "{median} 步。",
    ),
    "shorten": (
        "If it does not, a window of about {shorter} steps trains as well, and faster, than one of "
        "{window}: the horizon is {horizon}.",
        "否则，约 {shorter} 步的窗口与 {window} 步的训练效果相当而更快：视界是 {horizon}。",
    ),
    "lengthen": (
        "Lengthen the window: at {lags} steps the gradient is still above {share}.",
        "加长窗口：{lags} 步处梯度仍高于 {share}。",
    ),
    "scale_inputs": (
        "Scale the inputs to about −1 … 1, or start the weights smaller: a gate that is pinned "
        "most of the time learns next to nothing.",
        "把输入缩放到约 −1 … 1，或让权重的初始值更小：大部分时间饱和的门几乎学不到东西。",
    ),
    "smaller": (
        "A smaller hidden size: {n} units do nothing on these data.",
        "减小隐藏大小：有 {n} 个单元在这些数据上毫无作用。",
    ),
}
