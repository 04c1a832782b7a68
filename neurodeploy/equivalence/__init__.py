"""How equal two runs are: spike by spike, and where they first part."""
