# SPDX-License-Identifier: GPL-2.0-or-later
"""A matrix of runs: drivers, kernels, profiles and kinds of tests, on this machine or on a Dask cluster."""
