"""Small models of different make, written as people write them, with no thought of being looked into."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

I, H, CLASSES = 3, 5, 4


class ManyToOne(nn.Module):
    """Tokens to a class: an embedding, two layers of LSTM, a head on the last step."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, I)
        self.rnn = nn.LSTM(I, H, 2)
        self.head = nn.Linear(H, CLASSES)

    def forward(self, tokens):
        return self.head(self.rnn(self.embed(tokens))[0][-1])


class Tagger(nn.Module):
    """A class for every step, batch first, both ways."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(I, H, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * H, CLASSES)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


class AttentionDecoder(nn.Module):
    """A GRU encoder, and a loop of LSTM cells that attends to what it gave."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.GRU(I, H)
        self.decoder = nn.LSTMCell(I + H, H)
        self.out = nn.Linear(H, I)

    def forward(self, source, steps=6):
        memory, last = self.encoder(source)
        h, c = last[-1], torch.zeros_like(last[-1])
        y, answers = source.new_zeros(source.shape[1], I), []
        for _ in range(steps):
            weights = torch.softmax((memory * h).sum(-1), dim=0)
            context = (weights.unsqueeze(-1) * memory).sum(0)
            h, c = self.decoder(torch.cat([y, context], -1), (h, c))
            y = self.out(h)
            answers.append(y)
        return torch.stack(answers)


class PackedBothWays(nn.Module):
    """Sequences of different lengths through a GRU that runs both ways; batch norm on the last states."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(I, H, bidirectional=True)
        self.norm = nn.BatchNorm1d(2 * H)
        self.head = nn.Linear(2 * H, CLASSES)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
        output, last = self.rnn(packed)
        pooled = pad_packed_sequence(output)[0].mean(0)
        return self.head(torch.tanh(self.norm(pooled + torch.cat([last[0], last[1]], dim=-1))))


class Policy(nn.Module):
    """A recurrent policy: the state of a sample begins anew where its episode is done."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(I, H)
        self.actor, self.critic = nn.Linear(H, 2), nn.Linear(H, 1)

    def forward(self, observations, done):
        h = observations.new_zeros(observations.shape[1], H)
        logits, values = [], []
        for x_t, done_t in zip(observations, done, strict=True):
            h = self.cell(x_t, h * (1 - done_t).unsqueeze(-1))
            logits.append(self.actor(h))
            values.append(self.critic(h))
        return torch.stack(logits), torch.stack(values)


class Forecaster(nn.Module):
    """Reads a sequence, then runs on what it predicts."""

    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(I, H)
        self.head = nn.Linear(H, I)

    def forward(self, x, ahead=4):
        state, answers = None, []
        for t in range(len(x) + ahead):
            state = self.cell(x[t] if t < len(x) else answers[-1], state)
            answers.append(self.head(state[0]))
        return torch.stack(answers)


class WeightDropped(nn.Module):
    """Recurrent weights dropped out anew for each call, as in AWD-LSTM (Merity et al. 2018)."""

    def __init__(self):
        super().__init__()
        self.inner = nn.LSTM(I, H)
        self.raw = nn.Parameter(self.inner.weight_hh_l0.detach().clone())
        del self.inner.weight_hh_l0
        self.inner.weight_hh_l0 = self.raw.detach().clone()
        self.head = nn.Linear(H, CLASSES)

    def forward(self, x):
        self.inner.weight_hh_l0 = F.dropout(self.raw, 0.3, self.training)
        return self.head(self.inner.forward(x)[0])


class TwoCells(nn.Module):
    """Two stacked cells, stepped together."""

    def __init__(self):
        super().__init__()
        self.lower, self.upper = nn.LSTMCell(I, H), nn.GRUCell(H, H)
        self.head = nn.Linear(H, CLASSES)

    def forward(self, x):
        lower = (x.new_zeros(x.shape[1], H), x.new_zeros(x.shape[1], H))
        upper = x.new_zeros(x.shape[1], H)
        for x_t in x:
            lower = self.lower(x_t, lower)
            upper = self.upper(lower[0], upper)
        return self.head(upper)


class MinimalGated(nn.Module):
    """Zhou et al. 2016, equations 4 to 6."""

    def __init__(self, input_size=I, hidden_size=H):
        super().__init__()
        self.gate = nn.Linear(input_size + hidden_size, hidden_size)
        self.candidate = nn.Linear(input_size + hidden_size, hidden_size)

    def forward(self, x, h):
        f = torch.sigmoid(self.gate(torch.cat([x, h], -1)))
        return (1 - f) * h + f * torch.tanh(self.candidate(torch.cat([x, f * h], -1)))


class OwnLoop(nn.Module):
    """A cell of one's own in a loop of one's own."""

    def __init__(self):
        super().__init__()
        self.cell = MinimalGated()
        self.head = nn.Linear(H, CLASSES)

    def forward(self, x):
        h = torch.zeros(x.shape[1], H, dtype=x.dtype)
        for x_t in x:
            h = self.cell(x_t, h)
        return self.head(h)


class Adding(nn.Module):
    """A cell with an output beside its state of two parts of different sizes."""

    def __init__(self):
        super().__init__()
        self.fast, self.slow, self.out = nn.Linear(I + H + 2, H), nn.Linear(H + 2, 2), nn.Linear(H, I)

    def forward(self, x, state=None):
        if state is None:
            state = (x.new_zeros(len(x), H), x.new_zeros(len(x), 2))
        fast = torch.tanh(self.fast(torch.cat([x, *state], -1)))
        slow = 0.9 * state[1] + 0.1 * torch.sin(self.slow(torch.cat([fast, state[1]], -1)))
        return self.out(fast), (fast, slow)


class OutputAndState(nn.Module):
    """A loop over a cell that returns (output, state)."""

    def __init__(self):
        super().__init__()
        self.cell = Adding()

    def forward(self, x):
        state, outputs = None, []
        for x_t in x:
            output, state = self.cell(x_t, state)
            outputs.append(output)
        return torch.stack(outputs), state


class VariationalLSTM(nn.LSTM):
    """Drops out what goes in and what comes out."""

    def forward(self, x, hx=None):
        output, state = super().forward(F.dropout(x, 0.2, self.training), hx)
        return F.dropout(output, 0.4, self.training), state


class Subclassed(nn.Module):
    """A model around a subclass of nn.LSTM."""

    def __init__(self):
        super().__init__()
        self.rnn = VariationalLSTM(I, H)
        self.head = nn.Linear(H, CLASSES)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


class Dropped(nn.Module):
    """Two layers with dropout between them: the most common set-up there is."""

    def __init__(self, kind=nn.LSTM):
        super().__init__()
        self.rnn = kind(I, H, 2, dropout=0.5)
        self.head = nn.Linear(H, CLASSES)

    def forward(self, x):
        return self.head(self.rnn(x)[0][-1])


class StepByStep(nn.Module):
    """A loop that calls an nn.GRU one step at a time."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(I, H, batch_first=True)
        self.head = nn.Linear(H, I)

    def forward(self, x):
        state, outputs = None, []
        for x_t in x:
            output, state = self.rnn(x_t.unsqueeze(1), state)
            outputs.append(self.head(output[:, 0]))
        return torch.stack(outputs)


class Truncated(nn.Module):
    """Truncated backpropagation: the state is detached after every 32 steps."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(I, H)
        self.head = nn.Linear(H, CLASSES)

    def forward(self, x):
        h = x.new_zeros(x.shape[1], H)
        for t, x_t in enumerate(x):
            if t and t % 32 == 0:
                h = h.detach()
            h = self.cell(x_t, h)
        return self.head(h)


class Rate(nn.Module):
    """A leaky rate network with noise."""

    def __init__(self, leak=0.2, noise=0.1):
        super().__init__()
        self.leak, self.noise = leak, noise
        self.w, self.u = nn.Linear(H, H, bias=False), nn.Linear(I, H)

    def forward(self, x, h):
        driven = (1 - self.leak) * h + self.leak * torch.tanh(self.w(h) + self.u(x))
        return driven + self.noise * torch.randn_like(h)


class Noisy(nn.Module):
    """A loop over a cell that draws random numbers, called by keyword, from a model that takes a dict."""

    def __init__(self):
        super().__init__()
        self.cell = Rate()

    def forward(self, batch):
        h = batch["start"]
        for x_t in batch["x"]:
            h = self.cell(x=x_t, h=h)
        return {"last": h}


class Stateful(nn.Module):
    """Keeps its state from batch to batch, and a list of norms for a plot."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(I, H)
        self.head = nn.Linear(H, CLASSES)
        self.hidden, self.norms = None, []
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        output, hidden = self.rnn(x, self.hidden)
        self.hidden = hidden.detach()
        self.norms.append(float(hidden.detach().norm()))
        self.calls += 1
        return self.head(output)


class Residual(nn.Module):
    """Layers of modules with a way around the second, as a stack of blocks with layer norm."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.RNN(I, H), nn.LSTM(H, H)
        self.norm = nn.LayerNorm(H)

    def forward(self, x):
        below = self.first(x)[0]
        return self.norm(below + self.second(below)[0]).relu()
