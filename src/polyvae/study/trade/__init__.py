"""The study of rate and distortion: what codes cost and what they leave, over the weight of the divergence."""
