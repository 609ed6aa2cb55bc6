"""The embedded source: games played on this machine by scripted players, and a loopback site that publishes them.

`catalog` says which recordings there are (by seed alone), `record` plays and encodes what is missing, `truth` keeps
what was really played beside each recording, `site` publishes a folder of recordings over HTTP. Nothing is downloaded
and nothing needs a display.
"""
