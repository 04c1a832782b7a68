"""Bit-accurate simulation of programs."""
