"""What people call: build, save, load; the Image handle."""
