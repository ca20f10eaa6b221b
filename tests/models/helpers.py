"""The oracle: the model itself, with torch's fused modules unrolled by hand, differentiated by autograd in float64."""

import contextlib
import copy
from unittest import mock

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from tests.gradients.helpers import Loop

FUSED = (nn.RNN, nn.GRU, nn.LSTM)
CELLS = (nn.RNNCell, nn.GRUCell, nn.LSTMCell)


class Oracle:
    """Every state of every recurrent call of a model, in the order of the calls, with its gradient kept.

    `loops[module]` are its calls where it is fused, `steps[module]` the states that it gave where it is a cell, and
    `read[module]` what it was called with.
    """

    def __init__(self, model, cells=()):
        self.model, self.cells = model, (*CELLS, *(cells if isinstance(cells, tuple) else (cells,)))
        self.names = {module: name or type(module).__name__ for name, module in model.named_modules()}
        self.loops, self.steps, self.read, self.masks = {}, {}, {}, {}

    @contextlib.contextmanager
    def looking_on(self):
        """Stand in for torch's fused modules, and hear what cells give."""
        with contextlib.ExitStack() as stack:
            for kind in FUSED:
                stack.enter_context(mock.patch.object(kind, "forward", self._unrolled()))
            for module in self.names:
                if isinstance(module, self.cells):
                    stack.callback(module.register_forward_hook(self._heard, with_kwargs=True).remove)
            yield self

    def _unrolled(self):
        def forward(module, x, hx=None):
            return self._run(module, x, hx)

        return forward

    def _run(self, module, x, hx):
        lengths = order = None
        if isinstance(x, PackedSequence):
            order = x.sorted_indices is not None
            x, lengths = pad_packed_sequence(x)
            lengths = lengths.tolist()
        elif module.batch_first:
            x = x.transpose(0, 1)
        masks = None
        if module.training and module.dropout and module.num_layers > 1:
            width = module.hidden_size * (1 + module.bidirectional)
            ones = x.new_ones(*x.shape[:2], width)
            masks = [F.dropout(ones, module.dropout) for _ in range(module.num_layers - 1)]
        self.masks.setdefault(module, []).append(masks)
        loop = Loop(module)
        self.loops.setdefault(module, []).append(loop)
        self.read.setdefault(module, []).append((x.detach(), hx))
        output, last = loop(x, hx, lengths, masks)
        if lengths is not None:
            output = pack_padded_sequence(output, lengths, enforce_sorted=not order)
        elif module.batch_first:
            output = output.transpose(0, 1)
        return output, last

    def _heard(self, module, args, kwargs, result):
        state = result[1] if isinstance(result, tuple) and isinstance(result[1], tuple) else result
        parts = state if isinstance(state, tuple) else (state,)
        for part in parts:
            part.retain_grad()
        self.steps.setdefault(module, []).append(parts)
        self.read.setdefault(module, []).append((args, kwargs))

    def check(self, flow, rtol):
        """Every norm of every profile of a flow, and that there is one for every state."""
        seen = dict.fromkeys(self.steps, 0)
        count = 0
        for module, loops in self.loops.items():
            for call, loop in enumerate(loops):
                for (layer, direction, path), _ in loop.states.items():
                    profile = flow.profile(
                        self.names[module], call=call, layer=layer, direction=direction, path=path
                    )
                    count += 1
                    for sample, expected in enumerate(loop.norms(layer, direction, path)):
                        found = torch.from_numpy(profile.samples[: len(expected), sample]).exp2().flip(0)
                        close(found, expected, rtol, profile.label)
        for module, states in self.steps.items():
            for profile in sorted((p for p in flow if p.module == self.names[module]), key=lambda p: p.call):
                part = {"h": 0, "c": 1}[profile.path]
                first = seen[module] if part == 0 else seen[module] - profile.steps
                count += 1
                own = [parts[part] for parts in states[first : first + profile.steps]]
                expected = torch.stack([_norm(state) for state in own])
                found = torch.from_numpy(profile.samples).exp2().flip(0)
                close(found, expected, rtol, profile.label)
                if part == 0:
                    seen[module] += profile.steps
            assert seen[module] == len(states), f"{self.names[module]}: {seen[module]} steps of {len(states)}"
        assert count == len(list(flow)), [profile.label for profile in flow]


def _norm(state):
    rows = state.grad if state.grad is not None else torch.zeros_like(state)
    return rows.flatten(1).norm(dim=1)


def close(found, expected, rtol, label):
    torch.testing.assert_close(found, expected.to(found), rtol=rtol, atol=0, msg=lambda m: f"{label}: {m}")


def backward(model, inputs, loss, cells=()):
    """Run a copy of a model forward and backward: the oracle, and the copy with its gradients."""
    twin = copy.deepcopy(model)
    twin.zero_grad()
    oracle = Oracle(twin, cells)
    with oracle.looking_on():
        output = call(twin, inputs)
    loss(output).backward()
    return oracle, twin, output


def call(model, inputs):
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def leaves(value):
    return [leaf for leaf in torch.utils._pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def same_bits(one, other):
    """Whether two values hold the same tensors, NaN for NaN."""
    pairs = zip(leaves(one), leaves(other), strict=True)
    return all(torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)) for a, b in pairs)


def left(model):
    """All that a look might change: values, flags, gradients, hooks, attributes and the random state."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "parameters": [(n, p, p.clone(), p.requires_grad, p.grad) for n, p in model.named_parameters()],
        "buffers": [(n, b, b.clone()) for n, b in model.named_buffers()],
        "modules": [
            (name, module.training, [dict(getattr(module, hook)) for hook in hooks], _attributes(module))
            for name, module in model.named_modules()
        ],
        "classes": [kind.forward for kind in (*FUSED, *CELLS)]
        + [type(module).forward for module in model.modules()],
        "random": torch.get_rng_state(),
        "listeners": [len(p._post_accumulate_grad_hooks or {}) for p in model.parameters()],
    }


def _attributes(module):
    return {
        name: list(value) if isinstance(value, list) else value
        for name, value in module.__dict__.items()
        if name not in {"_parameters", "_buffers", "_modules", "_flat_weights", "_flat_weight_refs"}
    }


def check_left(before, model):
    """Raise where anything of `left` is another than it was."""
    after = left(model)
    assert before.keys() == after.keys()
    for key in before:
        _alike(before[key], after[key], key)


def _alike(one, other, where):
    if isinstance(one, torch.Tensor):
        assert one.shape == other.shape, where
        one, other = (tensor.detach().to_dense().nan_to_num() for tensor in (one, other))
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            _alike(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for index, pair in enumerate(zip(one, other, strict=True)):
            _alike(*pair, f"{where}[{index}]")
    else:
        assert one is other or one == other, f"{where}: {one!r}, then {other!r}"


def cell_jacobians(oracle, module):
    """`(B, T, n, n)`: autograd's, of each step of a cell at what it was called with, all else as it was."""
    found = []
    for args, kwargs in oracle.read[module]:
        found.append(_jacobian(module, args, kwargs))
    return torch.stack(found, dim=1)


def _jacobian(module, args, kwargs):
    x = args[0] if args else kwargs["x"]
    state = args[1] if len(args) > 1 else kwargs.get("h")
    batch = len(x)
    if state is None:
        result = module(x, None)
        result = result[1] if isinstance(result, tuple) and isinstance(result[1], tuple) else result
        given = torch.utils._pytree.tree_map(torch.zeros_like, result)
    else:
        given = state
    single = isinstance(given, torch.Tensor)
    parts = [part.detach() for part in ((given,) if single else given)]
    sizes = [part.shape[1] for part in parts]

    def step(flat, x_b):
        own = tuple(part.unsqueeze(0) for part in flat.split(sizes))
        result = module(x_b.unsqueeze(0), own[0] if single else own)
        result = result[1] if isinstance(result, tuple) and isinstance(result[1], tuple) else result
        return torch.cat([part[0] for part in ((result,) if isinstance(result, torch.Tensor) else result)])

    rows = []
    for b in range(batch):
        flat = torch.cat([part[b] for part in parts])
        rows.append(torch.autograd.functional.jacobian(lambda f, b=b: step(f, x[b].detach()), flat))
    return torch.stack(rows)
