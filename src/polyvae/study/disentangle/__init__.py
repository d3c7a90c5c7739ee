"""The study of disentanglement: recipes and their weights on data whose factors are known, in scores and traversals."""
