# SPDX-License-Identifier: Apache-2.0
"""Walk-forward backtest of forecast and margin on real history."""
