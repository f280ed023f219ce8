# SPDX-License-Identifier: Apache-2.0
"""Deployment: one configuration file, a plan printed before anything is sent, one manifest, resumable at any point."""
