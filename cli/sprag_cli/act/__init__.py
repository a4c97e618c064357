"""What has an app do something: start, stop, restart services, or say when all are up."""
