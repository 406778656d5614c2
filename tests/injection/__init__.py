"""Faults injected between the real delivery and collection code and real servers, after any byte: see ``play.py``."""
