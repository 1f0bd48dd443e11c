"""Studies: grids of trainings as jobs, and their tables beside published ones."""
