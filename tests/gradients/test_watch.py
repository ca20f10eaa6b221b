"""Watching a training loop: the same flow, and not one bit of the training changed."""

import copy

import pytest
import torch
from torch import nn

from tests.gradients.test_calls import EncoderDecoder, StepByStep
from tests.gradients.test_flow_against_autograd import KINDS, at_the_end, make, sequence
from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.gradients import gradient_flow, watch


def train(model, batches, watched=None):
    """A step of Adam for each batch; every gradient on the way, and the weights at the end."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    gradients = []
    for x in batches:
        optimizer.zero_grad()
        model(*x).pow(2).mean().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
        optimizer.step()
    return gradients, list(model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_bit_identical_with_and_without_a_watch(kind):
    """What a watch promises: one seed, one process, the same operations on tensors that start alike in memory."""
    torch.manual_seed(0)
    model = EncoderDecoder(kind)
    twin = copy.deepcopy(model)
    batches = [(sequence(seed=seed), sequence(steps=4, seed=seed + 50)) for seed in range(10)]
    with watch(model, every=3) as watched:
        seen = train(model, batches)
    leaves = torch.utils._pytree.tree_leaves
    for one, other in zip(leaves(seen), leaves(train(twin, batches)), strict=True):
        assert torch.equal(one, other)
    assert [entry.backward for entry in watched.history] == [1, 4, 7, 10]


@pytest.mark.parametrize(("of", "kind"), [(EncoderDecoder, "lstm"), (StepByStep, "gru")], ids=["two", "loop"])
def test_watch_records_the_flow_that_gradient_flow_finds(of, kind):
    torch.manual_seed(0)
    model = of(kind)
    inputs = (sequence(), sequence(steps=4, seed=9)) if isinstance(model, EncoderDecoder) else (sequence(),)
    with watch(model, every=1) as watched:
        model(*inputs).pow(2).mean().backward()
    flow = gradient_flow(model, inputs, lambda output: output.pow(2).mean())
    found = {profile.label: profile for profile in watched.latest()}
    assert set(found) == {profile.label for profile in flow}
    for profile in flow:
        one, other = torch.from_numpy(found[profile.label].samples), torch.from_numpy(profile.samples)
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    assert watched.latest().parameters == pytest.approx(flow.parameters, abs=1e-9)
    assert watched.latest().log10_norm == pytest.approx(flow.log10_norm, abs=1e-9)


def test_packed_and_batch_first_and_unbatched_are_watched_alike():
    x = sequence()
    packed = nn.utils.rnn.pack_padded_sequence(x, [2, 7, 5], enforce_sorted=False)
    cases = [
        (make("lstm"), packed, lambda r: r[0].data.pow(2).sum()),
        (make("lstm", batch_first=True), x.transpose(0, 1), lambda r: r[0].pow(2).sum()),
        (make("lstm"), x[:, 0], lambda r: r[1][1].pow(2).sum()),
    ]
    for module, inputs, loss in cases:
        with watch(module, every=1) as watched:
            loss(module(inputs)).backward()
        for one, other in zip(watched.latest(), gradient_flow(module, inputs, loss), strict=True):
            torch.testing.assert_close(
                torch.from_numpy(one.samples),
                torch.from_numpy(other.samples),
                rtol=1e-9,
                atol=1e-9,
                equal_nan=True,
            )


def test_scalars_are_floats_and_the_frame_is_the_history():
    module = make("lstm")
    with watch(module, every=2) as watched:
        for seed in range(4):
            at_the_end(module(sequence(seed=seed))).backward()
    scalars = watched.latest().scalars()
    assert all(type(value) is float for value in scalars.values())
    assert set(scalars) >= {
        "gradient/log10_norm",
        "flow/LSTM.l0/decades_per_step",
        "flow/LSTM.l0.c/horizon",
    }
    frame = watched.frame()
    assert list(frame.columns[:4]) == ["backward", "module", "call", "layer"]
    assert frame.groupby(["backward", "path"]).size().to_dict() == {(b, p): 7 for b in (1, 3) for p in "hc"}


def test_between_records_only_the_counter_is_left():
    module, forward = make("gru"), nn.GRU.forward
    with watch(module, every=10) as watched:
        at_the_end(module(sequence())).backward()
        output, _ = module(sequence())
        assert not output._backward_hooks
        for _ in range(9):
            at_the_end(module(sequence())).backward()
        output, _ = module(sequence())
        assert output._backward_hooks  # the 11th is due
    assert nn.GRU.forward is forward
    assert not module.weight_ih_l0._post_accumulate_grad_hooks
    assert len(watched.history) == 1


def test_evaluation_without_gradients_is_not_recorded():
    module = make("gru")
    with watch(module, every=1) as watched:
        with torch.no_grad():
            module(sequence())
        module(sequence(seed=8))  # and neither is a pass that no backward follows
        at_the_end(module(sequence())).backward()
    assert [profile.call for profile in watched.latest()] == [0]


def test_a_pass_that_meets_inf_is_kept_as_a_message_and_training_goes_on():
    module = nn.RNN(1, 1, nonlinearity="relu")
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(3.0)
    with watch(module, every=1) as watched:
        module(torch.ones(200, 1, 1))[0].sum().backward()
        with pytest.raises(InvalidValueError, match=r"pass 1\b.*\binf\b.*'RNN', layer 0"):
            watched.latest()
        module(torch.ones(20, 1, 1))[0].sum().backward()
    assert watched.latest().profile().verdict.word == "exploding"


@pytest.mark.parametrize("what", ["nan", "inf"])
@pytest.mark.parametrize("of", ["output", "last state"])
@pytest.mark.parametrize("kind", ["tanh", "gru", "lstm"])
def test_a_loss_that_sends_nan_or_inf_back_is_kept_as_a_message(kind, of, what):
    module = make(kind)
    with watch(module, every=1) as watched:
        output, last = module(sequence())
        part = output[-1] if of == "output" else last[-1] if isinstance(last, tuple) else last
        (part * float(what)).sum().backward()
        with pytest.raises(InvalidValueError, match=rf"pass 1\b.*\b{what}\b"):
            watched.latest()


def test_what_cannot_be_watched_is_refused():
    with pytest.raises(InvalidValueError, match=r"every: .*got 0\b"):
        watch(make("gru"), every=0)
    with pytest.raises(InvalidTypeError, match=r"every: .*got 2\.5"):
        watch(make("gru"), every=2.5)
    with pytest.raises(InvalidValueError, match="model: .*requires_grad"):
        watch(make("gru").requires_grad_(False))
    with pytest.raises(InvalidValueError, match="watch: .*none"):
        watch(make("gru")).latest()
