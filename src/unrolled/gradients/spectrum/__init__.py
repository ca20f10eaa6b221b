"""What every direction does: Lyapunov exponents, and singular values of Jacobians over many steps."""
