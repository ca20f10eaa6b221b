"""Every mistake gets one line: what was expected, what came, what to do."""

import math
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from tests.gradients.test_bad_input import Own, Unused
from tests.gradients.test_flow_against_autograd import make, sequence, states
from unrolled.errors import InvalidTypeError, InvalidValueError, UnrolledError
from unrolled.gradients import (
    NonFiniteError,
    jacobian_singular_values,
    lyapunov_spectrum,
    step_jacobian_singular_values,
    step_lyapunov_spectrum,
)

X, STEPS, START = sequence(), torch.zeros(7, 3, 1), torch.zeros(3, 4)


def spectrum(*arguments, **options):
    return lyapunov_spectrum(*arguments, **options)


def singular(*arguments, **options):
    return jacobian_singular_values(*arguments, [1], **options)


def step_spectrum(*arguments):
    return step_lyapunov_spectrum(*arguments)


def step_singular(*arguments):
    return step_jacobian_singular_values(*arguments, [1])


def still(x, h):
    return torch.tanh(h)


def refuses(error, message, call):
    """The class, the words, one line, and all three parts of it."""
    with pytest.raises(UnrolledError) as raised:
        call()
    text = str(raised.value)
    assert type(raised.value) is error, text
    assert message in text
    assert "\n" not in text
    assert re.search(r"expected .+, got .+[;,] .+", text), text


def with_entry(kind, name, value):
    module = make(kind, num_layers=2)
    with torch.no_grad():
        getattr(module, name)[0, 0] = value
    return module


def with_weight(kind, name, weight):
    module = make(kind)
    module.register_parameter(name, nn.Parameter(weight, requires_grad=False))
    return module


MODELS = {
    "no module": (InvalidTypeError, "model: expected an nn.Module, got str; pass a module", lambda: ("gru", X)),
    "no recurrent module": (
        InvalidValueError,
        "model: expected an nn.RNN, nn.GRU or nn.LSTM inside, got Linear without one; for a recurrence of your own",
        lambda: (nn.Linear(4, 4), X),
    ),
    "one that is not called": (
        InvalidValueError,
        "expected a forward that calls its recurrent module, got none that did; pass the module itself",
        lambda: (Unused(), X),
    ),
    "a forward of its own": (
        InvalidTypeError,
        "expected torch's own forward, got the one of Own; for a recurrence of your own",
        lambda: (Own(4, 5).double(), X),
    ),
    "dropout in training": (
        InvalidValueError,
        "got dropout=0.5 in training mode, which cannot be replayed; call model.eval()",
        lambda: (make("gru", num_layers=2, dropout=0.5), X),
    ),
    "weights that are not square": (
        InvalidValueError,
        "weight_hh_l0 of 'RNN': expected shape (5, 5), square gate by gate, got (5, 4); make the module anew",
        lambda: (with_weight("tanh", "weight_hh_l0", torch.ones(5, 4).double()), X),
    ),
    "a gate too few": (
        InvalidValueError,
        "weight_hh_l0 of 'LSTM': expected shape (20, 5), square gate by gate, got (15, 5)",
        lambda: (with_weight("lstm", "weight_hh_l0", torch.ones(15, 5).double()), X),
    ),
    "weights of a projection that are not": (
        InvalidValueError,
        "weight_hh_l0 of 'LSTM': expected shape (20, 3), square gate by gate, got (20, 5)",
        lambda: (with_weight("lstm-projected", "weight_hh_l0", torch.ones(20, 5).double()), X),
    ),
    "weights of nan": (
        InvalidValueError,
        "weight_hh_l1 of 'GRU': expected finite weights, got NaN or inf; initialise or load them again",
        lambda: (with_entry("gru", "weight_hh_l1", math.nan), X),
    ),
    "weights of inf": (
        InvalidValueError,
        "weight_ih_l0 of 'LSTM': expected finite weights, got NaN or inf; initialise or load them again",
        lambda: (with_entry("lstm", "weight_ih_l0", math.inf), X),
    ),
    "weights of integers": (
        InvalidTypeError,
        "weight_hh_l0 of 'RNN': expected floating point weights, got torch.int64; use .float() or .double()",
        lambda: (with_weight("tanh", "weight_hh_l0", torch.ones(5, 5, dtype=torch.int64)), X),
    ),
    "complex weights": (
        InvalidTypeError,
        "weight_hh_l0 of 'RNN': expected floating point weights, got torch.complex64; use .float() or .double()",
        lambda: (with_weight("tanh", "weight_hh_l0", torch.ones(5, 5, dtype=torch.complex64)), X),
    ),
    "input weights of another shape": (
        InvalidValueError,
        "weight_ih_l0 of 'GRU': expected shape (15, 4), got (15, 3); make the module anew",
        lambda: (with_weight("gru", "weight_ih_l0", torch.ones(15, 3).double()), X),
    ),
    "a bias of another shape": (
        InvalidValueError,
        "bias_hh_l0 of 'LSTM': expected shape (20,), got (19,); make the module anew",
        lambda: (with_weight("lstm", "bias_hh_l0", torch.ones(19).double()), X),
    ),
    "a projection of another shape": (
        InvalidValueError,
        "weight_hr_l0 of 'LSTM': expected shape (3, 5), got (5, 5); make the module anew",
        lambda: (with_weight("lstm-projected", "weight_hr_l0", torch.ones(5, 5).double()), X),
    ),
    "one weight of another dtype": (
        InvalidTypeError,
        "bias_hh_l0 of 'GRU': expected torch.float64 as of weight_ih, got torch.float32; use .float()",
        lambda: (with_weight("gru", "bias_hh_l0", torch.ones(15)), X),
    ),
    "no arguments": (
        InvalidTypeError,
        "inputs: expected a sequence, or a sequence and a state, got 0 arguments with the state; see",
        lambda: (make("gru"), ()),
    ),
    "three arguments": (
        InvalidTypeError,
        "inputs: expected a sequence, or a sequence and a state, got 3 arguments with the state; see",
        lambda: (make("gru"), (X, None, None)),
    ),
    "features": (
        InvalidValueError,
        "input of 'GRU': expected (T, B, 4), or without the batch (T, 4), got (7, 3, 3); reshape the input",
        lambda: (make("gru"), X[..., :3]),
    ),
    "features, batch first": (
        InvalidValueError,
        "input of 'GRU': expected (B, T, 4), or without the batch (T, 4), got (7, 3, 3); reshape the input",
        lambda: (make("gru", batch_first=True), X[..., :3]),
    ),
    "dimensions": (InvalidValueError, "got (1, 7, 3, 4); reshape", lambda: (make("gru"), X.unsqueeze(0))),
    "no steps": (
        InvalidValueError,
        "expected at least one step and one sample, got (0, 3, 4); pass a sequence that is not empty",
        lambda: (make("gru"), X[:0]),
    ),
    "no samples": (
        InvalidValueError,
        "expected at least one step and one sample, got (7, 0, 4)",
        lambda: (make("gru"), X[:, :0]),
    ),
    "dtype": (
        InvalidTypeError,
        "input of 'GRU': expected torch.float64 as the weights are, got torch.float32; convert it with",
        lambda: (make("gru"), X.float()),
    ),
    "integers": (
        InvalidTypeError,
        "expected torch.float64 as the weights are, got torch.int64; convert it",
        lambda: (make("gru"), X.long()),
    ),
    "device": (
        InvalidValueError,
        "expected device cpu where the weights are, got meta; move it with .to('cpu')",
        lambda: (make("gru"), X.to("meta")),
    ),
    "nan": (
        InvalidValueError,
        "input of 'GRU': expected finite numbers, got NaN or inf; clean the input",
        lambda: (make("gru"), X * math.nan),
    ),
    "a list": (
        InvalidTypeError,
        "input of 'GRU': expected a tensor or a PackedSequence, got list; pass what the module's forward takes",
        lambda: (make("gru"), [1, 2]),
    ),
    "an array": (InvalidTypeError, "a PackedSequence, got ndarray; pass", lambda: (make("gru"), X.numpy())),
    "nothing": (InvalidTypeError, "a PackedSequence, got NoneType; pass", lambda: (make("gru"), None)),
    "sequences of unequal length": (
        InvalidValueError,
        "input of 'GRU': expected sequences of one length, got lengths 3 to 7, which have no common last step; "
        "pass those of each length by themselves",
        lambda: (make("gru"), pack_padded_sequence(X, [7, 3, 5], enforce_sorted=False)),
    ),
}


@pytest.mark.parametrize("call", [spectrum, singular])
@pytest.mark.parametrize("name", MODELS)
def test_what_cannot_be_run(name, call):
    error, message, arguments = MODELS[name]
    refuses(error, message, lambda: call(*arguments()))


STATES = {
    "of another batch": (
        InvalidValueError,
        "h0 of 'GRU': expected shape (1, 3, 5), got (1, 2, 5); reshape the state",
        lambda: (make("gru"), torch.zeros(1, 2, 5).double()),
    ),
    "of too many layers": (
        InvalidValueError,
        "h0 of 'GRU': expected shape (1, 3, 5), got (2, 3, 5)",
        lambda: (make("gru"), torch.zeros(2, 3, 5).double()),
    ),
    "without its reverse": (
        InvalidValueError,
        "h0 of 'GRU': expected shape (2, 3, 5), got (1, 3, 5)",
        lambda: (make("gru", bidirectional=True), states(make("gru"))),
    ),
    "with a batch where the input has none": (
        InvalidValueError,
        "h0 of 'GRU': expected shape (1, 5), got (1, 1, 5)",
        lambda: (make("gru"), torch.zeros(1, 1, 5).double()),
    ),
    "of a projection that is not": (
        InvalidValueError,
        "h0 of 'LSTM': expected shape (1, 3, 3), got (1, 3, 5)",
        lambda: (make("lstm-projected"), states(make("lstm"))),
    ),
    "of another dtype": (
        InvalidTypeError,
        "h0 of 'GRU': expected torch.float64 as the weights are, got torch.float32; convert it with",
        lambda: (make("gru"), torch.zeros(1, 3, 5)),
    ),
    "of nan": (
        InvalidValueError,
        "h0 of 'GRU': expected finite numbers, got NaN or inf; start from another state",
        lambda: (make("gru"), torch.full((1, 3, 5), math.nan).double()),
    ),
    "without its cell": (
        InvalidTypeError,
        "initial state of 'LSTM': expected (h0, c0), got Tensor; see LSTM",
        lambda: (make("lstm"), states(make("gru"))),
    ),
    "with a cell of nan": (
        InvalidValueError,
        "c0 of 'LSTM': expected finite numbers, got NaN or inf",
        lambda: (make("lstm"), (torch.zeros(1, 3, 5).double(), torch.full((1, 3, 5), math.inf).double())),
    ),
    "with a cell that it has not": (
        InvalidTypeError,
        "initial state of 'GRU': expected one tensor h0, got tuple; see GRU",
        lambda: (make("gru"), states(make("lstm"))),
    ),
    "of words": (
        InvalidTypeError,
        "initial state of 'GRU': expected one tensor h0, got str; see GRU",
        lambda: (make("gru"), "zeros"),
    ),
}


@pytest.mark.parametrize("call", [spectrum, singular])
@pytest.mark.parametrize("name", STATES)
def test_a_state_that_does_not_fit(name, call):
    error, message, arguments = STATES[name]
    module, state = arguments()
    x = X[:, 0] if "none" in name else X
    refuses(error, message, lambda: call(module, x, state=state))


def calls_with(**options):
    """The exponents of a module and those of a step, both with 7 steps, 5 and 4 numbers in the state."""
    return (
        lambda: lyapunov_spectrum(make("gru"), X, **options),
        lambda: step_lyapunov_spectrum(still, STEPS, START, **options),
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k": 0}, InvalidValueError, "the numbers in the state, got 0; leave it out for all exponents"),
        ({"k": -1}, InvalidValueError, "the numbers in the state, got -1; leave it out for all exponents"),
        ({"k": 6}, InvalidValueError, "the numbers in the state, got 6; leave it out for all exponents"),
        ({"k": 1.0}, InvalidTypeError, "k: expected a number of exponents, got 1.0; leave it out for all"),
        ({"k": True}, InvalidTypeError, "k: expected a number of exponents, got True; leave it out for all"),
        ({"k": "all"}, InvalidTypeError, "k: expected a number of exponents, got 'all'; leave it out for all"),
        ({"warm_up": -1}, InvalidValueError, "warm_up: expected a number of at least 0, got -1; 0 leaves none"),
        ({"warm_up": 6}, InvalidValueError, "inputs: expected at least 2 steps after 6 of warm-up, got T = 7, too few"),
        ({"warm_up": 900}, InvalidValueError, "at least 2 steps after 900 of warm-up, got T = 7, too few"),
        ({"warm_up": 1.5}, InvalidTypeError, "warm_up: expected a number of steps, got 1.5; 0 leaves none out"),
        ({"warm_up": True}, InvalidTypeError, "warm_up: expected a number of steps, got True; 0 leaves none out"),
        ({"warm_up": None}, InvalidTypeError, "warm_up: expected a number of steps, got None; 0 leaves none out"),
        ({"qr_every": 0}, InvalidValueError, "qr_every: expected 'auto' or at least 1, got 0; leave it out"),
        ({"qr_every": -3}, InvalidValueError, "qr_every: expected 'auto' or at least 1, got -3; leave it out"),
        ({"qr_every": 1.5}, InvalidTypeError, "qr_every: expected 'auto' or a number, got 1.5; leave it out"),
        ({"qr_every": True}, InvalidTypeError, "qr_every: expected 'auto' or a number, got True; leave it out"),
        ({"qr_every": None}, InvalidTypeError, "qr_every: expected 'auto' or a number, got None; leave it out"),
        ({"qr_every": "often"}, InvalidTypeError, "qr_every: expected 'auto' or a number, got 'often'; leave it"),
    ],
)  # fmt: skip
def test_options_that_are_none(options, error, message):
    for call in calls_with(**options):
        refuses(error, message, call)


@pytest.mark.parametrize("progress", ["yes", 3, None])
def test_a_progress_that_can_be_told_nothing(progress):
    message = (
        f"progress: expected True, False or a function of the steps done and all steps, got {progress!r}; "
    )
    refuses(InvalidTypeError, message, lambda: lyapunov_spectrum(make("gru"), X, progress=progress))
    refuses(InvalidTypeError, message, lambda: jacobian_singular_values(make("gru"), X, [1], progress=progress))


def test_the_last_options_that_are_some():
    for options in ({"k": 4}, {"k": 1}, {"warm_up": 5}, {"qr_every": 1000}):
        for call in calls_with(**options):
            assert np.isfinite(call().part().values).all()


def test_k_is_up_to_the_size_of_the_largest_system():
    module = make("lstm", num_layers=2)
    assert [part.k for part in lyapunov_spectrum(module, X, k=20)] == [10, 10, 20]
    for wrong in (0, 21):
        message = f"k: expected 1 to 20, the numbers in the state, got {wrong}; leave it out for all exponents"
        refuses(InvalidValueError, message, lambda wrong=wrong: lyapunov_spectrum(module, X, k=wrong))


def test_one_step_has_no_rate_but_a_jacobian():
    message = "inputs: expected at least 2 steps, got T = 1, too few for a rate; pass a longer sequence"
    refuses(InvalidValueError, message, lambda: lyapunov_spectrum(make("gru"), X[:1]))
    assert np.isfinite(singular(make("gru"), X[:1]).part().log10).all()


@pytest.mark.parametrize(
    ("lags", "error", "message"),
    [
        ([], InvalidValueError, "lags: expected at least one, got none; try [1, 10, 100]"),
        (np.array([]), InvalidValueError, "lags: expected at least one, got none; try [1, 10, 100]"),
        (
            [0],
            InvalidValueError,
            "lags: expected 1 to 7, the steps of the input, got 0; pass a longer sequence",
        ),
        (
            [1, 8],
            InvalidValueError,
            "lags: expected 1 to 7, the steps of the input, got 8; pass a longer sequence",
        ),
        ([-2, 1], InvalidValueError, "lags: expected 1 to 7, the steps of the input, got -2"),
        ([3, 1], InvalidValueError, "lags: expected increasing numbers, got 3, 1; sort them, each once"),
        ([1, 2, 2], InvalidValueError, "lags: expected increasing numbers, got 1, 2, 2; sort them, each once"),
        ([1.0], InvalidTypeError, "lags: expected whole numbers of steps, got 1.0; try [1, 10, 100]"),
        ([True], InvalidTypeError, "lags: expected whole numbers of steps, got True; try [1, 10, 100]"),
        ([None], InvalidTypeError, "lags: expected whole numbers of steps, got None; try [1, 10, 100]"),
        (np.array([1.0, 2.0]), InvalidTypeError, "lags: expected whole numbers of steps, got 1.0; try"),
        (np.array([[1, 2]]), InvalidTypeError, "lags: expected whole numbers of steps, got [1, 2]; try"),
        (5, InvalidTypeError, "lags: expected a list of steps, got 5; try [1, 10, 100]"),
        (None, InvalidTypeError, "lags: expected a list of steps, got None; try [1, 10, 100]"),
        ("12", InvalidTypeError, "lags: expected a list of steps, got '12'; try [1, 10, 100]"),
        ({1, 2}, InvalidTypeError, "lags: expected a list of steps, got {1, 2}; try [1, 10, 100]"),
    ],
)
def test_lags_that_are_none(lags, error, message):
    refuses(error, message, lambda: jacobian_singular_values(make("gru"), X, lags))
    refuses(error, message, lambda: step_jacobian_singular_values(still, STEPS, START, lags))


@pytest.mark.parametrize("lags", [[1, 7], (1, 7), range(1, 8, 6), np.array([1, 7]), [np.int32(1), np.int64(7)]])
def test_lags_may_come_in_any_of_these(lags):
    assert jacobian_singular_values(make("gru"), X, lags).part().lags.tolist() == [1, 7]


STEP_CASES = {
    "no function": (
        InvalidTypeError,
        "step: expected a function step(x_t, state), got NoneType",
        (None, STEPS, START),
    ),
    "input without a batch": (
        InvalidValueError,
        "inputs: expected a tensor (T, B, ...) that is not empty, got (7,); reshape it",
        (still, torch.zeros(7), START),
    ),
    "input that is empty": (
        InvalidValueError,
        "not empty, got (0, 3, 1); reshape it",
        (still, STEPS[:0], START),
    ),
    "input that is a list": (InvalidValueError, "not empty, got list; reshape it", (still, [1], START)),
    "input of nan": (
        InvalidValueError,
        "inputs: expected finite numbers, got NaN or inf; clean the input",
        (still, STEPS * math.nan, START),
    ),
    "one step": (InvalidValueError, "inputs: expected at least 2 steps, got T = 1", (still, STEPS[:1], START)),
    "state of another batch": (
        InvalidValueError,
        "state: expected 3 samples first, as in the inputs, got (2, 4); pass (B, H), or a tuple of such",
        (still, STEPS, START[:2]),
    ),
    "state without a batch": (
        InvalidValueError,
        "as in the inputs, got (4,); pass (B, H)",
        (still, STEPS, START[0]),
    ),
    "state of words": (
        InvalidTypeError,
        "state: expected a tensor or a tuple of tensors, got str; take and",
        (still, STEPS, "zeros"),
    ),
    "state of nothing": (InvalidTypeError, "a tuple of tensors, got tuple; take and", (still, STEPS, ())),
    "step that returns less": (
        InvalidValueError,
        "step: expected a state shaped as it came, [(3, 4)], got [(3, 2)]; return the whole next state",
        (lambda x, h: h[:, :2], STEPS, START),
    ),
    "step that returns half of a pair": (
        InvalidValueError,
        "shaped as it came, [(3, 4), (3, 4)], got [(3, 4)]; return the whole next state",
        (lambda x, pair: pair[0], STEPS, (START, START)),
    ),
    "step that returns a list": (
        InvalidTypeError,
        "state: expected a tensor or a tuple of tensors, got list; take and",
        (lambda x, h: h.tolist(), STEPS, START),
    ),
    "step that returns nothing": (
        InvalidTypeError,
        "got NoneType; take and",
        (lambda x, h: None, STEPS, START),
    ),
    "step that overflows": (
        NonFiniteError,
        "expected finite states, got inf in 'step', layer 0 (forward), first at step 1; lower the recurrent gain",
        (lambda x, h: 1e30 * (h + 1), STEPS, START),
    ),
    "step of nan": (NonFiniteError, "got nan in 'step', layer 0", (lambda x, h: h * math.nan, STEPS, START)),
}


@pytest.mark.parametrize("call", [step_spectrum, step_singular])
@pytest.mark.parametrize("name", STEP_CASES)
def test_what_no_step_can_be(name, call):
    error, message, arguments = STEP_CASES[name]
    refuses(error, message, lambda: call(*arguments))


def test_a_step_is_called_by_its_name():
    with pytest.raises(NonFiniteError, match="in 'mine', layer 0") as raised:
        step_lyapunov_spectrum(lambda x, h: h * math.nan, STEPS, START, name="mine")
    assert (raised.value.module, raised.value.layer, raised.value.step) == ("mine", 0, 0)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_states_that_overflow_are_named_with_module_layer_and_step(bidirectional):
    module = nn.RNN(1, 1, num_layers=2, nonlinearity="relu", bidirectional=bidirectional)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.fill_(2.0 if "hh_l1" in name and name.startswith("weight") else 0.5)
        module.weight_hh_l0.fill_(0.25)
        outputs = module(torch.ones(300, 1, 1))[0]
    expected = int(outputs[:, 0, 0].isinf().nonzero()[0])
    for call in (spectrum, singular):
        with pytest.raises(NonFiniteError, match="got inf in 'RNN', layer 1 .* first at step") as raised:
            call(module, torch.ones(300, 1, 1))
        assert (raised.value.module, raised.value.layer, raised.value.step) == ("RNN", 1, expected)


def test_what_is_allowed_beside_it():
    assert spectrum(make("gru", num_layers=2, dropout=0.5).eval(), X).parts
    assert spectrum(make("gru", dropout=0.0), X).parts
    packed = spectrum(make("gru"), pack_padded_sequence(X, [7, 7, 7])).part()
    assert np.array_equal(packed.values, spectrum(make("gru"), X).part().values)
    with_state = spectrum(make("gru"), (X, states(make("gru")))).part()
    assert np.array_equal(with_state.values, spectrum(make("gru"), X, state=states(make("gru"))).part().values)
    for narrow in (torch.float16, torch.bfloat16, torch.float32):
        assert np.isfinite(spectrum(make("gru").to(narrow), X.to(narrow)).part().values).all()


def test_a_model_is_as_it_was_after_a_mistake():
    model = nn.Sequential(make("gru"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UnrolledError):
        spectrum(model, X[..., :3])
    assert not model[0]._forward_pre_hooks
    assert model(X)[0].requires_grad
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
