# SPDX-License-Identifier: GPL-2.0
"""Measures how much more two CPUs do than one when both allocate from one provider.

Runs bench/scaling.c in a guest, in real time on two CPUs of the host: only then
do CPUs wait for each other. Work in which the CPUs share nothing shows whether
the host has two free CPUs.
"""
import boot

# Two CPUs that share nothing do about 1.8 times as much as one; with less than this the host is busy
FREE = 1.5


def run(kernel):
    """Returns {figure: rate of two CPUs as a multiple of one CPU's}, None if the host is busy."""
    rates = boot.guest(kernel, "scaling", boot.insmod(kernel, "scaling"), machine="scaling")
    figures = {name: rates[f"{name}_by_2"] / rates[f"{name}_by_1"]
               for name in ("scaling_4k", "scaling_128k", "scaling_apart")}
    # For one CPU, compare with 4 KiB: it frees what it allocates itself
    figures["scaling_hand_over"] = rates["scaling_hand_over_by_2"] / rates["scaling_4k_by_1"]
    if figures["scaling_apart"] < FREE:
        for name in figures.keys() - {"scaling_apart"}:
            figures[name] = None
    return figures
