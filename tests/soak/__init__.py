# SPDX-License-Identifier: Apache-2.0
"""Long runs that look for rare failures; the quick profiles of the same are in ``tests/node``."""
