# SPDX-License-Identifier: GPL-2.0
"""Measures how much more two CPUs do than one, where both allocate from one provider.

In real time, on two of the host's CPUs: only then do CPUs wait for each other.
So the host must have two that are free; the work in which CPUs share nothing
tells. Has bench/scaling.c do it in a guest.
"""
import boot

# Two CPUs that share nothing do about 1.8 times as much as one; less than this is the host's doing
FREE = 1.5


def run(kernel):
    """Returns {figure: what two CPUs do, as a multiple of what one does}; None where this host can't tell."""
    rates = boot.guest(kernel, "scaling", boot.insmod(kernel, "scaling"), machine="scaling")
    figures = {name: rates[f"{name}_by_2"] / rates[f"{name}_by_1"]
               for name in ("scaling_4k", "scaling_128k", "scaling_apart")}
    # One CPU can't hand over; it frees what it allocates itself
    figures["scaling_hand_over"] = rates["scaling_hand_over_by_2"] / rates["scaling_4k_by_1"]
    if figures["scaling_apart"] < FREE:
        for name in figures.keys() - {"scaling_apart"}:
            figures[name] = None
    return figures
