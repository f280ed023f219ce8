# SPDX-License-Identifier: Apache-2.0
"""The commands of ``ballast``: thin layers that read options, call the packages and print."""
