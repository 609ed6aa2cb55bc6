"""A world as one HTML file that plays it without a server: its networks as ONNX graphs, a runtime, a page."""
