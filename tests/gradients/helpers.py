"""The oracle: explicit loops over cells written out by hand, differentiated by float64 autograd."""

from __future__ import annotations

import copy

import numpy as np
import torch


def cell_step(module, weights, x, state):
    """One step of a cell, from its textbook definition; `state` is (h,) or (h, c)."""
    h = state[0]
    from_x = x @ weights["weight_ih"].T
    from_h = h @ weights["weight_hh"].T
    if module.bias:
        from_x, from_h = from_x + weights["bias_ih"], from_h + weights["bias_hh"]
    if module.mode == "RNN_TANH":
        return (torch.tanh(from_x + from_h),)
    if module.mode == "RNN_RELU":
        return (torch.relu(from_x + from_h),)
    size = module.hidden_size
    if module.mode == "GRU":
        r = torch.sigmoid(from_x[:, :size] + from_h[:, :size])
        z = torch.sigmoid(from_x[:, size : 2 * size] + from_h[:, size : 2 * size])
        n = torch.tanh(from_x[:, 2 * size :] + r * from_h[:, 2 * size :])
        return ((1 - z) * n + z * h,)
    i, f, g, o = (from_x + from_h).split(size, dim=1)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return (h @ weights["weight_hr"].T if module.proj_size else h), c


def weights_of(module, layer, direction):
    suffix = f"_l{layer}" + ("_reverse" if direction == "reverse" else "")
    names = (
        ["weight_ih", "weight_hh"]
        + ["bias_ih", "bias_hh"] * module.bias
        + ["weight_hr"] * (module.proj_size > 0)
    )
    return {name: getattr(module, name + suffix) for name in names}


class Loop:
    """A recurrent module, unrolled: call it in place of the module, and read every state's total gradient.

    Works sample by sample, so that sequences of different lengths need no padding. Layout (T, B, ·). `masks` multiply
    the output of each layer but the last.
    """

    def __init__(self, module):
        self.module = module
        self.states = {}  # (layer, direction, path) -> [sample][step] tensors of shape (1, ·)

    def __call__(self, x, hx=None, lengths=None, masks=None):
        module = self.module
        steps, batch = x.shape[:2]
        lengths = [steps] * batch if lengths is None else lengths
        directions = ["forward", "reverse"] if module.bidirectional else ["forward"]
        rows = module.num_layers * len(directions)
        sizes = [module.proj_size or module.hidden_size] + [module.hidden_size] * (module.mode == "LSTM")
        if hx is None:
            hx = [x.new_zeros(rows, batch, size) for size in sizes]
        hx = [hx] if isinstance(hx, torch.Tensor) else list(hx)
        samples, last = [], [[] for _ in sizes]
        for sample in range(batch):
            sequence = [x[t, sample : sample + 1] for t in range(lengths[sample])]
            ends = []
            for layer in range(module.num_layers):
                outputs = []
                for direction in directions:
                    row = layer * len(directions) + directions.index(direction)
                    state = tuple(part[row, sample : sample + 1] for part in hx)
                    weights = weights_of(module, layer, direction)
                    found = []
                    for x_t in sequence if direction == "forward" else sequence[::-1]:
                        state = cell_step(module, weights, x_t, state)
                        for part in state:
                            part.retain_grad()
                        found.append(state)
                    for path, parts in zip("hc", zip(*found, strict=True), strict=False):
                        self.states.setdefault((layer, direction, path), []).append(parts)
                    outputs.append([s[0] for s in (found if direction == "forward" else found[::-1])])
                    ends.append(state)
                sequence = [torch.cat(parts, dim=1) for parts in zip(*outputs, strict=True)]
                if masks and layer + 1 < module.num_layers:
                    mask = masks[layer][:, sample : sample + 1]
                    sequence = [output * mask[t] for t, output in enumerate(sequence)]
            padding = [torch.zeros_like(sequence[0])] * (steps - lengths[sample])
            samples.append(torch.cat(sequence + padding))
            for path, parts in enumerate(zip(*ends, strict=True)):
                last[path].append(torch.cat(parts))
        finals = tuple(torch.stack(parts, dim=1) for parts in last)
        return torch.stack(samples, dim=1), finals if len(finals) > 1 else finals[0]

    def norms(self, layer, direction, path):
        """[sample] -> norms in the order in which the direction runs."""
        return [
            torch.stack([torch.zeros(()).double() if s.grad is None else s.grad.norm() for s in states])
            for states in self.states[layer, direction, path]
        ]


def truth(module):
    """A float64 copy to put through the loop."""
    module = copy.deepcopy(module).double()
    module.zero_grad()
    return module


def check_profiles(flow, loop, rtol, module=None, call=0):
    """Every norm of every profile of `module` against the loop's."""
    profiles = [p for p in flow if (module is None or p.module == module) and p.call == call]
    assert {(p.layer, p.direction, p.path) for p in profiles} == set(loop.states)
    for profile in profiles:
        for sample, expected in enumerate(loop.norms(profile.layer, profile.direction, profile.path)):
            found = torch.from_numpy(profile.samples[: len(expected), sample]).exp2().flip(0)
            torch.testing.assert_close(
                found, expected, rtol=rtol, atol=0, msg=lambda m, p=profile: f"{p.label}: {m}"
            )


def check_twice(one, other):
    """Two float64 runs of the same few steps, as log2 norms: equal to some hundred roundings.

    Not to the last bit: their tensors lie elsewhere in memory, and a matrix product may add up in an order
    that depends on that.
    """
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


def check_parameters(flow, module, rtol, prefix=""):
    """Every parameter's gradient against autograd's."""
    for name, parameter in module.named_parameters():
        expected = parameter.grad
        found = flow.gradient(prefix + name).double()
        torch.testing.assert_close(
            found,
            expected,
            rtol=rtol,
            atol=rtol * expected.abs().max().item(),
            msg=lambda m, n=name: f"{n}: {m}",
        )
