"""Singular values of matrices that no floating-point number can hold, against mpmath, numpy and closed forms."""

import math
from itertools import combinations

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from unrolled.spectrum.graded import WIDTH, Graded, _windows, log_singular_values

SEEDS = st.integers(0, 2**32)
SIZES = st.integers(1, 7)


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthogonal(seed, size):
    return torch.linalg.qr(normal(seed, size, size))[0]


def graded(log, rows):
    """A batch of one."""
    log = torch.as_tensor(log, dtype=torch.float64)[None]
    return Graded(torch.ones_like(log), log, rows[None])


def values(matrix):
    return log_singular_values(matrix)[0].numpy()


def test_a_single_matrix_needs_no_batch():
    one = graded([3.0, -400.0, 1.0], orthogonal(0, 3))
    alone = log_singular_values(Graded(one.sign[0], one.log[0], one.rows[0]))
    torch.testing.assert_close(alone, log_singular_values(one)[0], rtol=1e-14, atol=1e-13)


def dense(matrix):
    """As a float64 matrix, where it fits."""
    return (matrix.sign * matrix.log.exp()).unsqueeze(-1) * matrix.rows


def exact(log, rows):
    """By an SVD with as many digits as it takes."""
    with mpmath.workdps(40 + int((max(log) - min(log)) / math.log(10) * 1.2)):
        scales = [mpmath.exp(mpmath.mpf(one)) for one in log]
        matrix = mpmath.matrix(
            [
                [scale * mpmath.mpf(entry) for entry in row]
                for scale, row in zip(scales, rows.tolist(), strict=True)
            ]
        )
        found = mpmath.svd_r(matrix, compute_uv=False)
        return np.array(sorted((float(mpmath.log(value)) for value in found), reverse=True))


def spread(seed, size, width):
    """Logarithms between 0 and -width in no order."""
    return (
        -width * torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    ).tolist()


@pytest.mark.parametrize("width", [0.0, 0.1, 5.0, 60.0, 800.0])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 6])
def test_each_singular_value_has_full_relative_accuracy(size, width):
    log, rows = spread(size, size, width), normal(10 + size, size, size)
    # Relative to the values, and to their logarithms as these are numbers of up to 800.
    np.testing.assert_allclose(values(graded(log, rows)), exact(log, rows), atol=1e-12, rtol=1e-14)


@given(SEEDS, st.integers(1, 4), st.floats(0, 100))
@settings(max_examples=40, deadline=None)
def test_each_singular_value_is_that_of_mpmath(seed, size, width):
    log, rows = spread(seed, size, width), normal(seed + 1, size, size)
    condition = float(torch.linalg.cond(rows))
    assume(condition < 1e6)
    np.testing.assert_allclose(values(graded(log, rows)), exact(log, rows), atol=1e-14 * condition + 1e-13)


@given(SEEDS, st.floats(0, 8000), st.floats(-1e5, 1e5))
@settings(max_examples=25, deadline=None)
def test_two_rows_have_the_singular_values_of_the_closed_form(seed, width, level):
    """`σ² = (t ± √(t² - 4d²)) / 2`, t the sum of squares of all entries, d the determinant."""
    rows = normal(seed, 2, 2)
    assume(float(torch.linalg.cond(rows)) < 1e4)
    with mpmath.workdps(60 + int(width)):
        (a, b), (c, d) = ([mpmath.mpf(entry) for entry in row] for row in rows.tolist())
        small = mpmath.exp(-mpmath.mpf(width))
        total, determinant = a * a + b * b + small**2 * (c * c + d * d), small * abs(a * d - b * c)
        largest = mpmath.sqrt((total + mpmath.sqrt(total**2 - 4 * determinant**2)) / 2)
        expected = [float(level + mpmath.log(largest)), float(level + mpmath.log(determinant / largest))]
    for log, order in (([level, level - width], [0, 1]), ([level - width, level], [1, 0])):
        found = values(graded(log, rows[order]))
        np.testing.assert_allclose(found, expected, atol=1e-10, rtol=1e-14)


@pytest.mark.parametrize("size", [2, 5, 9])
def test_rows_thousands_of_orders_apart_keep_what_is_at_right_angles_to_all_larger_ones(size):
    log, rows = (-3000.0 * torch.arange(size)).tolist(), normal(size, size, size)
    heights = np.abs(np.diag(np.linalg.qr(rows.numpy().T)[1]))
    # A rounding of a logarithm of -24000 is 4e-12.
    np.testing.assert_allclose(values(graded(log, rows)), log + np.log(heights), atol=1e-11, rtol=1e-14)


@given(SEEDS, st.lists(st.sampled_from([0.0, -1e-9, -0.5, -40.0, -7000.0, 300.0]), min_size=1, max_size=9))
@settings(max_examples=60, deadline=None)
def test_rows_at_right_angles_have_their_lengths_whether_equal_or_not(seed, log):
    found = values(graded(log, orthogonal(seed, len(log))))
    np.testing.assert_allclose(found, sorted(log, reverse=True), atol=1e-12, rtol=1e-14)


@given(SEEDS, SIZES, st.floats(0, 3000))
@settings(max_examples=40, deadline=None)
def test_order_signs_rotations_and_scale_leave_singular_values_as_they_are(seed, size, width):
    log, rows = torch.tensor(spread(seed, size, width), dtype=torch.float64), normal(seed + 1, size, size)
    assume(float(torch.linalg.cond(rows)) < 1e4)
    expected = values(graded(log, rows))
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    signs = normal(seed + 2, size).sign()
    others = {
        "order": graded(log[order], rows[order]),
        "sign of the rows": graded(log, signs[:, None] * rows),
        "sign": Graded(signs[None], log[None], rows[None]),
        "rotation": graded(log, rows @ orthogonal(seed + 3, size)),
        "scale in the rows": graded(log + math.log(1e5), rows / 1e5),
    }
    for name, other in others.items():
        np.testing.assert_allclose(values(other), expected, atol=1e-10, rtol=1e-13, err_msg=name)
    np.testing.assert_allclose(values(graded(log + 1e4, rows)), expected + 1e4, atol=1e-10, rtol=1e-13)


@given(SEEDS, st.integers(1, 8), st.integers(0, 8))
@settings(max_examples=40, deadline=None)
def test_as_many_rows_of_zeros_as_singular_values_of_zero(seed, size, zeros):
    zeros = min(zeros, size)
    log, rows = torch.tensor(spread(seed, size, 5.0), dtype=torch.float64), normal(seed + 1, size, size)
    gone = torch.randperm(size, generator=torch.Generator().manual_seed(seed))[:zeros]
    log[gone] = -math.inf
    found = values(graded(log, rows))
    assert np.isneginf(found).sum() == zeros
    expected = torch.linalg.svdvals(log.exp()[:, None] * rows)[: size - zeros].log().numpy()
    np.testing.assert_allclose(found[: size - zeros], expected, atol=1e-8)


def test_samples_of_a_batch_do_not_see_each_other():
    """One is settled at once, one has a row of zeros, one is steep, one has neighbours to be parted."""
    log = torch.tensor([[0.0, 0, 0, 0], [3, -math.inf, 0, 1], [0, -90, -900, -9000], [0, -1e-3, -2e-3, -3e-3]])
    rows = torch.stack((torch.eye(4, dtype=torch.float64), *normal(0, 3, 4, 4)))
    batch = Graded(torch.ones_like(log.double()), log.double(), rows)
    together = log_singular_values(batch)
    twice = log_singular_values(
        Graded(*(part.view(2, 2, *part.shape[1:]) for part in (batch.sign, batch.log, rows)))
    )
    torch.testing.assert_close(twice.flatten(0, 1), together, rtol=1e-14, atol=1e-13)
    for sample in range(4):
        np.testing.assert_allclose(together[sample], values(graded(log[sample], rows[sample])), atol=1e-13)


@given(SEEDS, st.integers(1, 5), st.floats(0, 100), st.floats(0, 20))
@settings(max_examples=40, deadline=None)
def test_it_does_not_matter_what_the_length_of_a_row_is_written_as(seed, size, width, decades):
    """Between `ℓ` and N, powers of two can be moved exactly."""
    log, rows = torch.tensor(spread(seed, size, width), dtype=torch.float64), normal(seed + 1, size, size)
    assume(float(torch.linalg.cond(rows)) < 1e4)
    powers = (decades * math.log2(10) * normal(seed + 2, size).clamp(-2, 2)).round()
    moved = graded(log - math.log(2) * powers, torch.exp2(powers)[:, None] * rows)
    np.testing.assert_allclose(values(moved), values(graded(log, rows)), atol=1e-10, rtol=1e-13)


def test_zero_rows_in_between_do_not_hide_the_others():
    rows = torch.tensor([[1, 0.5, 0], [0, 0, 0], [0, 1, 0]], dtype=torch.float64)
    expected = np.log(np.linalg.svd(rows.numpy(), compute_uv=False)[:2])
    np.testing.assert_allclose(values(graded([0.0, 0.0, 0.0], rows)), [*expected, -math.inf], atol=1e-14)


def test_singular_values_that_do_not_settle_are_not_passed_off_as_some(monkeypatch):
    monkeypatch.setattr("unrolled.spectrum.graded.SWEEPS", 1)
    with pytest.raises(ArithmeticError, match=r"singular values .* 1 sweeps.* 1 matrices"):
        values(graded([0.0, 0.0], normal(0, 2, 2)))


@given(st.lists(st.floats(-50, 50), max_size=40), st.integers(0, 3))
def test_any_two_rows_of_similar_length_come_together_in_a_window(logs, repeats):
    logs = sorted(logs * (1 + repeats), reverse=True)
    windows = _windows(logs)
    for first, last in windows:
        assert last - first > 1
        assert logs[first] - logs[last - 1] <= WIDTH + 1e-9
    for (i, one), (j, other) in combinations(enumerate(logs), 2):
        if one - other <= WIDTH / 2 - 1e-9:
            assert any(first <= i and j < last for first, last in windows)


@pytest.mark.parametrize("width", [3.0, 12.0, 40.0, 200.0])
@pytest.mark.parametrize("size", [24, 60])
def test_many_rows_of_any_lengths_have_the_singular_values_of_their_inverse(size, width):
    """`σ_i(A) σ_{n+1-i}(A⁻¹) = 1`, and the inverse, transposed, is graded the other way around."""
    log = torch.tensor(spread(size, size, width), dtype=torch.float64)
    rows = orthogonal(1, size) + 0.1 * normal(2, size, size)
    found = values(graded(log, rows))
    # (diag(e^ℓ) N)⁻ᵀ = diag(e^-ℓ) N⁻ᵀ
    inverse = values(graded(-log, torch.linalg.inv(rows).mT))
    accuracy = 1e-14 * float(torch.linalg.cond(rows)) + 1e-11
    np.testing.assert_allclose(found, -inverse[::-1], atol=accuracy)
    assert found.sum() == pytest.approx(float(log.sum() + torch.linalg.slogdet(rows)[1]), abs=1e-9)


# Products


@given(SEEDS, st.integers(1, 6), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_a_product_of_triangles_is_their_product(seed, size, count):
    """Whatever lies below the diagonals. Rows are divided by these, so entries near 0 cost as many digits."""
    triangles = normal(seed, count, size, size)
    assume(float(triangles.diagonal(dim1=-2, dim2=-1).abs().min()) > 1e-4)
    matrix, expected = Graded.identity((1,), size, triangles), torch.eye(size, dtype=torch.float64)
    for triangle in triangles:
        matrix, expected = matrix.times(triangle[None]), triangle.triu() @ expected
    found = dense(matrix)[0]
    np.testing.assert_allclose(found, expected, atol=1e-9 * float(expected.abs().max() + found.abs().max()))


def test_a_product_of_3000_triangles_has_the_sizes_of_its_diagonal():
    """The diagonals fall by e a step from row to row: 10^-3908 beside 1 after all."""
    size, steps = 4, 3000
    falling = torch.exp(-torch.arange(size, dtype=torch.float64))
    shear = torch.eye(size, dtype=torch.float64) + 0.3 * normal(0, size, size).triu(1)
    matrix = Graded.identity((1,), size, shear)
    for _ in range(steps):
        matrix = matrix.times((falling[:, None] * shear)[None])
    np.testing.assert_allclose(matrix.log[0], -steps * torch.arange(size), rtol=1e-12)
    found = values(matrix)
    # D (I + N) is A = P D P⁻¹ for a unit triangular P, so A^m = P D^m P⁻¹ has the singular values of D^m
    # times a constant for each, which more steps leave as it is.
    for _ in range(300):
        matrix = matrix.times((falling[:, None] * shear)[None])
    np.testing.assert_allclose(values(matrix) - found, -300 * torch.arange(size), atol=1e-8)


def test_a_row_that_is_lost_is_0_from_there_on():
    triangle = (normal(0, 3, 3).triu() + 3 * torch.eye(3, dtype=torch.float64))[None]
    lost = torch.tensor([[False, False, True]])
    after = Graded.identity((1,), 3, triangle).times(triangle, lost)
    assert after.log[0, 2] == -math.inf
    assert torch.isfinite(after.log[0, :2]).all()
    kept = triangle.clone()
    kept[0, 2] = 0
    torch.testing.assert_close(dense(after), kept)
    again = after.times(triangle)
    assert again.log[0, 2] == -math.inf
    torch.testing.assert_close(dense(again), triangle @ kept)


def test_a_0_on_the_diagonal_of_the_last_row_is_an_exact_0():
    triangle = torch.tensor([[[2.0, 1.0], [0.0, 0.0]]], dtype=torch.float64)
    found = values(Graded.identity((1,), 2, triangle).times(triangle))
    assert found[0] == pytest.approx(math.log(math.sqrt(5)))
    assert found[1] == -math.inf


def test_a_pivot_of_0_in_front_of_a_row_that_is_lost_is_an_exact_0_too():
    """Where the rank drops, the column of a direction lost before may still have entries."""
    lost = torch.tensor([[False, False, True]])
    start = Graded.identity((1,), 3, normal(0, 1)).times(torch.eye(3, dtype=torch.float64)[None], lost)
    triangle = torch.tensor([[[2.0, 1.0, 3.0], [0.0, 0.0, 5.0], [0.0, 0.0, 7.0]]], dtype=torch.float64)
    found = values(start.times(triangle))
    assert found[0] == pytest.approx(math.log(math.sqrt(5)))
    assert np.isneginf(found[1:]).all()
