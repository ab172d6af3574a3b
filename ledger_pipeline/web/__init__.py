"""What people ask over HTTP, and what stands between it and everybody else."""
