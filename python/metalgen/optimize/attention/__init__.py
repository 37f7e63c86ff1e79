"""Attention: kept whole while a model is captured, recognised, and computed by one kernel."""
