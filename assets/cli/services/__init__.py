"""The services of a deployment: code server, daemon, web server and metrics, each a process that is kept alive."""
