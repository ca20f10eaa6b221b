"""What a recurrence is: one file per cell."""

CELLS = ("rnn_tanh", "rnn_relu", "gru", "lstm")

# Rows of the weight matrices are stacked gate by gate: torch.nn's G * hidden_size.
GATES = {"rnn_tanh": 1, "rnn_relu": 1, "gru": 3, "lstm": 4}
