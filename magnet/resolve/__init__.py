"""From a link to a torrent, and from many links to many torrents.

One link: `ranking` says who is tried next, `admission` how many connections there may be over all
links, `resolution` makes the attempts, `completion` knows what a torrent needs besides its
metadata, and `resolver` puts it together. `report` tells the story, `timeline` in sentences.

Many links: `queue` says what a queue of them means, `store` keeps it on disk with the help of
`worker`, `batch` works through it, and `tally` counts. `naming` and `output` put results into
files.
"""
