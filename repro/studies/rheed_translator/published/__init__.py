"""The published translator, block by block, and the gated CNN of its predecessor."""
