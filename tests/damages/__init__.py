"""Pairs of damages to an output, and whether what the commands advise mends them."""
