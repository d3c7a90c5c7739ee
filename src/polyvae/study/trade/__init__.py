"""The study of rate and distortion: what a recipe's codes cost and what they leave, over the weight of its divergence."""
