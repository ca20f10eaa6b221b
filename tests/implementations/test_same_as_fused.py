"""Every implementation computes what the fused module does, in every layout, and gradients too."""

import copy
from functools import partial
from itertools import product

import pytest
import torch
from torch import nn

from unrolled.errors import ImplementationError, InvalidValueError
from unrolled.implementations import IMPLEMENTATIONS, implement, load
from unrolled.networks.stack import Stack
from unrolled.speed.explicit import explicit

T, B, I, H = 5, 3, 4, 6
CELLS = {
    "rnn_tanh": lambda **options: nn.RNN(I, H, nonlinearity="tanh", **options),
    "rnn_relu": lambda **options: nn.RNN(I, H, nonlinearity="relu", **options),
    "gru": lambda **options: nn.GRU(I, H, **options),
    "lstm": lambda **options: nn.LSTM(I, H, **options),
}
EAGER = [
    name
    for name in IMPLEMENTATIONS
    if name not in ("fused", "scan", "torch_scan", "inference") and not name.startswith("compiled")
]


def parts(state):
    return [state] if isinstance(state, torch.Tensor) else [part for s in state for part in parts(s)]


def run(call, module, x, state, pack=None):
    """Outputs, final states, and the gradients of a random functional of them."""
    x = x.clone().requires_grad_()
    state = None if state is None else [part.clone().requires_grad_() for part in parts(state)]
    hx = None if state is None else (tuple(state) if isinstance(module, nn.LSTM) else state[0])
    module.zero_grad(set_to_none=True)
    given = x if pack is None else pack(x)
    torch.manual_seed(5)  # of what is dropped out
    output, final = call(given, hx)
    results = [output if pack is None else output.data, *parts(final)]
    generator = torch.Generator().manual_seed(0)
    sum((r * torch.randn(r.shape, generator=generator, dtype=r.dtype)).sum() for r in results).backward()
    leaves = [x, *(state or []), *module.parameters()]
    return [r.detach() for r in results] + [leaf.grad.clone() for leaf in leaves]


def assert_same(found, expected):
    """To some thousands of roundings of float64: five steps and three layers, forward and back, of sums of 12."""
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        yield


def make(cell, **options):
    return CELLS[cell](dtype=torch.float64, **options)


def initial_state(module, batch=(B,)):
    rows = module.num_layers * (2 if module.bidirectional else 1)
    h, c = torch.randn(2, rows, *batch, H, dtype=torch.float64)
    return (h, c) if isinstance(module, nn.LSTM) else h


@pytest.mark.parametrize("given_state", [False, True], ids=["zeros", "state"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "two-way"])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", [*EAGER, "explicit"])
def test_layers_directions_layouts_and_states(name, cell, num_layers, bidirectional, given_state):
    for batch_first, bias in product([False, True], repeat=2):
        module = make(
            cell, num_layers=num_layers, bidirectional=bidirectional, batch_first=batch_first, bias=bias
        )
        x = torch.randn(*((B, T) if batch_first else (T, B)), I, dtype=torch.float64)
        state = initial_state(module) if given_state else None
        if name == "explicit":
            call = lambda x, hx, module=module: explicit(module, x, hx)  # noqa: E731
        else:
            call = implement(load(name), module)
        assert_same(run(call, module, x, state), run(module, module, x, state))


@pytest.mark.parametrize("given_state", [False, True], ids=["zeros", "state"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", EAGER)
def test_input_without_a_batch(name, cell, given_state):
    module = make(cell, num_layers=2, bidirectional=True, batch_first=True)
    state = initial_state(module, batch=()) if given_state else None
    x = torch.randn(T, I, dtype=torch.float64)
    assert_same(run(implement(load(name), module), module, x, state), run(module, module, x, state))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", [*EAGER, "fused"])
def test_the_parameters_are_the_reference_s_own(name, cell):
    module = make(cell, num_layers=2, bidirectional=True)
    built = implement(load(name), module)
    assert {id(p) for p in built.parameters()} == {id(p) for p in module.parameters()}
    before = built(torch.ones(T, B, I, dtype=torch.float64))[0]
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1)
    after = built(torch.ones(T, B, I, dtype=torch.float64))[0]
    assert not torch.equal(before, after)


@pytest.mark.parametrize("name", EAGER)
def test_a_chain_of_different_sizes_is_built_layer_by_layer(name):
    stack = Stack([nn.LSTM(I, 6, dtype=torch.float64), nn.LSTM(6, 3, dtype=torch.float64)])
    x = torch.randn(T, B, I, dtype=torch.float64)
    built = implement(load(name), stack)
    torch.testing.assert_close(built(x), stack(x), rtol=1e-12, atol=1e-12)
    hx = tuple((torch.randn(1, B, h).double(), torch.randn(1, B, h).double()) for h in (6, 3))
    torch.testing.assert_close(built(x, hx), stack(x, hx), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(explicit(stack, x, hx), stack(x, hx), rtol=1e-12, atol=1e-12)


LENGTHS = {
    "falling": (5, 4, 4, 1),
    "equal": (5, 5, 5, 5),
    "of any order": (2, 5, 1, 3),
    "one": (3,),
    "single steps": (1, 1, 1),
}


@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "two-way"])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", [*EAGER, "explicit"])
def test_packed_sequences(name, cell, lengths, bidirectional):
    module = make(cell, num_layers=2, bidirectional=bidirectional)
    call = (lambda x, hx: explicit(module, x, hx)) if name == "explicit" else implement(load(name), module)
    x = torch.randn(max(lengths), len(lengths), I, dtype=torch.float64)
    pack = partial(nn.utils.rnn.pack_padded_sequence, lengths=torch.tensor(lengths), enforce_sorted=False)
    for state in (None, initial_state(module, batch=(len(lengths),))):
        assert_same(run(call, module, x, state, pack), run(module, module, x, state, pack))
    found, expected = (each(pack(x))[0] for each in (call_with_zeros(call, module, len(lengths)), module))
    assert torch.equal(found.batch_sizes, expected.batch_sizes)
    assert torch.equal(found.unsorted_indices, expected.unsorted_indices)


def call_with_zeros(call, module, batch_size):
    state = initial_state(module, batch=(batch_size,))
    zeros = tuple(0 * part for part in state) if isinstance(state, tuple) else 0 * state
    return lambda x: call(x, zeros)


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "two-way"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", [*EAGER, "explicit"])
def test_dropout_draws_the_numbers_that_torch_draws(name, cell, bidirectional, packed):
    for batch_first in (False, True):
        module = make(cell, num_layers=3, bidirectional=bidirectional, dropout=0.4, batch_first=batch_first)
        call = implement(load(name), module) if name != "explicit" else partial(explicit, module)
        x = torch.randn(*((B, T) if batch_first else (T, B)), I, dtype=torch.float64)
        lengths = torch.tensor([5, 3, 1])
        pack = partial(nn.utils.rnn.pack_padded_sequence, lengths=lengths, batch_first=batch_first)
        state = initial_state(module)
        results = [run(each, module, x, state, pack if packed else None) for each in (call, module)]
        assert_same(*results)
        module.eval()
        assert_same(run(call, module, x, state), run(module, module, x, state))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # torch has warnings of its own while it compiles
@pytest.mark.parametrize("name", [name for name in IMPLEMENTATIONS if name.startswith("compiled")])
def test_compiled_is_the_same_loop(name):
    module = make("gru")
    x = torch.randn(3, B, I, dtype=torch.float64)
    built = implement(load(name), module)
    state = initial_state(module)
    assert_same(run(built, module, x, state), run(module, module, x, state))


@pytest.mark.parametrize("name", EAGER)
def test_what_a_loop_cannot_reproduce_is_refused(name):
    with pytest.raises(ImplementationError, match="proj_size: .*got 2"):
        implement(load(name), nn.LSTM(I, H, proj_size=2))
    with pytest.raises(ImplementationError, match="reference: .*got Linear"):
        implement(load(name), nn.Linear(I, H))


@pytest.mark.parametrize("name", EAGER)
def test_bad_calls_are_refused_with_shapes(name):
    built = implement(load(name), make("lstm"))
    with pytest.raises(InvalidValueError, match=r"input: .*4.*got \(5, 3, 5\)"):
        built(torch.zeros(T, B, I + 1, dtype=torch.float64))
    with pytest.raises(InvalidValueError, match=r"hx: .*got \[\(1, 3, 5\)"):
        built(torch.zeros(T, B, I, dtype=torch.float64), (torch.zeros(1, B, 5), torch.zeros(1, B, 5)))
    packed = nn.utils.rnn.pack_sequence([torch.zeros(T, I + 1, dtype=torch.float64)])
    with pytest.raises(InvalidValueError, match="input: .*4.*got 5"):
        built(packed)


@pytest.mark.parametrize("name", EAGER)
def test_a_copy_of_a_built_module_stands_on_its_own(name):
    built = implement(load(name), make("gru"))
    x = torch.randn(T, B, I, dtype=torch.float64)
    twin = copy.deepcopy(built)
    torch.testing.assert_close(twin(x), built(x))
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert twin(x)[0].abs().max() == 0  # all weights are 0: n is tanh(0), and h a half of 0
    assert built(x)[0].abs().max() > 0
