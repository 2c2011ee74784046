"""What happens to the gateway, as people follow it: changes, their way to the data planes, health and breakers."""
