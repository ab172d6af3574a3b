"""The steps, told once: they know ports and core, and no framework."""
