"""What a deployment consists of: its processes, their health, and files for those who run them."""
