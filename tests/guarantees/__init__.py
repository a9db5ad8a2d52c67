"""What docs/guarantees.md claims: each promise's proof as a command, and the figures that it printed."""
