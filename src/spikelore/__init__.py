"""Spiking neural networks that keep what they learn."""
