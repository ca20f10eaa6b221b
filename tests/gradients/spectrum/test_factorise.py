"""Tangents taken apart into a frame and a triangle, each way, against the product and against numpy's QR."""

import numpy as np
import pytest
import torch

from unrolled.gradients.spectrum.factorise import cholesky, lu, matrices, qr, tangents, upper_factor

WAYS = [cholesky, qr, lu]
N, K = 12, 5


def columns(batch=1, frames=1, extra=0, scale=1.0):
    """Tangents of B samples and F frames as columns, the last few of them no part of any frame."""
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(N, batch * frames * K + extra, generator=generator, dtype=torch.float64)
    return scale * v


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("batch", "frames", "extra"), [(1, 1, 0), (1, 1, 3), (1, 3, 0), (4, 1, 0), (2, 3, 0)])
def test_frame_times_triangle_is_what_was_taken_apart(way, batch, frames, extra):
    shape = (batch, frames, K)
    v = columns(batch, frames, extra)
    found = way(v, shape)
    triangle = found.upper.triu()
    torch.testing.assert_close(matrices(found.frame, shape) @ triangle, matrices(v, shape), rtol=0, atol=1e-13)
    assert found.frame.shape == v.shape
    assert (found.frame[:, batch * frames * K :] == 0).all()
    if way is lu:
        assert (found.sizes.sort().values == matrices(v, shape).abs().amax(-1).sort().values).all()
    else:
        assert (found.sizes >= triangle.diagonal(dim1=-2, dim2=-1).abs() * (1 - 1e-12)).all()
    condition = torch.linalg.cond(matrices(found.frame, shape))
    assert (condition < (20 if way is lu else 1 + 1e-10)).all()


@pytest.mark.parametrize("way", WAYS)
def test_samples_and_frames_do_not_mix(way):
    shape = (2, 3, K)
    together = way(columns(2, 3), shape)
    for sample in range(2):
        for frame in range(3):
            first = (sample * 3 + frame) * K
            one = way(columns(2, 3)[:, first : first + K].contiguous(), (1, 1, K))
            torch.testing.assert_close(one.frame, together.frame[:, first : first + K])
            torch.testing.assert_close(one.upper.triu(), together.upper[sample, frame].triu())
            torch.testing.assert_close(one.sizes, together.sizes[sample, frame])


@pytest.mark.parametrize("way", WAYS)
def test_large_matrices_of_a_batch_do_not_disturb_each_other(way):
    """As torch's batched elimination lets them, on some machines, from 256 rows on and with two threads."""
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(256, 3 * 256, generator=generator, dtype=torch.float64)
    found = way(v, (3, 1, 256))
    product = matrices(found.frame, (3, 1, 256)) @ found.upper.triu()
    torch.testing.assert_close(product, matrices(v, (3, 1, 256)), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("is_frame", "scale"), [(True, 1.0), (False, 1e200)])
def test_the_triangle_alone_is_that_of_qr(is_frame, scale):
    v = columns(2, scale=scale)
    found = upper_factor(v, (2, 1, K), is_frame).abs()
    for sample, matrix in enumerate(matrices(v, (2, 1, K))[:, 0].numpy()):
        np.testing.assert_allclose(found[sample, 0].numpy(), np.abs(np.linalg.qr(matrix)[1]), rtol=1e-12)


def test_vectors_without_a_cholesky_factor_have_a_triangle():
    v = columns()
    v[:, 1] = v[:, 0]
    triangle = upper_factor(v, (1, 1, K), True)
    torch.testing.assert_close(triangle.T @ triangle, v.T @ v, rtol=0, atol=1e-13)  # of all R, as they are many


@pytest.mark.parametrize("collapse", [0.0, 1e-10])
def test_cholesky_says_which_vectors_have_collapsed(collapse):
    v = columns(2)
    v[:, K + 3] = v[:, K] + collapse * v[:, K + 3]
    failed = cholesky(v, (2, 1, K)).failed
    assert failed[0] == 0
    assert failed[1] != 0


def test_cholesky_keeps_the_product_where_a_third_of_the_digits_are_lost():
    v = columns()
    v[:, 3] = v[:, 0] + 1e-6 * v[:, 3]
    found = cholesky(v, (1, 1, K))
    torch.testing.assert_close(found.frame @ found.upper, v, rtol=0, atol=1e-14)
    assert torch.linalg.cond(found.frame) < 1.1
    loss = found.sizes[3] / found.upper[3, 3]
    assert 1e5 < loss < 1e7


def test_elimination_keeps_rows_of_any_size_and_zeros():
    v = torch.diag(torch.tensor([2.0**300, 1.0, 2.0**-300, 0.0], dtype=torch.float64))
    v += v @ torch.full_like(v, 0.5)
    found = lu(v[:, :3].contiguous(), (1, 1, 3))
    assert (found.frame[3] == 0).all()
    product = found.frame @ found.upper.triu()
    torch.testing.assert_close(product[:3], v[:3, :3], rtol=1e-14, atol=0)


def test_tangents_are_the_inverse_of_matrices():
    v = columns(2, 3)
    torch.testing.assert_close(tangents(matrices(v, (2, 3, K)), v.shape[1]), v, rtol=0, atol=0)
