"""Slussen: file integrations between a city's systems, gated, delivered once and provable."""
