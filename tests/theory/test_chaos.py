"""Hénon's map and Lorenz' equations: their exponents by our own spectrum, against closed forms and the literature."""

import math

import numpy as np
import pytest
import torch

from unrolled.errors import InvalidTypeError, InvalidValueError
from unrolled.spectrum import step_lyapunov_spectrum
from unrolled.theory.chaos import BETA, HENON, HENON_A, HENON_B, LORENZ, LORENZ_DT, RHO, SIGMA


def spectrum(system, loops, steps, warm_up):
    """The exponents of so many stretches of one trajectory, per unit of time; none of them overlap."""
    start = torch.from_numpy(system.trajectory(loops, every=steps + warm_up))
    nothing = torch.zeros(warm_up + steps, loops, 1, dtype=torch.float64)
    return step_lyapunov_spectrum(system.step, nothing, start, warm_up=warm_up).parts[0]


def within(part, system, errors=4.0, beside=0.0):
    """Whether each mean is the known exponent to within so many standard errors over the stretches."""
    known = np.array(system.exponents)
    allowed = errors * part.spread / math.sqrt(part.samples) / system.dt + beside
    return np.abs(part.mean / system.dt - known) <= allowed


def test_the_exponents_of_henon_s_map_are_the_known_ones_and_their_sum_is_ln_b():
    part = spectrum(HENON, loops=300, steps=200, warm_up=30)
    assert part.sum == pytest.approx(
        math.log(0.3), abs=1e-10
    )  # in every stretch, as |det J| is b at every point
    assert within(part, HENON).all()
    assert part.spread[0] / math.sqrt(part.samples) < 0.003  # so that the line above can fail
    assert sum(HENON.exponents) == pytest.approx(math.log(HENON_B), abs=1e-5)  # to the digits that are printed


@pytest.mark.slow
def test_the_exponents_of_lorenz_equations_are_the_known_ones_and_their_sum_is_the_divergence():
    part = spectrum(LORENZ, loops=300, steps=600, warm_up=500)
    divergence = -(SIGMA + 1 + BETA)
    # Runge-Kutta's volume shrinks by its own polynomial in place of the exponential: at this step, to 2e-4.
    assert part.sum / LORENZ_DT == pytest.approx(divergence, abs=2e-4)
    # A shorter warm-up than 5 units of time leaves the tangents turned: the exponent of the flow is 0.025 after 2.
    assert within(part, LORENZ).all()
    assert part.spread[0] / math.sqrt(part.samples) / LORENZ_DT < 0.02
    assert sum(LORENZ.exponents) == pytest.approx(divergence, abs=1e-4)


def test_the_step_of_lorenz_equations_is_of_fourth_order():
    """Against the same equations by steps 50 times as short, with numpy: halving the time divides the error by 2⁵."""

    def flow(p):
        x, y, z = p
        return np.array([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])

    def exactly(p, time):
        for _ in range(50):
            a = flow(p)
            p = p + time / 50 * flow(p + time / 100 * a)  # the midpoint rule
        return p

    (start,) = LORENZ.trajectory(1)
    end = np.array(LORENZ.advance(tuple(start)))
    assert end == pytest.approx(exactly(start, LORENZ_DT), abs=2e-4)
    assert np.abs(end - start).max() > 0.05  # it does move


def test_henon_s_map_has_his_fixed_point():
    a, b = HENON_A, HENON_B
    x = (-(1 - b) + math.sqrt((1 - b) ** 2 + 4 * a)) / (2 * a)
    assert HENON.advance((x, b * x)) == pytest.approx((x, b * x))


def test_lorenz_equations_rest_where_they_are_known_to():
    x = math.sqrt(BETA * (RHO - 1))
    assert LORENZ.advance((x, x, RHO - 1)) == pytest.approx((x, x, RHO - 1))


@pytest.mark.parametrize("system", [HENON, LORENZ], ids=lambda system: system.name)
def test_a_trajectory_is_that_of_the_step_and_the_same_every_time(system):
    points = system.trajectory(40, every=3, transient=70)
    assert np.array_equal(points, system.trajectory(40, every=3, transient=70))  # the same operations
    assert np.array_equal(points[:5], system.trajectory(5, every=3, transient=70))
    assert np.array_equal(points[10:12], system.trajectory(2, every=3, transient=100))
    state = torch.from_numpy(points[:-1])
    for _ in range(3):
        state = system.step(state[..., :1], state)
    np.testing.assert_allclose(state.numpy(), points[1:], rtol=1e-12, atol=1e-12)
    assert len({tuple(point) for point in points}) == 40


@pytest.mark.parametrize(
    ("sizes", "error"), [({"points": 0}, InvalidValueError), ({"points": 2, "every": 1.5}, InvalidTypeError)]
)
def test_sizes_that_are_none_are_refused_in_a_line(sizes, error):
    with pytest.raises(error, match="expected an integer of at least 1") as raised:
        HENON.trajectory(**sizes)
    assert "\n" not in str(raised.value)
