"""Draw the first page's picture: what three networks keep of five tasks, with nothing stored.

Run from the repository: ``python docs/figures/forgetting.py``; half a minute.
"""

from pathlib import Path

import numpy as np

import spikelore as sl
from spikelore.report import style

stream = sl.split_stream("digits-sample", [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)])
with style.applied():
    figure, (panel,) = style.panels(1, 3.6)
    for index, network in enumerate([sl.RateLIFNetwork, sl.FirstSpikeNetwork, sl.SurrogateNetwork]):
        result = sl.run(stream, network.for_stream(stream, seed=0), sl.Naive(), seed=0)
        known = [np.nanmean(row) for row in result.accuracy_matrix]
        panel.plot(
            range(1, 6), known, "o-", color=style.colour(index), label=f"{result.network}: {100 * known[-1]:.0f} %"
        )
    style.percent_axis(panel, "y")
    panel.set(xlabel="tasks learned", ylabel="accuracy on all of them", xticks=range(1, 6), xlim=(0.8, 5.2))
    panel.legend(loc="lower left")
    Path(__file__).with_suffix(".svg").write_bytes(style.files(figure)["svg"])
