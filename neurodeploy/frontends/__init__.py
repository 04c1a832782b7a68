"""What comes in: trained snnTorch models and NIR files."""
