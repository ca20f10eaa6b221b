"""Trainings as people have them, each with and without a watch: the same to the last bit, and what is seen is right."""

import copy
import io
import pickle
import socket
import sys
import time

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from tests.models import zoo
from tests.models.cases import B, classes, squares, x
from tests.models.helpers import Oracle, left, same_bits
from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.gradients import gradient_flow, watch
from unrolled.gradients.watch import Watch

RTOL = 1e-12


def both(make, step, steps=3, **options):
    """Run `step(model, number)` on two equal models, one of them watched; the handle. Raises where a bit differs."""
    ends, watched = [], None
    for looked_at in (True, False):
        torch.manual_seed(0)
        model = make()
        if looked_at:
            watched = watch(model, **({"every": 1} | options))
        results = [step(model, number) for number in range(steps)]
        if looked_at:
            watched.close()
        ends.append((results, [*model.parameters(), *model.buffers()], torch.get_rng_state()))
    assert same_bits(*ends)
    return watched


def sgd(model, loss):
    """One step of gradient descent; the loss."""
    for parameter in model.parameters():
        parameter.grad = None
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None and bool(parameter.grad.isfinite().all()):
                parameter.sub_(0.1 * parameter.grad)
    return loss


def gru(**options):
    return nn.GRU(zoo.I, zoo.H, **options).double()


# R1: nothing is raised inside somebody's training.


class Projected(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.embed, self.rnn = nn.Linear(zoo.I, zoo.I), kind(zoo.I, zoo.H, batch_first=True)

    def forward(self, x):
        return self.rnn(self.embed(x))[0]


class ProjectedCell(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.embed, self.cell = nn.Linear(zoo.I, zoo.I), kind(zoo.I, zoo.H)

    def forward(self, x):
        state, outputs = None, []
        for x_t in self.embed(x).unbind(1):
            state = self.cell(x_t, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(outputs, 1)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM, nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_autocast_is_watched_and_has_a_flow(kind):
    make = Projected if issubclass(kind, nn.RNNBase) else ProjectedCell

    def step(model, number):
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(x().transpose(0, 1).float()).float().pow(2).mean()
        return sgd(model, loss)

    watched = both(lambda: make(kind), step)
    assert [seen.problem for seen in watched.history] == [None] * 3
    torch.manual_seed(0)
    model = make(kind)
    full = gradient_flow(model, x().transpose(0, 1).float(), squares_of_zero)
    with torch.autocast("cpu", torch.bfloat16):
        flow = gradient_flow(model, x().transpose(0, 1).float(), squares_of_zero)
    for seen in (watched.history[0].flow, flow):
        for one, other in zip(seen, full, strict=True):
            # bfloat16 rounds to 2^-9, some dozen times in a row.
            torch.testing.assert_close(
                *map(torch.from_numpy, (one.log2_norm, other.log2_norm)), rtol=0, atol=0.3
            )


def squares_of_zero(output):
    return output.float().pow(2).mean()


@pytest.mark.parametrize("what", [float("nan"), float("inf")])
@pytest.mark.parametrize("of", [gru, lambda: nn.LSTM(zoo.I, zoo.H, 2, dropout=0.5).double(), zoo.OwnLoop])
def test_nan_or_inf_in_a_batch_is_a_problem_of_the_record_and_of_nothing_else(of, what):
    def step(model, number):
        batch = x()
        if number == 1:
            batch[2, 1, 0] = what
        result = model.double()(batch)
        return sgd(model, (result[0] if isinstance(result, tuple) else result).pow(2).mean())

    watched = both(of, step, cells=zoo.MinimalGated if of is zoo.OwnLoop else ())
    assert [seen.backward for seen in watched.history] == [1, 2, 3]
    problems = [seen.problem for seen in watched.history]
    assert problems[0] is None
    assert problems[2] is None
    assert problems[1] is not None
    assert "nan" in problems[1].lower() or "inf" in problems[1].lower()


def test_inf_in_a_carried_state_is_a_problem_of_the_record():
    def step(model, number):
        h0 = torch.zeros(1, B, zoo.H).double()
        h0[0, 0, 0] = float("inf") if number == 0 else 0.0
        return sgd(model, model(x(), h0)[0].pow(2).mean())

    watched = both(gru, step)
    assert "inf" in watched.history[0].problem.lower() or "nan" in watched.history[0].problem.lower()
    assert watched.history[1].problem is None


# R2: dropout between layers.


def test_a_mode_that_changes_after_watching_began_is_seen():
    torch.manual_seed(0)
    module = nn.LSTM(zoo.I, zoo.H, 2, dropout=0.5).double().eval()
    with watch(module, every=1) as watched:
        module.train()
        state = torch.get_rng_state()
        squares(module(x())[0]).backward()
    torch.set_rng_state(state)
    oracle = Oracle(module)
    with oracle.looking_on():
        output = module(x())[0]
    squares(output).backward()
    oracle.check(watched.latest(), RTOL)


def test_masks_are_those_of_the_forward_though_the_mode_changed_before_the_backward():
    torch.manual_seed(0)
    module = nn.GRU(zoo.I, zoo.H, 3, dropout=0.3, batch_first=True).double()
    with watch(module, every=1) as watched:
        state = torch.get_rng_state()
        loss = squares(module(x())[0])
        module.eval()
        loss.backward()
    module.train()
    torch.set_rng_state(state)
    oracle = Oracle(module)
    with oracle.looking_on():
        output = module(x())[0]
    squares(output).backward()
    oracle.check(watched.latest(), RTOL)


def test_masks_that_cannot_be_drawn_again_are_said():
    torch.manual_seed(0)
    module = nn.GRU(zoo.I, zoo.H, 2, dropout=0.5).double()

    class Elsewhere(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = module

        def forward(self, batch):
            self.rnn.dropout = 0.5
            return self.rnn(batch)[0]

    model = Elsewhere()
    with watch(model, every=1) as watched:
        loss = squares(model(x()))
        module.dropout = 0.1  # what the call had is no longer known
        loss.backward()
    assert "masks" in watched.history[0].problem


# R4: every backward pass shows all the calls that it went through.


def test_two_losses_on_one_forward_are_two_flows():
    def step(model, number):
        output = model(x())[0]
        output[-1].sum().backward(retain_graph=True)
        output[3].pow(2).sum().backward()
        return output

    watched = both(gru, step, steps=2)
    assert [len(list(seen.flow)) for seen in watched.history] == [1, 1, 1, 1]
    assert not watched.frame().empty
    first, second = (seen.flow.profile().log2_norm for seen in watched.history[:2])
    torch.manual_seed(0)
    model = gru()
    flows = [
        gradient_flow(model, x(), loss).profile().log2_norm
        for loss in (lambda r: r[0][-1].sum(), lambda r: r[0][3].pow(2).sum())
    ]
    for one, other in zip((first, second), flows, strict=True):
        torch.testing.assert_close(torch.from_numpy(one), torch.from_numpy(other), rtol=0, atol=1e-11)


@pytest.mark.parametrize("of", [gru, lambda: nn.GRUCell(zoo.I, zoo.H).double()])
def test_three_passes_through_one_graph_are_three_flows(of):
    def step(model, number):
        outputs = loop(model, x())
        for k in (2, 5, 8):
            outputs[k].sum().backward(retain_graph=True)
        return outputs[-1]

    watched = both(of, step, steps=1)
    lengths = [[int((p.log2_norm > -1e300).sum()) for p in seen.flow] for seen in watched.history]
    assert [sum(found) for found in lengths] == [3, 6, 9]


def loop(model, batch):
    if isinstance(model, nn.GRU):
        return model(batch)[0]
    h, outputs = None, []
    for x_t in batch:
        h = model(x_t, h)
        outputs.append(h)
    return torch.stack(outputs)


def test_chunks_whose_state_is_not_detached_are_all_shown():
    model, batch = gru(), x(12)
    with watch(model, every=1) as watched:
        first, h = model(batch[:6])
        first.pow(2).sum().backward(retain_graph=True)
        second, _ = model(batch[6:], h)
        second.pow(2).sum().backward()
    assert [len(list(seen.flow)) for seen in watched.history] == [1, 2]
    expected = gradient_flow(copy.deepcopy(model), batch, lambda r: r[0][6:].pow(2).sum()).profile().log2_norm
    later, earlier = (
        watched.history[1].flow.profiles[1].log2_norm,
        watched.history[1].flow.profiles[0].log2_norm,
    )
    found = torch.cat([torch.from_numpy(later), torch.from_numpy(earlier)])
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0, atol=1e-11)


def test_chunks_whose_state_is_detached_are_each_shown_alone():
    def step(model, number):
        h, losses = None, []
        for chunk in x(12).split(4):
            output, h = model(chunk, h)
            h = h.detach()
            losses.append(sgd(model, output.pow(2).mean()))
        return losses

    watched = both(gru, step, steps=1)
    assert [len(list(seen.flow)) for seen in watched.history] == [1, 1, 1]
    assert all(seen.problem is None for seen in watched.history)


def test_gradients_that_are_accumulated_are_recorded_pass_by_pass():
    def step(model, number):
        for parameter in model.parameters():
            parameter.grad = None
        losses = []
        for part in range(2):
            losses.append(model(x() * (part + 1))[0].pow(2).mean() / 2)
            losses[-1].backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.sub_(0.1 * parameter.grad)
        return losses

    watched = both(gru, step, steps=2)
    assert [seen.backward for seen in watched.history] == [1, 2, 3, 4]
    assert all(len(list(seen.flow)) == 1 for seen in watched.history)


# R5: calls that no __call__ sees, and what there is to say.


def test_a_loss_that_was_detached_is_said():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = gru(), nn.Linear(zoo.H, 1).double()

        def forward(self, batch):
            return self.head(self.rnn(batch)[0].detach())

    watched = both(Cut, lambda model, _: sgd(model, model(x()).pow(2).mean()), steps=1)
    assert "detached" in watched.history[0].problem


def test_a_module_that_is_never_called_is_said():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = gru(), nn.Linear(zoo.I, 1).double()

        def forward(self, batch):
            return self.head(batch)

    watched = both(Idle, lambda model, _: sgd(model, model(x()).pow(2).mean()), steps=1)
    assert "no recurrent call" in watched.history[0].problem


def test_a_forward_that_is_the_modules_own_attribute_is_watched():
    def make():
        module = gru()
        original = module.forward
        module.forward = lambda *arguments: original(*arguments)
        return module

    watched = both(make, lambda model, _: sgd(model, model(x())[0].pow(2).mean()))
    assert all(len(list(seen.flow)) == 1 for seen in watched.history)


# Gradient scaling, penalties, two optimisers, checkpoints, parametrisations.


def test_a_gradient_scaler_scales_the_flow_and_nothing_else():
    torch.manual_seed(0)
    model, plain = gru(), None
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    plain = gradient_flow(model, x(), lambda r: r[0].pow(2).mean()).profile().log2_norm
    with watch(model, every=1) as watched:
        scaler.scale(model(x())[0].pow(2).mean()).backward()
        scaler.step(optimizer)
        scaler.update()
    found = watched.latest().profile().log2_norm
    torch.testing.assert_close(torch.from_numpy(found), torch.from_numpy(plain + 10), rtol=0, atol=1e-11)


def test_a_gradient_penalty_trains_as_without_a_watch():
    def step(model, number):
        batch = x().requires_grad_()
        output = model(batch)[0]
        (slope,) = torch.autograd.grad(output.sum(), batch, create_graph=True)
        return sgd(model, output.pow(2).mean() + slope.pow(2).mean())

    class Plain(nn.Module):  # a double backward needs cells, not torch's fused recurrence on every device
        def __init__(self):
            super().__init__()
            self.cell = nn.GRUCell(zoo.I, zoo.H).double()

        def forward(self, batch):
            return loop(self.cell, batch), None

    for make in (Plain, gru):
        watched = both(make, step)
        assert [seen.backward for seen in watched.history] == [1, 2, 3]
        assert all(len(list(seen.flow)) == 1 for seen in watched.history)


def test_a_gradient_taken_by_autograd_grad_is_no_backward_pass():
    def step(model, number):
        return torch.autograd.grad(model(x())[0].sum(), list(model.parameters()))

    assert both(gru, step).history == []


class Unchecked(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.embed, self.cell = model.embed, model.cell

    def forward(self, batch):
        return loop(self.cell, self.embed(batch))


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("of", ["fused", "cells"])
def test_activation_checkpoints_train_as_without_a_watch(of, reentrant):
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Linear(zoo.I, zoo.I).double()
            self.cell = nn.GRUCell(zoo.I, zoo.H).double() if of == "cells" else gru()

        def forward(self, batch):
            return checkpoint(lambda b: loop(self.cell, b), self.embed(batch), use_reentrant=reentrant)

    watched = both(Checkpointed, lambda model, _: sgd(model, model(x()).pow(2).mean()))
    assert [seen.backward for seen in watched.history] == [1, 2, 3]
    torch.manual_seed(0)
    model = Checkpointed()
    if reentrant:
        with pytest.raises(InvalidValueError, match="use_reentrant=True"):
            gradient_flow(model, x(), lambda r: r.pow(2).mean())
    flow = gradient_flow(Unchecked(model), x(), lambda r: r.pow(2).mean())
    for seen in watched.history[:1]:
        (profile,) = seen.flow
        torch.testing.assert_close(
            torch.from_numpy(profile.log2_norm), torch.from_numpy(flow.profile().log2_norm), rtol=0, atol=1e-11
        )


@pytest.mark.parametrize("weight", ["weight_ih_l0", "weight_hh_l0"])
@pytest.mark.parametrize("how", ["orthogonal", "spectral_norm", "weight_norm"])
def test_parametrised_weights_train_as_without_a_watch(how, weight):
    def make():
        module = gru() if how != "orthogonal" else nn.RNN(zoo.I, zoo.H).double()
        getattr(nn.utils.parametrizations, how)(module, weight)
        return module

    watched = both(make, lambda model, _: sgd(model, model(x())[0].pow(2).mean()), steps=4, every=2)
    torch.manual_seed(0)
    module = make()
    before = left(module)
    flow = gradient_flow(module, x(), lambda r: r[0].pow(2).mean())
    after = left(module)
    for one, other in zip(before["buffers"], after["buffers"], strict=True):
        assert torch.equal(one[2], other[2])
    found, expected = watched.history[0].flow.profile().log2_norm, flow.profile().log2_norm
    torch.testing.assert_close(torch.from_numpy(found), torch.from_numpy(expected), rtol=0, atol=1e-11)


def test_two_optimisers_train_as_without_a_watch():
    def make():
        model = zoo.TwoCells().double()
        model.optimisers = [
            torch.optim.Adam(model.lower.parameters()),
            torch.optim.SGD([*model.upper.parameters(), *model.head.parameters()], lr=0.1),
        ]
        return model

    def step(model, number):
        model.zero_grad()
        loss = classes(model(x()))
        loss.backward()
        model.optimisers[number % 2].step()
        return loss

    watched = both(make, step, steps=4)
    assert [len(list(seen.flow)) for seen in watched.history] == [3] * 4


def test_a_model_is_copied_saved_and_pickled_while_it_is_watched():
    model = zoo.Policy().double()
    with watch(model, every=1):
        twin = copy.deepcopy(model)
        pickled = pickle.loads(pickle.dumps(model))
        torch.save(model.state_dict(), io.BytesIO())
    fresh = zoo.Policy().double()
    assert list(model.state_dict()) == list(fresh.state_dict())
    for other in (twin, pickled):
        assert same_bits(list(other.parameters()), list(model.parameters()))
        assert all(not parameter._post_accumulate_grad_hooks for parameter in other.parameters())


class Mistaken(RuntimeError):
    pass


@pytest.mark.parametrize("of", ["before", "inside", "after"])
def test_an_exception_of_a_users_forward_goes_through_unchanged(of):
    error = Mistaken("mine")

    class Cell(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(zoo.I + zoo.H, zoo.H).double()

        def forward(self, batch, h):
            if of == "inside" and model.armed:
                raise error
            return torch.tanh(self.linear(torch.cat([batch, h], -1)))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.armed = Cell(), True

        def forward(self, batch):
            h = batch.new_zeros(B, zoo.H)
            if of == "before" and self.armed:
                raise error
            for x_t in batch:
                h = self.cell(x_t, h)
            if of == "after" and self.armed:
                raise error
            return h

    model = Model()
    before = left(model)
    with watch(model, every=1, cells=Cell) as watched:
        with pytest.raises(Mistaken) as raised:
            model(x())
        model.armed = False
        model(x()).sum().backward()
    assert raised.value is error
    assert [seen.problem for seen in watched.history] == [None]
    (profile,) = watched.latest()
    assert profile.steps == 9
    model.armed = True
    with pytest.raises(Mistaken) as raised:
        gradient_flow(model, x(), cells=Cell)
    assert raised.value is error
    assert left(model)["classes"] == before["classes"]


def test_two_watches_at_once_see_the_same_and_close_in_any_order():
    model = gru()
    before = left(model)
    one, other = watch(model, every=1), watch(model, every=2)
    for _ in range(3):
        model(x())[0].pow(2).mean().backward()
    one.close()
    model(x())[0].pow(2).mean().backward()
    model(x())[0].pow(2).mean().backward()
    other.close()
    other.close()
    assert [seen.backward for seen in one.history] == [1, 2, 3]
    assert [seen.backward for seen in other.history] == [1, 3, 5]
    assert (one.history[0].flow.profile().log2_norm == other.history[0].flow.profile().log2_norm).all()
    after = left(model)
    assert (before["classes"], before["listeners"]) == (after["classes"], after["listeners"])


def test_a_watch_that_is_closed_before_the_backward_pass_lets_it_go_by():
    model = gru()
    watched = watch(model, every=1)
    loss = model(x())[0].pow(2).mean()
    watched.close()
    loss.backward()
    assert watched.history == []


def test_a_budget_keeps_to_its_share_by_a_clock_of_its_own(monkeypatch):
    now = [0.0]

    def clock():
        now[0] += 0.001  # each look at the clock: a record takes a few of them
        return now[0]

    monkeypatch.setattr(sys.modules["unrolled.gradients.watch"], "perf_counter", clock)
    model = gru()
    with watch(model, budget=0.02) as watched:
        for _ in range(200):
            now[0] += 0.05  # the training's own time
            model(x())[0].pow(2).mean().backward()
        shown = str(watched)
    assert 2 <= len(watched.history) < 200
    assert watched.seconds / now[0] < 0.03
    assert "%" in shown
    assert f"{len(watched.history)} of 200" in shown


@pytest.mark.timing
def test_a_budget_keeps_to_its_share_of_real_time():
    model = nn.GRU(zoo.I, 32)
    with watch(model, budget=0.05) as watched:
        began = time.perf_counter()
        for _ in range(150):
            model(x(50).float())[0].pow(2).mean().backward()
        share = watched.seconds / (time.perf_counter() - began)
    assert share < 0.15
    assert len(watched.history) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("what", ["model", "cell"])
def test_compiled_models_and_cells_train_as_without_a_watch(what):
    torch._dynamo.reset()

    def make():
        model = zoo.Policy().double()
        if what == "model":
            model.compile(backend="aot_eager")
        else:
            model.cell.compile(backend="aot_eager")
        return model

    def step(model, number):
        logits, values = model(x(), torch.zeros(9, B).double())
        return sgd(model, classes(logits) + squares(values))

    watched = both(make, step)
    assert [seen.backward for seen in watched.history] == [1, 2, 3]
    for seen in watched.history:
        assert seen.problem is not None or len(list(seen.flow)) == 1


@pytest.mark.slow
def test_a_model_compiled_before_it_is_watched_trains_on():
    torch._dynamo.reset()
    model = zoo.Policy().double()
    compiled = torch.compile(model, backend="aot_eager")
    arguments = x(), torch.zeros(9, B).double()
    expected = squares(compiled(*arguments)[1])
    with watch(compiled, every=1) as watched:
        loss = squares(compiled(*arguments)[1])
        loss.backward()
    torch.testing.assert_close(loss, expected)
    assert len(watched.history) == 1
    assert watched.history[0].problem is not None or len(list(watched.history[0].flow)) == 1


def test_distributed_data_parallel_is_watched():
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("no gloo")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=0, world_size=1)
    try:
        make = lambda: nn.parallel.DistributedDataParallel(Projected(nn.GRU).double())  # noqa: E731
        watched = both(make, lambda model, _: sgd(model, squares(model(x().transpose(0, 1)))))
        assert [seen.backward for seen in watched.history] == [1, 2, 3]
        torch.manual_seed(0)
        flow = gradient_flow(Projected(nn.GRU).double(), x().transpose(0, 1), squares)
        found, expected = watched.history[0].flow.profile().log2_norm, flow.profile().log2_norm
        torch.testing.assert_close(torch.from_numpy(found), torch.from_numpy(expected), rtol=0, atol=1e-11)
    finally:
        torch.distributed.destroy_process_group()


def test_a_flat_functional_call_is_watched():
    model = gru()
    weights = {name: (2 * weight.detach()).requires_grad_() for name, weight in model.named_parameters()}
    with watch(model, every=1) as watched:
        output, _ = torch.func.functional_call(model, weights, (x(),))
        output.pow(2).mean().backward()
    assert watched.history == []  # no parameter of the model got a gradient


def test_embedding_gradients_that_are_sparse_are_watched():
    class Sparse(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn = nn.Embedding(7, zoo.I, sparse=True).double(), gru()

        def forward(self, tokens):
            return self.rnn(self.embed(tokens))[0]

    model = Sparse()
    with watch(model, every=1) as watched:
        model(torch.arange(12).reshape(6, 2) % 7).pow(2).mean().backward()
    assert watched.history[0].problem is None


class Unitary(nn.Module):
    """A cell with a complex state, as unitary networks have (Arjovsky, Shah, Bengio 2016)."""

    def __init__(self):
        super().__init__()
        self.phase, self.into = nn.Parameter(torch.randn(zoo.H)), nn.Linear(zoo.I, zoo.H)

    def forward(self, x_t, h):
        return h * torch.polar(torch.ones_like(self.phase), self.phase) + self.into(x_t)


class Rotating(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = Unitary()

    def forward(self, batch):
        h = torch.zeros(batch.shape[1], zoo.H, dtype=torch.complex128)
        for x_t in batch:
            h = self.cell(x_t, h)
        return h.real


def test_a_complex_state_is_watched_and_refused_by_the_flow_in_one_sentence():
    watched = both(
        lambda: Rotating().double(), lambda model, _: sgd(model, squares(model(x()))), steps=2, cells=Unitary
    )
    assert [seen.problem for seen in watched.history] == [None, None]
    (profile,) = watched.history[0].flow
    # A rotation keeps every norm: the same at all lags, but for a rounding a step.
    torch.testing.assert_close(
        torch.from_numpy(profile.log2_norm),
        torch.full((9,), profile.log2_norm[0], dtype=torch.float64),
        rtol=0,
        atol=1e-12,
    )
    with pytest.raises(InvalidTypeError, match=r"'cell'.*complex128"):
        gradient_flow(Rotating().double(), x(), squares, cells=Unitary)


def test_an_error_of_the_watch_itself_stops_no_training(monkeypatch):
    def broken(*_):
        raise RuntimeError("broken\nand more")

    for name in ("_record", "_note"):
        with monkeypatch.context() as patched:
            patched.setattr(Watch, name, broken)
            watched = both(gru, lambda model, _: sgd(model, model(x())[0].pow(2).mean()))
            assert len(watched.history) == 3
            assert all("broken" in seen.problem for seen in watched.history)
