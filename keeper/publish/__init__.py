# SPDX-License-Identifier: Apache-2.0
"""Risk tables and parameter pushes: build, guard, impact check, send, read back."""
