"""What users derive from and adopt: services, supervisors, apps."""
