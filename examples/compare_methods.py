"""Three networks and four methods in one table: what each keeps of two digits after two others."""

import spikelore as sl

stream = sl.split_stream("digits-sample", [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)])
results = []
for network in [sl.SurrogateNetwork, sl.FirstSpikeNetwork, sl.RateLIFNetwork]:
    for method in [
        sl.Naive(),
        sl.Replay(sl.Memory(bytes=30_000)),
        sl.LatentReplay(sl.Memory(bytes=30_000)),
        sl.OnlineDecay(),
    ]:
        if reason := sl.why_not(method, network):
            print(reason)
        else:
            results.append(sl.run(stream, network.for_stream(stream, seed=0), method, seed=0))
print(sl.table(results).pivot_table("average_accuracy", "method", "network"))
