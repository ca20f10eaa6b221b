"""Every way of calling a recurrent module, and several modules and calls in one model."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tests.gradients.helpers import Loop, check_parameters, check_profiles, check_twice, truth
from tests.gradients.test_flow_against_autograd import (
    INPUT,
    KINDS,
    B,
    H,
    T,
    at_the_end,
    everything,
    make,
    sequence,
    states,
)
from unrolled.gradients import gradient_flow

RECURRENT = tuple(KINDS)


@pytest.mark.parametrize("kind", RECURRENT)
def test_batch_first_is_the_same_flow(kind):
    module, x = make(kind, batch_first=True), sequence()
    flow = gradient_flow(module, x.transpose(0, 1), lambda r: everything((r[0].transpose(0, 1), r[1])))
    loop = Loop(truth(module))
    everything(loop(x)).backward()
    check_profiles(flow, loop, rtol=1e-9)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", RECURRENT)
def test_unbatched_input_and_state(kind, batch_first):
    module, x, state = make(kind, num_layers=2, batch_first=batch_first), sequence(batch=1), None
    module_state = states(module, batch=1)
    is_pair = isinstance(module_state, tuple)
    state = tuple(s.squeeze(1) for s in module_state) if is_pair else module_state.squeeze(1)
    flow = gradient_flow(module, x.squeeze(1), everything, state=state)
    loop = Loop(truth(module))
    everything(loop(x, module_state)).backward()
    check_profiles(flow, loop, rtol=1e-9)


@pytest.mark.parametrize("lengths", [[7, 4, 1], [2, 7, 5], [7, 7, 7]])
@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("kind", RECURRENT)
def test_packed_sequences_have_each_its_own_length(kind, both_ways, lengths):
    module, x = make(kind, num_layers=2, bidirectional=both_ways), sequence()
    ordered = lengths == sorted(lengths, reverse=True)
    packed = pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=ordered)

    def loss(result):
        return everything((pad_packed_sequence(result[0])[0].sin(), result[1]))

    flow = gradient_flow(module, packed, loss, state=states(module))
    reference = truth(module)
    loop = Loop(reference)
    output, last = loop(x, states(module), lengths)
    everything((output.sin(), last)).backward()
    check_profiles(flow, loop, rtol=1e-9)
    check_parameters(flow, reference, rtol=1e-9)


def test_default_loss_reads_each_packed_sequence_at_its_own_end():
    module, lengths = make("gru"), [2, 7, 5]
    profile = gradient_flow(module, pack_padded_sequence(sequence(), lengths, enforce_sorted=False)).profile()
    assert profile.log2_norm[0] == pytest.approx(0, abs=1e-12)  # lag 0 is the unit cotangent, for all three
    assert [int((~torch.from_numpy(profile.samples[:, b]).isnan()).sum()) for b in range(3)] == lengths


class EncoderDecoder(nn.Module):
    """An embedding, an encoder read at its last state, a decoder started from it, a head."""

    def __init__(self, kind):
        super().__init__()
        self.embed = nn.Linear(INPUT, INPUT).double()
        self.encoder = make(kind, seed=1, num_layers=2)
        self.decoder = make(kind, seed=2, num_layers=2)
        self.head = nn.Linear(self.encoder.proj_size or H, INPUT).double()

    def forward(self, source, target):
        memory, state = self.encoder(torch.tanh(self.embed(source)))
        answer, _ = self.decoder(target + memory.mean(0)[:, :INPUT].mean(), state)
        return self.head(answer)


@pytest.mark.parametrize("kind", RECURRENT)
def test_an_encoder_gets_what_flows_back_from_its_decoder(kind):
    torch.manual_seed(0)
    model = EncoderDecoder(kind)
    source, target = sequence(), sequence(steps=4, seed=5)
    flow = gradient_flow(model, (source, target), lambda output: output.pow(3).sum())
    reference = truth(model)
    encoder, decoder = reference.encoder, reference.decoder
    loops = {"encoder": Loop(encoder), "decoder": Loop(decoder)}
    memory, state = loops["encoder"](torch.tanh(reference.embed(source)))
    answer, _ = loops["decoder"](target + memory.mean(0)[:, :INPUT].mean(), state)
    reference.head(answer).pow(3).sum().backward()
    for name, loop in loops.items():
        check_profiles(flow, loop, rtol=1e-9, module=name)
    check_parameters(flow, reference, rtol=1e-9)


class StepByStep(nn.Module):
    """A loop that calls its recurrent module one step at a time and feeds its answer back."""

    def __init__(self, kind):
        super().__init__()
        self.cell = make(kind)
        self.head = nn.Linear(self.cell.proj_size or H, INPUT).double()

    def forward(self, x, cell=None):
        cell, state, answers = cell or self.cell, None, []
        for x_t in x:
            output, state = cell((x_t + (answers[-1] if answers else 0)).unsqueeze(0), state)
            answers.append(self.head(output[0]))
        return torch.stack(answers)


@pytest.mark.parametrize("kind", RECURRENT)
def test_each_call_of_a_loop_gets_what_flows_back_from_the_later_ones(kind):
    torch.manual_seed(0)
    model, x = StepByStep(kind), sequence()
    flow = gradient_flow(model, x, lambda output: output[-1].sum())
    reference = truth(model)
    loops = [Loop(reference.cell) for _ in range(T)]
    queue = iter(loops)
    reference(x, lambda *arguments: next(queue)(*arguments))[-1].sum().backward()
    for call, loop in enumerate(loops):
        check_profiles(flow, loop, rtol=1e-9, call=call)
    check_parameters(flow, reference, rtol=1e-9)
    (joined,) = [profile for profile in flow.joined() if profile.path == "h"]
    assert joined.steps == T
    expected = torch.stack([loop.norms(0, "forward", "h")[0][0] for loop in loops]).flip(0)
    single = gradient_flow(model, x[:, :1], lambda output: output[-1].sum())
    found = torch.from_numpy(next(p for p in single.joined() if p.path == "h").log2_norm).exp2()
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


def test_a_step_by_step_loop_stays_in_range_from_call_to_call():
    class Halving(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.RNN(1, 1, nonlinearity="relu")
            for parameter in self.cell.parameters():
                nn.init.constant_(parameter, 0.5)

        def forward(self, x):
            state = None
            for x_t in x:
                output, state = self.cell(x_t.unsqueeze(0), state)
            return output

    # 200 halvings are beyond float32. Powers of two, their products, norms and logarithms are exact.
    (profile,) = gradient_flow(Halving(), torch.ones(200, 1, 1), lambda output: output.sum()).joined()
    assert profile.log2_norm.tolist() == [-float(lag) for lag in range(200)]


def test_an_encoder_sees_a_gradient_that_its_decoder_took_out_of_float32():
    class Chain(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.RNN(1, 1, nonlinearity="relu")
            self.second = nn.RNN(1, 1, nonlinearity="relu")
            for parameter in self.parameters():
                nn.init.constant_(parameter, 0.5)

        def forward(self, x):
            return self.second(2 * self.first(x)[0])[0]

    flow = gradient_flow(Chain(), torch.ones(500, 1, 1), lambda output: output[-1].sum())
    assert flow.profile("second").log2_norm.tolist() == [-float(lag) for lag in range(500)]  # powers of two
    # a_k = 2^-k (from above: 2 * 0.5 = 1) + a_(k-1) / 2, so a_k = (k + 1) 2^-k
    first = flow.profile("first").log2_norm
    expected = (torch.arange(500.0).double() + 1).log2() - torch.arange(500.0).double()
    # 500 sums in float32, each rounded once: at most 500 * 2^-24 relative.
    torch.testing.assert_close(torch.from_numpy(first), expected, rtol=0, atol=1e-4)


def test_learned_initial_state_gets_its_gradient():
    class Learned(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = make("gru")
            self.h0 = nn.Parameter(torch.randn(1, B, H, dtype=torch.float64))

        def forward(self, x):
            return self.rnn(x, self.h0)

    model = Learned()
    flow = gradient_flow(model, sequence(), at_the_end)
    at_the_end(model(sequence())).backward()
    check_parameters(flow, model, rtol=1e-9)


def test_a_detached_state_cuts_the_flow():
    class Truncated(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = make("tanh")

        def forward(self, x):
            _, state = self.rnn(x[:4])
            return self.rnn(x[4:], state.detach())[0]

    flow = gradient_flow(Truncated(), sequence(), lambda output: output[-1].sum())
    assert (flow.profile(call=0).log2_norm == -float("inf")).all()
    assert (flow.profile(call=1).log2_norm > -20).all()


def test_model_inputs_and_random_state_are_left_alone():
    torch.manual_seed(0)
    model = EncoderDecoder("lstm")
    model.head.weight.grad = torch.ones_like(model.head.weight)
    x = sequence().requires_grad_()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    random = torch.get_rng_state()
    gradient_flow(model, (x, sequence(steps=4)))
    assert torch.equal(random, torch.get_rng_state())
    assert x.grad is None
    assert model.encoder.weight_hh_l0.grad is None
    assert (model.head.weight.grad == 1).all()
    assert "forward" not in model.encoder.__dict__
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


def test_a_model_may_write_into_what_it_was_given():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = make("tanh")

        def forward(self, x):
            output, state = self.rnn(x)
            return output.mul_(2), state

    flow = gradient_flow(InPlace(), sequence(), at_the_end)
    plain = gradient_flow(make("tanh"), sequence(), lambda r: 2 * at_the_end(r))
    check_twice(flow.profile().samples, plain.profile().samples)


def test_gradients_reach_the_weights_behind_a_parametrisation():
    model = nn.Sequential(make("tanh"))
    nn.utils.parametrizations.orthogonal(model[0], "weight_hh_l0")
    flow = gradient_flow(model, sequence(), at_the_end)
    at_the_end(model(sequence())).backward()
    check_parameters(flow, model, rtol=1e-9)


def test_a_frozen_network_and_a_caller_without_gradients_have_a_flow_too():
    module = make("lstm")
    expected = gradient_flow(module, sequence())
    with torch.no_grad():
        frozen = gradient_flow(module.requires_grad_(False), sequence())
    for one, other in zip(expected, frozen, strict=True):
        check_twice(one.samples, other.samples)
    assert frozen.parameters == {}
