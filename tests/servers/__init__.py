"""Real, independent servers on loopback: started by the test that needs them, in a folder of its own."""
