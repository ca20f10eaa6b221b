"""`faster`: the same model, the same gradients, another backward pass where that pays, and nothing else."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import unrolled
from unrolled.errors import InvalidTypeError
from unrolled.implementations import inference
from unrolled.implementations.faster import FasterGRU, FasterLSTM, FasterRNN

T, B, I, H = 6, 3, 4, 5
MODULES = {nn.RNN: FasterRNN, nn.GRU: FasterGRU, nn.LSTM: FasterLSTM}


class Model(nn.Module):
    """Layers, one of them twice, among others."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(I, H), nn.Tanh())
        self.layers = nn.ModuleList([nn.RNN(H, H), nn.GRU(H, H, bidirectional=True), nn.LSTM(2 * H, H)])
        self.again = self.layers[0]
        self.nothing = None
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, x):
        x = self.first(x)
        for layer in (*self.layers, self.again):
            x = layer(x)[0]
        return self.scale * x


def by_blocks(output):
    """Whether some node before `output` is one of ours."""
    seen, todo = set(), [output.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        if "Recurrence" in type(node).__name__:
            return True
        seen.add(node)
        todo += [each for each, _ in node.next_functions]
    return False


@pytest.fixture
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Model().double()


@pytest.fixture
def x():
    return torch.randn(T, B, I, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_the_model_stays_as_it_is_and_its_face_has_its_parameters(model, x):
    kinds = [type(module) for module in model.modules()]
    face = unrolled.faster(model)
    assert [type(module) for module in model.modules()] == kinds
    assert [MODULES.get(kind, kind) for kind in kinds] == [type(module) for module in face.modules()]
    assert face.again is face.layers[0]
    assert face.first is model.first
    ours, theirs = face.state_dict(keep_vars=True), model.state_dict(keep_vars=True)
    assert list(ours) == list(theirs)
    assert all(ours[name] is theirs[name] for name in ours)
    assert not by_blocks(model(x))
    assert by_blocks(face(x))


def test_training_goes_the_same_way(model, x):
    plain = copy.deepcopy(model)
    for each in (plain, unrolled.faster(model)):
        optimizer = torch.optim.SGD(each.parameters(), lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            each(x).square().mean().backward()
            optimizer.step()
    for (name, ours), theirs in zip(model.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12, msg=name)


@pytest.mark.parametrize("kind", MODULES)
def test_what_it_does_not_do_itself_torch_does(kind, x):
    plain = kind(I, H, num_layers=2, dropout=0.5, dtype=torch.float64)
    face = unrolled.faster(plain)
    results = []
    for each in (face, plain):
        torch.manual_seed(3)
        results.append(each(x)[0])
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)  # the same numbers are dropped out
    assert by_blocks(results[0])
    packed = pack_sequence([x[:, 0], x[:3, 1]])
    face.eval()
    assert (face.training, plain.training) == (False, True)
    assert by_blocks(face(x)[0])
    assert not by_blocks(face(packed)[0].data)
    assert not by_blocks(unrolled.faster(plain.requires_grad_(False))(x)[0])
    assert by_blocks(face(x.clone().requires_grad_())[0])
    if kind is not nn.LSTM:  # which oneDNN refuses in bfloat16 on some processors
        with torch.autocast("cpu", torch.bfloat16):
            assert not by_blocks(unrolled.faster(kind(I, H))(x.float())[0])


@pytest.mark.parametrize("kind", MODULES)
def test_without_gradients_it_runs_in_place_and_writes_into_nothing_that_was_given(kind, x, monkeypatch):
    calls, scan = [], inference.scan
    monkeypatch.setattr(inference, "scan", lambda *given: calls.append(1) or scan(*given))
    plain = kind(I, H, num_layers=2, bidirectional=True, batch_first=True, dtype=torch.float64)
    face = unrolled.faster(plain)
    h = torch.randn(4, T, H, dtype=torch.float64)
    hx = (h, h + 1) if kind is nn.LSTM else h
    before = copy.deepcopy((x, hx))
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            torch.testing.assert_close(face(x, hx), plain(x, hx), rtol=1e-12, atol=1e-12)
    frozen = copy.deepcopy(plain).requires_grad_(False)
    torch.testing.assert_close(unrolled.faster(frozen)(x), frozen(x), rtol=1e-12, atol=1e-12)
    assert len(calls) == 3 * 4
    torch.testing.assert_close((x, hx), before, rtol=0, atol=0)


@pytest.mark.parametrize("kind", MODULES)
def test_a_gradient_that_only_the_state_wants_is_given(kind, x):
    plain = kind(I, H, dtype=torch.float64).requires_grad_(False)
    h = torch.randn(1, B, H, dtype=torch.float64, requires_grad=True)
    hx = (h, h.detach()) if kind is nn.LSTM else h
    ours, theirs = (torch.autograd.grad(each(x, hx)[0].sum(), h)[0] for each in (unrolled.faster(plain), plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore:TF32 acceleration:UserWarning")  # from asking for the flags of oneDNN
def test_an_lstm_is_left_to_onednn_and_to_a_projection(x):
    assert not by_blocks(unrolled.faster(nn.LSTM(I, H, proj_size=2, dtype=torch.float64))(x)[0])
    assert by_blocks(unrolled.faster(nn.LSTM(I, H, dtype=torch.float64))(x)[0])
    single = unrolled.faster(nn.LSTM(I, H))
    assert by_blocks(single(x.float())[0]) != torch.backends.mkldnn.is_available()
    with torch.backends.mkldnn.flags(enabled=False):
        assert by_blocks(single(x.float())[0])


def test_a_subclass_keeps_its_own_forward(x):
    class Mine(nn.GRU):
        def forward(self, input, hx=None):
            return super().forward(input, hx)

    mine = Mine(I, H, dtype=torch.float64)
    assert unrolled.faster(mine) is mine


def test_hooks_are_called_and_errors_stay_torch_s(x):
    seen = []
    plain = nn.GRU(I, H, dtype=torch.float64)
    plain.register_forward_hook(lambda module, args, result: seen.append(type(module)))
    face = unrolled.faster(plain)
    face(x)
    assert seen == [FasterGRU]
    for wrong, match in ((x.float(), "dtype"), (x[..., 1:], "input"), (x[:0], "larger than 0"), (x[0, 0], "D")):
        for module in (face, plain):
            with pytest.raises((RuntimeError, ValueError), match=match):
                module(wrong)
    assert face(x[:, :0])[0].shape == plain(x[:, :0])[0].shape == (T, 0, H)


def test_it_is_moved_copied_and_saved_like_any_model(model, x):
    face = unrolled.faster(model)
    expected = face(x)
    assert torch.equal(copy.deepcopy(face)(x), expected)
    file = io.BytesIO()
    torch.save(face, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(x), expected)
    model.float()
    assert face(x.float()).dtype == torch.float32
    assert unrolled.faster(face) is face


def test_it_can_be_looked_into(x):
    plain = nn.GRU(I, H, dtype=torch.float64)
    ours, theirs = (
        unrolled.gradient_flow(each, x).frame().drop(columns="module")
        for each in (unrolled.faster(plain), plain)
    )
    assert ours.equals(theirs)


def test_what_is_no_module_is_refused():
    with pytest.raises(InvalidTypeError, match=r"model: expected an nn\.Module, got str"):
        unrolled.faster("gru")
