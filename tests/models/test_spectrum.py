"""Exponents and singular values of models of every make, against products of autograd's Jacobians."""

import numpy as np
import pytest
import torch

from tests.models.cases import CASES, model_of
from tests.models.helpers import backward, cell_jacobians, check_left, left
from tests.spectrum.oracle import along, exponents, layer_step
from tests.spectrum.oracle import jacobians as fused_jacobians
from unrolled.errors import InvalidValueError
from unrolled.spectrum import jacobian_singular_values, lyapunov_spectrum

FOLLOWED = [name for name, case in CASES.items() if not case.refused]
LAGS = [1, 4]


def systems(oracle):
    """Name -> `(B, T, n, n)`, named as the library labels its systems."""
    found = {}
    for module, loops in oracle.loops.items():
        read = oracle.read[module]
        if len(loops) > 1 and all(x.shape[0] == 1 for x, _ in read):  # a loop of single steps is one call
            read = [(torch.cat([x for x, _ in read]), read[0][1])]
        for call, (x, hx) in enumerate(read):
            if module.training and module.dropout and module.num_layers > 1:
                own = dropped_jacobians(module, x, oracle.masks[module][call])
            else:
                own = fused_jacobians(module, x, hx if hx is None else detached(hx))
            for system, of_samples in own.items():
                found[oracle.names[module], call, system] = of_samples
    for module in oracle.steps:
        found[oracle.names[module], 0, "l0"] = cell_jacobians(oracle, module)
    return found


def detached(hx):
    return tuple(part.detach() for part in hx) if isinstance(hx, tuple) else hx.detach()


def dropped_jacobians(module, x, masks):
    """Those of single layers with the mask between them, and of the stack."""
    found, size = {}, module.hidden_size
    width = size * (2 if module.mode == "LSTM" else 1)
    for sample in range(x.shape[1]):

        def stack(inputs, flat):
            x_t, mask = inputs[: module.input_size], inputs[module.input_size :]
            below = layer_step(module, 0, "forward", x_t, flat[:width])
            return torch.cat([below, layer_step(module, 1, "forward", below[:size] * mask, flat[width:])])

        joined = torch.cat([x[:, sample], masks[0][:, sample]], dim=1)
        whole, _ = along(stack, joined, torch.zeros(2 * width, dtype=x.dtype))
        for name, own in {
            "l0": whole[:, :width, :width],
            "l1": whole[:, width:, width:],
            "stack": whole,
        }.items():
            found.setdefault(name, []).append(own)
    return {name: torch.stack(of_samples) for name, of_samples in found.items()}


def oracle_of(name):
    case, model = CASES[name], model_of(CASES[name])
    torch.manual_seed(3)
    oracle, _, _ = backward(model, case.inputs(), case.loss, case.cells)
    return case, model_of(case), systems(oracle)


def key_of(part):
    system = part.system
    label = (
        "stack" if system.layer is None else f"l{system.layer}" + ".reverse" * (system.direction == "reverse")
    )
    return system.module, system.call, label


@pytest.mark.parametrize("name", FOLLOWED)
def test_exponents_are_those_of_qr_at_every_step_of_autograds_jacobians(name):
    case, model, expected = oracle_of(name)
    before = left(model)
    torch.manual_seed(3)
    before["random"] = torch.get_rng_state()
    spectrum = lyapunov_spectrum(model, case.inputs(), cells=case.cells)
    check_left(before, model)
    found = {key_of(part): part for part in spectrum}
    assert found.keys() == expected.keys()
    for key, part in found.items():
        for sample, jacobians in enumerate(expected[key].detach()):
            truth = np.sort(exponents(jacobians)[-1].numpy() / len(jacobians))[::-1]
            # What the interval between factorisations may cost, as the docstring has it.
            np.testing.assert_allclose(part.values[sample], truth, rtol=0, atol=1e-6, err_msg=str(key))


@pytest.mark.parametrize("name", FOLLOWED)
def test_singular_values_are_those_of_the_product_of_autograds_jacobians(name):
    case, model, expected = oracle_of(name)
    torch.manual_seed(3)
    values = jacobian_singular_values(model, case.inputs(), LAGS, cells=case.cells)
    found = {key_of(part): part for part in values}
    assert found.keys() == expected.keys()
    for key, part in found.items():
        for sample, jacobians in enumerate(expected[key].detach()):
            for row, lag in enumerate(LAGS):
                product = torch.eye(jacobians.shape[-1], dtype=torch.float64)
                for jacobian in jacobians[-lag:]:
                    product = jacobian @ product
                truth = torch.linalg.svdvals(product).numpy()
                own = 10.0 ** part.log10[row, sample]
                np.testing.assert_allclose(own, truth, rtol=1e-8, atol=1e-13 * truth[0], err_msg=str(key))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.refused])
def test_a_model_without_a_single_trajectory_is_refused_in_one_sentence(name):
    case, model = CASES[name], model_of(CASES[name])
    before = left(model)
    with pytest.raises(InvalidValueError, match=case.refused) as raised:
        lyapunov_spectrum(model, case.inputs(), cells=case.cells)
    assert "\n" not in str(raised.value)
    check_left(before, model)
