"""Agents: learning a placement policy, and turning it into a table. The only place that imports learning libraries.

Heavy libraries (torch, stable-baselines3, scikit-learn, cma) are imported inside the functions that need them, or by
the one module whose class derives from theirs, so that importing this package costs nothing.
"""
