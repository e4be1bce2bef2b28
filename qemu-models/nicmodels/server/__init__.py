# SPDX-License-Identifier: MIT
"""The process that serves a model: event loop, control socket and its methods, command line options.

The top layer: it may import every other; nothing imports it but `nicmodels.__main__`.
"""
