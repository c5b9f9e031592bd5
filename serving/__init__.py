"""Who answers: the Ray Serve applications."""
