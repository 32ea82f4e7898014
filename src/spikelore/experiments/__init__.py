"""Configuration, the runner, the run folder, and the published experiments."""
