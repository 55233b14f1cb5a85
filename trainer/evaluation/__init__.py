"""Evaluation: protocols, reports and plots."""
