"""Calibration: temperature, thresholds and lags, fitted to streams replayed by the serving side."""
