"""Training methods: one file each, and each ends in a network that can be deployed."""
