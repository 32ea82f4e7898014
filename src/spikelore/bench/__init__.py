"""Speed and memory of each network, results checked in the same run, peers beside ours."""
