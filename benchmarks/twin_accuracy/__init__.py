"""How far the twin is from runs of real engines on GPUs that others measured and published."""
