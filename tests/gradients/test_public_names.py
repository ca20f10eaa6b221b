import inspect

from unrolled import gradients


def test_public_names_are_exactly_the_exported_ones():
    found = {
        name
        for name, value in vars(gradients).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert found == set(gradients.__all__)
    assert gradients.__all__ == sorted(gradients.__all__)
    assert all(inspect.getdoc(getattr(gradients, name)) for name in gradients.__all__)
