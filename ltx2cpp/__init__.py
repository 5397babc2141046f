"""LTX-2 video and sound generation on your own machine."""
