"""Whether a recurrence can be run in parallel over time: by Newton's method on all steps at once."""
