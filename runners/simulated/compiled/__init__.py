"""The simulation's hot loop, compiled by Numba: the same files once more, over arrays."""
