"""The HTML report, its charts, and contact sheets of real video."""
