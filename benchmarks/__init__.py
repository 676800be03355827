"""Measurements of speed and accuracy.

Speeds are given as ratios within one run, because machines differ and are rarely quiet.
"""
