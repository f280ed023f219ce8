# SPDX-License-Identifier: Apache-2.0
"""What the page shows, as JSON: one module for each part, each a function of a source, a view and the query."""
