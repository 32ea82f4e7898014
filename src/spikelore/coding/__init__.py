"""Pixels to spikes."""
