"""Programs that the tests run in pods, each one a file that needs nothing but the image of the SDK."""
