"""Training: data cut into batches, the step, the loops, and what is shown meanwhile."""
