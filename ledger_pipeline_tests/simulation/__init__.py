"""Seeded simulation: one integer decides a world, a schedule of collections and everything that goes wrong in it."""
