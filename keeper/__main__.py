# SPDX-License-Identifier: Apache-2.0
"""``python -m keeper`` is ``ballast``."""

from keeper.cli import main

if __name__ == "__main__":
    main()
