"""Pages for people: the result of a deployment as one self-contained HTML file."""
