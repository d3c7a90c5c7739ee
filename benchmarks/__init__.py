"""Side by side with a bare loop and with a peer, in one process, interleaved: only the ratios mean something."""
