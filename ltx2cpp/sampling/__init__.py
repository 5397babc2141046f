"""From noise to latents: noise levels, samplers, guidance and the denoising loop."""
