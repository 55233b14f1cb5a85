"""The broker: one contract, two implementations. `connect` picks one by the bootstrap setting."""
