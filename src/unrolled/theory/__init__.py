"""What is known beforehand, with its source and where it applies: a bound, mean fields, rest, fixed points."""

from unrolled.theory.bound import GradientBound, gradient_bound
from unrolled.theory.fixed_point import exponents_at_fixed_point
from unrolled.theory.random_network import MeanField, mean_field, mean_field_of, transition_gain
from unrolled.theory.rest import DEFAULT_GAIN, exponent_at_rest, exponents_at_rest

__all__ = [
    "DEFAULT_GAIN",
    "GradientBound",
    "MeanField",
    "exponent_at_rest",
    "exponents_at_fixed_point",
    "exponents_at_rest",
    "gradient_bound",
    "mean_field",
    "mean_field_of",
    "transition_gain",
]
