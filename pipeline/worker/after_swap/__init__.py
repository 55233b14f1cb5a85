"""What follows a swap: the bundle that was taken is held against the one before it."""
