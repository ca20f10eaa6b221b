"""A scan gives what one step after the other gives, at every length."""

import pytest
import torch

from unrolled.newton import scan


def in_a_row(matrices, added):
    states, state = [], torch.zeros_like(added[0])
    for matrix, more in zip(matrices, added, strict=True):
        state = (matrix @ state.unsqueeze(-1)).squeeze(-1) + more
        states.append(state)
    return torch.stack(states)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 7, 8, 16, 31, 64, 100])
def test_scans_give_what_a_loop_gives(steps):
    generator = torch.Generator().manual_seed(steps)
    matrices = 0.5 * torch.randn(steps, 2, 3, 3, generator=generator, dtype=torch.float64)
    added = torch.randn(steps, 2, 3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(scan.full(matrices, added), in_a_row(matrices, added), rtol=1e-12, atol=1e-12)
    factors = matrices[..., 0]
    expected = in_a_row(torch.diag_embed(factors), added)
    torch.testing.assert_close(scan.elementwise(factors, added), expected, rtol=1e-12, atol=1e-12)


def test_the_first_matrix_has_nothing_to_act_on():
    matrices, added = torch.full((3, 1, 1, 1), 2.0), torch.ones(3, 1, 1)
    matrices[0] = torch.inf
    assert scan.full(matrices, added).flatten().tolist() == [1, 3, 7]


def test_the_products_in_a_row_grow_as_the_logarithm_of_the_length(monkeypatch):
    counts = []
    for steps in (64, 128, 256):
        calls, matmul = [], torch.matmul
        with monkeypatch.context() as patch:
            patch.setattr(
                scan.torch, "matmul", lambda *a, calls=calls, matmul=matmul: (calls.append(1), matmul(*a))[1]
            )
            scan.full(torch.ones(steps, 1, 2, 2), torch.ones(steps, 1, 2))
        counts.append(len(calls))
    assert counts[2] - counts[1] == counts[1] - counts[0] > 0
