"""Repair of what a house keeps: a plan first, then exactly what the plan says."""
