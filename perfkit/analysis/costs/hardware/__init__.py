"""What a device can do: peaks, bandwidths and links, from datasheets or measured."""
