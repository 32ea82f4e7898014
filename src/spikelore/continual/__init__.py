"""What keeps knowledge, written against the protocols of `spikelore.networks.protocol`."""
