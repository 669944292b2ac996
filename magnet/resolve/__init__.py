"""From a link to a torrent: who is tried, what came of it, and the metadata that somebody gave.

`report` tells the story, `swarm` decides who is worth a try, `resolver` does the dialling, and
`output` puts the result into a file.
"""
