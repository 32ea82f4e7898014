"""Our speed beside other libraries': the same works on the same data, in turns, results compared first.

``python -m spikelore.bench.peers`` makes an environment for each library (`environments`), lets each work in a process
of its own (`process`, `programs`) on what `cases` describes, and writes what `measure` found as JSON and, by `page`, as
Markdown.
"""
