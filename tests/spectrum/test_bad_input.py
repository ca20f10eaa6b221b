"""Every mistake gets one line: what was expected, what came, what to do."""

import math
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from tests.gradients.test_bad_input import Unused
from tests.gradients.test_flow_against_autograd import make, sequence, states
from unrolled.errors import InvalidTypeError, InvalidValueError, UnrolledError
from unrolled.gradients import NonFiniteError
from unrolled.spectrum import (
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


def refuses(error, said, call):
    """The class, what is wrong and what came, then figures of what was expected; one line of three parts."""
    name, came, *figures = said
    with pytest.raises(UnrolledError) as raised:
        call()
    text = str(raised.value)
    assert type(raised.value) is error, text
    assert "\n" not in text
    parts = re.fullmatch(r"(.*expected .+?), got (.+[;,] .+)", text)
    assert parts, text
    assert re.search(rf"(^|in ){re.escape(name)}[:,]", text), text
    assert parts[2].startswith(came), text
    assert all(figure in text for figure in figures), text


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
    "no module": (InvalidTypeError, ("model", "str"), lambda: ("gru", X)),
    "no recurrent module": (
        InvalidValueError,
        ("model", "Linear"),
        lambda: (nn.Linear(4, 4), X),
    ),
    "one that is not called": (
        InvalidValueError,
        ("model", "none"),
        lambda: (Unused(), X),
    ),
    "weights that are not square": (
        InvalidValueError,
        ("weight_hh_l0 of 'RNN'", "(5, 4)", "(5, 5)"),
        lambda: (with_weight("tanh", "weight_hh_l0", torch.ones(5, 4).double()), X),
    ),
    "a gate too few": (
        InvalidValueError,
        ("weight_hh_l0 of 'LSTM'", "(15, 5)", "(20, 5)"),
        lambda: (with_weight("lstm", "weight_hh_l0", torch.ones(15, 5).double()), X),
    ),
    "weights of a projection that are not": (
        InvalidValueError,
        ("weight_hh_l0 of 'LSTM'", "(20, 5)", "(20, 3)"),
        lambda: (with_weight("lstm-projected", "weight_hh_l0", torch.ones(20, 5).double()), X),
    ),
    "weights of nan": (
        InvalidValueError,
        ("weight_hh_l1 of 'GRU'", "NaN or inf"),
        lambda: (with_entry("gru", "weight_hh_l1", math.nan), X),
    ),
    "weights of inf": (
        InvalidValueError,
        ("weight_ih_l0 of 'LSTM'", "NaN or inf"),
        lambda: (with_entry("lstm", "weight_ih_l0", math.inf), X),
    ),
    "weights of integers": (
        InvalidTypeError,
        ("weight_hh_l0 of 'RNN'", "torch.int64"),
        lambda: (with_weight("tanh", "weight_hh_l0", torch.ones(5, 5, dtype=torch.int64)), X),
    ),
    "complex weights": (
        InvalidTypeError,
        ("weight_hh_l0 of 'RNN'", "torch.complex64"),
        lambda: (with_weight("tanh", "weight_hh_l0", torch.ones(5, 5, dtype=torch.complex64)), X),
    ),
    "input weights of another shape": (
        InvalidValueError,
        ("weight_ih_l0 of 'GRU'", "(15, 3)", "(15, 4)"),
        lambda: (with_weight("gru", "weight_ih_l0", torch.ones(15, 3).double()), X),
    ),
    "a bias of another shape": (
        InvalidValueError,
        ("bias_hh_l0 of 'LSTM'", "(19,)", "(20,)"),
        lambda: (with_weight("lstm", "bias_hh_l0", torch.ones(19).double()), X),
    ),
    "a projection of another shape": (
        InvalidValueError,
        ("weight_hr_l0 of 'LSTM'", "(5, 5)", "(3, 5)"),
        lambda: (with_weight("lstm-projected", "weight_hr_l0", torch.ones(5, 5).double()), X),
    ),
    "one weight of another dtype": (
        InvalidTypeError,
        ("bias_hh_l0 of 'GRU'", "torch.float32", "torch.float64"),
        lambda: (with_weight("gru", "bias_hh_l0", torch.ones(15)), X),
    ),
    "no arguments": (
        InvalidTypeError,
        ("inputs", "0"),
        lambda: (make("gru"), ()),
    ),
    "three arguments": (
        InvalidTypeError,
        ("inputs", "3"),
        lambda: (make("gru"), (X, None, None)),
    ),
    "features": (
        InvalidValueError,
        ("input of 'GRU'", "(7, 3, 3)", "(T, B, 4)"),
        lambda: (make("gru"), X[..., :3]),
    ),
    "features, batch first": (
        InvalidValueError,
        ("input of 'GRU'", "(7, 3, 3)", "(B, T, 4)"),
        lambda: (make("gru", batch_first=True), X[..., :3]),
    ),
    "dimensions": (
        InvalidValueError,
        ("input of 'GRU'", "(1, 7, 3, 4)", "(T, B, 4)"),
        lambda: (make("gru"), X.unsqueeze(0)),
    ),
    "no steps": (
        InvalidValueError,
        ("input of 'GRU'", "(0, 3, 4)"),
        lambda: (make("gru"), X[:0]),
    ),
    "no samples": (
        InvalidValueError,
        ("input of 'GRU'", "(7, 0, 4)"),
        lambda: (make("gru"), X[:, :0]),
    ),
    "dtype": (
        InvalidTypeError,
        ("input of 'GRU'", "torch.float32", "torch.float64"),
        lambda: (make("gru"), X.float()),
    ),
    "integers": (
        InvalidTypeError,
        ("input of 'GRU'", "torch.int64", "torch.float64"),
        lambda: (make("gru"), X.long()),
    ),
    "device": (
        InvalidValueError,
        ("input of 'GRU'", "meta"),
        lambda: (make("gru"), X.to("meta")),
    ),
    "nan": (
        InvalidValueError,
        ("input of 'GRU'", "NaN or inf"),
        lambda: (make("gru"), X * math.nan),
    ),
    "a list": (
        InvalidTypeError,
        ("input of 'GRU'", "list"),
        lambda: (make("gru"), [1, 2]),
    ),
    "an array": (InvalidTypeError, ("input of 'GRU'", "ndarray"), lambda: (make("gru"), X.numpy())),
    "nothing": (InvalidTypeError, ("input of 'GRU'", "NoneType"), lambda: (make("gru"), None)),
    "sequences of unequal length": (
        InvalidValueError,
        ("input of 'GRU'", "lengths 3 to 7"),
        lambda: (make("gru"), pack_padded_sequence(X, [7, 3, 5], enforce_sorted=False)),
    ),
}


@pytest.mark.parametrize("call", [spectrum, singular])
@pytest.mark.parametrize("name", MODELS)
def test_what_cannot_be_run_is_refused(name, call):
    error, message, arguments = MODELS[name]
    refuses(error, message, lambda: call(*arguments()))


STATES = {
    "of another batch": (
        InvalidValueError,
        ("h0 of 'GRU'", "(1, 2, 5)", "(1, 3, 5)"),
        lambda: (make("gru"), torch.zeros(1, 2, 5).double()),
    ),
    "of too many layers": (
        InvalidValueError,
        ("h0 of 'GRU'", "(2, 3, 5)", "(1, 3, 5)"),
        lambda: (make("gru"), torch.zeros(2, 3, 5).double()),
    ),
    "without its reverse": (
        InvalidValueError,
        ("h0 of 'GRU'", "(1, 3, 5)", "(2, 3, 5)"),
        lambda: (make("gru", bidirectional=True), states(make("gru"))),
    ),
    "with a batch where the input has none": (
        InvalidValueError,
        ("h0 of 'GRU'", "(1, 1, 5)", "(1, 5)"),
        lambda: (make("gru"), torch.zeros(1, 1, 5).double()),
    ),
    "of a projection that is not": (
        InvalidValueError,
        ("h0 of 'LSTM'", "(1, 3, 5)", "(1, 3, 3)"),
        lambda: (make("lstm-projected"), states(make("lstm"))),
    ),
    "of another dtype": (
        InvalidTypeError,
        ("h0 of 'GRU'", "torch.float32", "torch.float64"),
        lambda: (make("gru"), torch.zeros(1, 3, 5)),
    ),
    "of nan": (
        InvalidValueError,
        ("h0 of 'GRU'", "NaN or inf"),
        lambda: (make("gru"), torch.full((1, 3, 5), math.nan).double()),
    ),
    "without its cell": (
        InvalidTypeError,
        ("initial state of 'LSTM'", "Tensor"),
        lambda: (make("lstm"), states(make("gru"))),
    ),
    "with a cell of nan": (
        InvalidValueError,
        ("c0 of 'LSTM'", "NaN or inf"),
        lambda: (make("lstm"), (torch.zeros(1, 3, 5).double(), torch.full((1, 3, 5), math.inf).double())),
    ),
    "with a cell that it has not": (
        InvalidTypeError,
        ("initial state of 'GRU'", "tuple"),
        lambda: (make("gru"), states(make("lstm"))),
    ),
    "of words": (
        InvalidTypeError,
        ("initial state of 'GRU'", "str"),
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
        ({"k": 0}, InvalidValueError, ("k", "0")),
        ({"k": -1}, InvalidValueError, ("k", "-1")),
        ({"k": 6}, InvalidValueError, ("k", "6")),
        ({"k": 1.0}, InvalidTypeError, ("k", "1.0")),
        ({"k": True}, InvalidTypeError, ("k", "True")),
        ({"k": "all"}, InvalidTypeError, ("k", "'all'")),
        ({"warm_up": -1}, InvalidValueError, ("warm_up", "-1")),
        ({"warm_up": 6}, InvalidValueError, ("inputs", "T = 7", "6")),
        ({"warm_up": 900}, InvalidValueError, ("inputs", "T = 7", "900")),
        ({"warm_up": 1.5}, InvalidTypeError, ("warm_up", "1.5")),
        ({"warm_up": True}, InvalidTypeError, ("warm_up", "True")),
        ({"warm_up": None}, InvalidTypeError, ("warm_up", "None")),
        ({"qr_every": 0}, InvalidValueError, ("qr_every", "0")),
        ({"qr_every": -3}, InvalidValueError, ("qr_every", "-3")),
        ({"qr_every": 1.5}, InvalidTypeError, ("qr_every", "1.5")),
        ({"qr_every": True}, InvalidTypeError, ("qr_every", "True")),
        ({"qr_every": None}, InvalidTypeError, ("qr_every", "None")),
        ({"qr_every": "often"}, InvalidTypeError, ("qr_every", "'often'")),
    ],
)  # fmt: skip
def test_invalid_options_are_refused(options, error, message):
    for call in calls_with(**options):
        refuses(error, message, call)


@pytest.mark.parametrize("progress", ["yes", 3, None])
def test_a_progress_that_is_neither_a_bool_nor_a_function_is_refused(progress):
    message = ("progress", repr(progress))
    refuses(InvalidTypeError, message, lambda: lyapunov_spectrum(make("gru"), X, progress=progress))
    refuses(InvalidTypeError, message, lambda: jacobian_singular_values(make("gru"), X, [1], progress=progress))


def test_options_at_their_limits_are_taken():
    for options in ({"k": 4}, {"k": 1}, {"warm_up": 5}, {"qr_every": 1000}):
        for call in calls_with(**options):
            assert np.isfinite(call().part().values).all()


def test_k_is_up_to_the_size_of_the_largest_system():
    module = make("lstm", num_layers=2)
    assert [part.k for part in lyapunov_spectrum(module, X, k=20)] == [10, 10, 20]
    for wrong in (0, 21):
        refuses(
            InvalidValueError,
            ("k", str(wrong), "1 to 20"),
            lambda wrong=wrong: lyapunov_spectrum(module, X, k=wrong),
        )


def test_one_step_has_no_rate_but_a_jacobian():
    message = ("inputs", "T = 1")
    refuses(InvalidValueError, message, lambda: lyapunov_spectrum(make("gru"), X[:1]))
    assert np.isfinite(singular(make("gru"), X[:1]).part().log10).all()


@pytest.mark.parametrize(
    ("lags", "error", "message"),
    [
        ([], InvalidValueError, ("lags", "none")),
        (np.array([]), InvalidValueError, ("lags", "none")),
        (
            [0],
            InvalidValueError,
            ("lags", "0", "1 to 7"),
        ),
        (
            [1, 8],
            InvalidValueError,
            ("lags", "8", "1 to 7"),
        ),
        ([-2, 1], InvalidValueError, ("lags", "-2", "1 to 7")),
        ([3, 1], InvalidValueError, ("lags", "3, 1")),
        ([1, 2, 2], InvalidValueError, ("lags", "1, 2, 2")),
        ([1.0], InvalidTypeError, ("lags", "1.0")),
        ([True], InvalidTypeError, ("lags", "True")),
        ([None], InvalidTypeError, ("lags", "None")),
        (np.array([1.0, 2.0]), InvalidTypeError, ("lags", "1.0")),
        (np.array([[1, 2]]), InvalidTypeError, ("lags", "[1, 2]")),
        (5, InvalidTypeError, ("lags", "5")),
        (None, InvalidTypeError, ("lags", "None")),
        ("12", InvalidTypeError, ("lags", "'12'")),
        ({1, 2}, InvalidTypeError, ("lags", "{1, 2}")),
    ],
)
def test_invalid_lags_are_refused(lags, error, message):
    refuses(error, message, lambda: jacobian_singular_values(make("gru"), X, lags))
    refuses(error, message, lambda: step_jacobian_singular_values(still, STEPS, START, lags))


@pytest.mark.parametrize("lags", [[1, 7], (1, 7), range(1, 8, 6), np.array([1, 7]), [np.int32(1), np.int64(7)]])
def test_lags_may_be_any_sequence_of_whole_numbers(lags):
    assert jacobian_singular_values(make("gru"), X, lags).part().lags.tolist() == [1, 7]


STEP_CASES = {
    "no function": (
        InvalidTypeError,
        ("step", "NoneType"),
        (None, STEPS, START),
    ),
    "input without a batch": (
        InvalidValueError,
        ("inputs", "(7,)"),
        (still, torch.zeros(7), START),
    ),
    "input that is empty": (
        InvalidValueError,
        ("inputs", "(0, 3, 1)"),
        (still, STEPS[:0], START),
    ),
    "input that is a list": (InvalidValueError, ("inputs", "list"), (still, [1], START)),
    "input of nan": (
        InvalidValueError,
        ("inputs", "NaN or inf"),
        (still, STEPS * math.nan, START),
    ),
    "one step": (InvalidValueError, ("inputs", "T = 1"), (still, STEPS[:1], START)),
    "state of another batch": (
        InvalidValueError,
        ("state", "(2, 4)", "3 samples"),
        (still, STEPS, START[:2]),
    ),
    "state without a batch": (
        InvalidValueError,
        ("state", "(4,)", "3 samples"),
        (still, STEPS, START[0]),
    ),
    "state of words": (
        InvalidTypeError,
        ("state", "str"),
        (still, STEPS, "zeros"),
    ),
    "state of nothing": (InvalidTypeError, ("state", "tuple"), (still, STEPS, ())),
    "step that returns less": (
        InvalidValueError,
        ("step", "[(3, 2)]", "[(3, 4)]"),
        (lambda x, h: h[:, :2], STEPS, START),
    ),
    "step that returns half of a pair": (
        InvalidValueError,
        ("step", "[(3, 4)]", "[(3, 4), (3, 4)]"),
        (lambda x, pair: pair[0], STEPS, (START, START)),
    ),
    "step that returns a list": (
        InvalidTypeError,
        ("state", "list"),
        (lambda x, h: h.tolist(), STEPS, START),
    ),
    "step that returns nothing": (
        InvalidTypeError,
        ("state", "NoneType"),
        (lambda x, h: None, STEPS, START),
    ),
    "step that overflows": (
        NonFiniteError,
        ("'step'", "inf", "step 1"),
        (lambda x, h: 1e30 * (h + 1), STEPS, START),
    ),
    "step of nan": (NonFiniteError, ("'step'", "nan", "step 0"), (lambda x, h: h * math.nan, STEPS, START)),
}


@pytest.mark.parametrize("call", [step_spectrum, step_singular])
@pytest.mark.parametrize("name", STEP_CASES)
def test_what_is_no_step_function_is_refused(name, call):
    error, message, arguments = STEP_CASES[name]
    refuses(error, message, lambda: call(*arguments))


def test_a_step_is_called_by_its_name():
    with pytest.raises(NonFiniteError, match=r"nan in 'mine'") as raised:
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
        with pytest.raises(NonFiniteError, match=r"inf in 'RNN', layer 1 .* step \d+") as raised:
            call(module, torch.ones(300, 1, 1))
        assert (raised.value.module, raised.value.layer, raised.value.step) == ("RNN", 1, expected)


def test_what_is_allowed_beside_it():
    assert spectrum(make("gru", num_layers=2, dropout=0.5).eval(), X).parts
    assert spectrum(make("gru", dropout=0.0), X).parts
    packed = spectrum(make("gru"), pack_padded_sequence(X, [7, 7, 7])).part()
    # To what a rounding of the states makes of six steps; another memory may be added up in another order.
    np.testing.assert_allclose(packed.values, spectrum(make("gru"), X).part().values, atol=1e-9)
    with_state = spectrum(make("gru"), (X, states(make("gru")))).part()
    expected = spectrum(make("gru"), X, state=states(make("gru"))).part().values
    np.testing.assert_allclose(with_state.values, expected, atol=1e-9)
    for narrow in (torch.float16, torch.bfloat16, torch.float32):
        assert np.isfinite(spectrum(make("gru").to(narrow), X.to(narrow)).part().values).all()


def test_a_model_is_as_it_was_after_a_mistake():
    model = nn.Sequential(make("gru"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UnrolledError):
        spectrum(model, X[..., :3])
    assert not model[0]._forward_pre_hooks
    assert model(X)[0].requires_grad
    # Copies: nothing is added up.
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
