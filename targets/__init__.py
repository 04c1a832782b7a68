"""One folder per chip, installed as `neurodeploy.targets` and found by entry point."""
