"""What a disk may do to an output: its calls recorded, failed, killed at, or taken back by a power loss."""
