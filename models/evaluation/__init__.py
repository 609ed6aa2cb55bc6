"""Metrics of a trained world on held-out sources: PSNR, delta-t PSNR, action names, drift."""
