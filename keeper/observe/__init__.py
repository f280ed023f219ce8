# SPDX-License-Identifier: Apache-2.0
"""What an operator can see of a running keeper: metrics, health and alerts."""
