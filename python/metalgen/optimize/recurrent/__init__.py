"""Recurrent modules: kept whole while a model is captured, and computed step by step."""
