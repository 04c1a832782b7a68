"""Settings of the stand-in's boards."""
