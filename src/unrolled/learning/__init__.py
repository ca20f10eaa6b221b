"""What was learned in the end: tasks of known delay, trained on, beside what the gradient at the start predicted."""
