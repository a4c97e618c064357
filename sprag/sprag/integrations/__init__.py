"""What tells other tools of an app's services. Nothing here is loaded by `import sprag`."""
