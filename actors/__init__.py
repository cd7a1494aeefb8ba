"""What happens: pure cores, the trio shells around them, and the ports to the world."""
