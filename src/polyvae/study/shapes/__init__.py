"""The shapes assignment: a VAE beside autoencoders whose codes pass a noisy channel, judged by number."""
